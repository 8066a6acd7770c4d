"""Which Python `make` sets .venv up with. The interpreters on PATH are this one under other names, and names that run nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and what it reads, and no other Python on PATH than what a test puts there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/python.sh", "requirements/dev.txt", "requirements/uv.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    for tool in ("sh", "sed", "make", "env"):
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def _works(checkout, name):
    """A Python that works, and notes by which name it was asked."""
    program = checkout / "bin" / name
    program.write_text(f'#!/bin/sh\necho {name} >> "{checkout}/asked"\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)


def _answers(checkout, name, text, code):
    program = checkout / "bin" / name
    program.write_text(f'#!/bin/sh\necho "{text}"\nexit {code}\n', encoding="utf-8")
    program.chmod(0o755)


def _run(checkout, *command):
    environment = {"PATH": str(checkout / "bin")}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def _asked(checkout):
    return (checkout / "asked").read_text(encoding="utf-8").split()


def test_the_newest_that_works_is_taken(checkout):
    for name in ("python3.12", "python3.13", "python3.11", "python3"):
        _works(checkout, name)
    found = _run(checkout, "sh", "requirements/python.sh")
    assert (found.returncode, found.stdout.split()[0], _asked(checkout)) == (0, VERSION, ["python3.13"])
    assert Path(found.stdout.split()[1]).samefile(sys._base_executable)


def test_a_name_that_runs_no_python_is_passed_over(checkout):
    _answers(checkout, "python3.13", "python3.13: command not found", 127)
    _works(checkout, "python3.11")
    found = _run(checkout, "sh", "requirements/python.sh")
    assert (found.returncode, found.stdout.split()[0], _asked(checkout)) == (0, VERSION, ["python3.11"])


def test_where_no_python_works_the_message_says_which_would(checkout):
    _answers(checkout, "python3", "", 1)
    found = _run(checkout, "sh", "requirements/python.sh")
    assert (found.returncode, found.stdout) == (1, "")
    assert "install Python 3.11, 3.12 or 3.13" in found.stderr


def test_a_python_that_is_named_and_does_not_work_is_not_replaced_by_another(checkout):
    _works(checkout, "python3.11")
    found = _run(checkout, "make", "PYTHON=python3.13", "check")
    assert found.returncode != 0
    assert "PYTHON=python3.13 is not usable" in found.stderr
    assert not (checkout / ".venv").exists()


def test_the_environment_stays_while_nobody_names_another_python(checkout):
    _works(checkout, "python3.13")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text(f"home = /x\nexecutable = {sys.executable}\n", encoding="utf-8")
    assert f"{VERSION} " in _run(checkout, "sh", "requirements/python.sh").stdout
    assert not (checkout / "asked").exists()


def _has_environment(checkout, version, ready=True):
    (checkout / ".venv" / "lib" / f"python{version}").mkdir(parents=True)
    if ready:
        (checkout / ".venv" / f".ready-{version}").touch()


def test_the_environment_of_another_python_is_made_anew(checkout):
    _works(checkout, "python3.11")
    _has_environment(checkout, "3.10")
    assert "-m venv --clear .venv" in _run(checkout, "make", "-n", "PYTHON=python3.11", "check").stdout


def test_the_environment_of_the_same_python_is_used(checkout):
    _works(checkout, "python3.11")
    _has_environment(checkout, VERSION)
    assert "-m venv" not in _run(checkout, "make", "-n", "PYTHON=python3.11", "check").stdout


def test_of_the_same_python_only_the_packages_are_brought_up_to_date(checkout):
    _works(checkout, "python3.11")
    _has_environment(checkout, VERSION, ready=False)
    told = _run(checkout, "make", "-n", "check").stdout
    assert "-m venv  .venv" in told
    assert "--clear" not in told
