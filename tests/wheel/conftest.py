"""The wheel of this project, and an environment that has it: as `pip install vedette[...]` leaves one, not a checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("serving", "feature_repo", "lifecycle", "operators", "loadtests")


@dataclass(frozen=True)
class Environment:
    """bin: its programs. site: its site-packages."""

    bin: Path
    site: Path

    def run(self, *command: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment, in a folder that is no checkout, with PATH as after activation."""
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VEDETTE", "VIRTUAL_ENV"))}
        return subprocess.run(
            [*command],
            cwd=folder,
            env=kept | {"PATH": path, "HOME": str(folder)} | env,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what is committed or about to be, in a copy: a build leaves files in the tree."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "wheel", copy / "tests" / "wheel")  # a folder that must not get in
    program = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    target = tmp_path_factory.mktemp("dist")
    done = subprocess.run([sys.executable, "-c", program, str(target)], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel alone in an environment; the packages that it needs are those of this one, seen by a .pth file.

    A .pth file is read after the environment's own packages, and the editable install of this one is not: its finder is a .pth too."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed; it comes with the dev requirements")
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        str(folder / "bin" / "python"),
        str(wheel),
    ]
    subprocess.run(command, check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Environment(folder / "bin", site)
