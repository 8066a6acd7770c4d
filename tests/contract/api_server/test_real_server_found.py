"""Where the tests look for a real API server, and what they say where there is none."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.fakes.apiserver import real

BUILD = Path(__file__).parents[2] / "cluster" / "tools" / "build.sh"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable names a server, and no cache of this machine is seen."""
    for name in (real.GIVEN, real.ASSETS, "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(real.pwd, "getpwuid", lambda _: type("Entry", (), {"pw_dir": str(tmp_path / "home")}))


def _programs(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def _cache() -> Path:
    return Path(subprocess.check_output(["sh", str(BUILD), "--where"], text=True).strip())


def test_where_nothing_is_built_the_reason_names_what_to_run() -> None:
    assert real.assets() is None
    assert "`make cluster-tools`" in real.unavailable()


def test_what_was_built_is_found_without_any_variable() -> None:
    folder = _programs(_cache(), "etcd", "kube-apiserver")
    assert real.assets() == folder
    assert real.unavailable() == ""


def test_what_was_built_is_found_also_where_the_tests_run_with_another_home(tmp_path: Path) -> None:
    folder = _programs(tmp_path / "home" / ".cache" / "vedette" / "cluster-tools" / _cache().name, "etcd", "kube-apiserver")
    assert real.assets() == folder


def test_half_a_build_is_none() -> None:
    _programs(_cache(), "etcd")
    assert real.assets() is None


def test_a_folder_that_is_named_wins_and_what_it_lacks_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _programs(_cache(), "etcd", "kube-apiserver")
    monkeypatch.setenv(real.ASSETS, str(_programs(tmp_path / "bin", "etcd")))
    assert real.assets() is None
    assert real.unavailable().endswith(f"{real.ASSETS} is {tmp_path}/bin, which has no kube-apiserver")


def test_the_users_own_cluster_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert real.unavailable() != ""
    monkeypatch.setenv(real.GIVEN, str(tmp_path / "config"))
    assert real.unavailable() == ""
    assert isinstance(real.real_api_server(), real.GivenCluster)


def test_a_build_without_go_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "mkdir", "dirname"):
        (tools / name).symlink_to(next(Path(at) / name for at in os.defpath.split(":") if (Path(at) / name).exists()))
    built = subprocess.run(
        ["sh", str(BUILD)], env=os.environ | {"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 1
    assert built.stderr == "cluster-tools: building etcd needs Go 1.26 or newer, which is not on the PATH\n"
    assert not [path for path in _cache().rglob("*") if path.is_file()]
