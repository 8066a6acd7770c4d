"""The warm `vedette` that plays how-to pages does what a new Python does: output, errors, codes, files, environment, and its end."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests import run_servers
from tests.e2e.running import warm_vedette
from tests.e2e.running.vedette import environment
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.e2e
NEW = [str(Path(sys.executable).with_name("vedette"))]


@pytest.fixture
def warm() -> list[str]:
    return [str(warm_vedette.programs() / "vedette")]


def ran(command: list[str], folder: Path, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command, cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=HANG_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("--version", id="what it prints"),
        pytest.param("models --json", id="what it finds in the folder it is started in"),
        pytest.param("audit verify --store-dir nowhere", id="what it refuses"),
        pytest.param("rollout promote flows --no-such", id="what it does not understand"),
    ],
)
def test_a_command_ends_as_in_a_new_python(warm: list[str], tmp_path: Path, words: str) -> None:
    assert ran([*warm, *words.split()], tmp_path) == ran([*NEW, *words.split()], tmp_path)


def test_the_environment_is_the_commands_own(warm: list[str], tmp_path: Path) -> None:
    wrong = {"VEDETTE_STORE_DIR": "elsewhere", "VEDETTE_AUDIT": "sometimes"}
    assert ran([*warm, "models"], tmp_path, **wrong) == ran([*NEW, "models"], tmp_path, **wrong)


def test_standard_input_and_pipes_are_those_of_the_shell(warm: list[str], tmp_path: Path) -> None:
    line = f"{warm[0]} --help | head -n 3; {warm[0]} no-such 2>&1 >/dev/null | wc -l"
    code, out, _ = ran(["sh", "-c", line], tmp_path)
    assert code == 0
    assert "vedette" in out
    assert int(out.split()[-1]) > 0


def in_folder(folder: Path) -> set[int]:
    """The processes that are there. A fork has the environment of its parent in /proc, so it cannot be found by that."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.add(int(process.name))
    return found


def test_a_command_ends_with_the_program_that_asked_for_it(warm: list[str], tmp_path: Path) -> None:
    asking = subprocess.Popen([*warm, "monitor", "--store-dir", str(tmp_path)], cwd=tmp_path, env=environment())
    try:
        until(lambda: len(in_folder(tmp_path)) == 2, "the command runs beside the program that asked for it")
    finally:
        asking.kill()
        asking.wait(HANG_S)
    until(lambda: in_folder(tmp_path) == set())


def test_what_a_run_shares_ends_when_the_run_is_killed(tmp_path: Path) -> None:
    program = f"import time; from tests import run_servers; from pathlib import Path; {SHARES}; time.sleep(600)"
    env = {name: value for name, value in environment().items() if name != run_servers.FOLDER}  # a run of its own
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env)
    assert run.stdout is not None
    server = int(run.stdout.readline())
    assert Path(f"/proc/{server}").exists()
    run.kill()
    run.wait(HANG_S)
    until(lambda: not Path(f"/proc/{server}").exists() or "State:\tZ" in Path(f"/proc/{server}/status").read_text())


SHARES = (
    "print(run_servers.address_of('one', ['-c', 'import os, sys, time; from tests import run_servers; "
    "run_servers.end_with_the_run(sys.argv[1]); print(os.getpid(), flush=True); time.sleep(600)']), flush=True)"
)


def test_two_that_ask_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first = warm_vedette.programs().joinpath("vedette").read_text(encoding="utf-8")
    monkeypatch.delattr(run_servers.subprocess, "Popen")
    assert warm_vedette.programs().joinpath("vedette").read_text(encoding="utf-8") == first
