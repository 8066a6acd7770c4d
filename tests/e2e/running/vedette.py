"""`vedette up` and the other verbs as child processes, the way a terminal runs them."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import sockets
from tests.e2e.running import warm_vedette
from tests.e2e.running.processes import ROOT
from tests.waiting import HANG_S, until

START_S = 600.0
"""A hanging start ends then. Ray is tried again where a machine is too busy for it, and each try takes half a minute."""
_MARK = "VEDETTE_E2E_MARK"


@dataclass(frozen=True, slots=True)
class Vedette:
    """A running `vedette up`. mark: an environment value that all its processes inherit."""

    http: str
    grpc: str
    model: str
    curl: str
    pid: int
    store: Path
    log: Path
    mark: str
    waited_s: float


def environment(**more: str) -> dict[str, str]:
    """Of a child: this repository first, no setting of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def verb(
    *arguments: str, cwd: Path | None = None, timeout_s: float = 180, check: bool = True, **more: str
) -> subprocess.CompletedProcess:
    """Run one verb to its end, in a warm Python. With check, a failure shows what it printed."""
    command = [str(warm_vedette.programs() / "vedette"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=timeout_s, env=environment(**more), check=False
    )
    assert not check or done.returncode == 0, (
        f"vedette {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    )
    return done


@contextmanager
def up(store: Path, *options: str, timeout_s: float = START_S, cwd: Path | None = None, **more: str) -> Iterator[Vedette]:
    """Start, wait for the announcement, stop with SIGINT as Ctrl-C does; exit code 0 is part of it."""
    store.parent.mkdir(parents=True, exist_ok=True)
    log, mark = store.parent / f"up-{uuid.uuid4().hex[:8]}.log", uuid.uuid4().hex
    ports = ("--http-port", "0", "--grpc-port", "0")
    command = [sys.executable, "-m", "operators.cli.main", "up", *ports, "--store-dir", str(store), "--replicas", "1", "--json"]
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=out,
            cwd=cwd,
            env=environment(**{_MARK: mark, **more}),
            start_new_session=True,
        )
    try:
        said = _announcement(process, log, timeout_s)
        waited = time.monotonic() - began
        yield Vedette(said["http"], said["grpc"], said["model"], said["curl"], process.pid, store, log, mark, waited)
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 0, f"vedette up ended with {process.returncode}:\n{tail(log)}"
        until(lambda: not processes_of(mark), lambda: f"Ctrl-C left behind: {[command_of(pid) for pid in processes_of(mark)]}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in processes_of(mark):
            _kill(pid)


def _announcement(process: subprocess.Popen, log: Path, timeout_s: float) -> Mapping[str, str]:
    """The JSON that `up --json` prints once it listens."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    text, end = "", time.monotonic() + timeout_s
    while time.monotonic() < end:
        text += (process.stdout.read() or b"").decode()
        try:
            return json.loads(text[text.index("{") :])
        except ValueError:
            assert process.poll() is None, f"vedette up ended with {process.returncode} before it was ready:\n{tail(log)}"
            time.sleep(0.1)
    raise AssertionError(f"vedette up was not ready after {timeout_s} s; it printed {text!r} and its log ends:\n{tail(log)}")


def processes_of(mark: str, name: str = _MARK) -> list[int]:
    """Every process that inherited the mark, the zombies of others aside. name: of the environment value."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"{name}={mark}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def listening(mark: str) -> dict[str, str]:
    """Every address and port at which a process that inherited the mark listens for TCP, and what that process is."""
    return {address: command_of(pid)[:100] for address, pid in sockets.listening(processes_of(mark)).items()}


def command_of(pid: int) -> str:
    """What a process was started as."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def replica_pids(mark: str) -> list[int]:
    """The processes of the replicas: Ray actors whose title names the Replica class."""
    return sorted(pid for pid in processes_of(mark) if "Replica" in command_of(pid) and command_of(pid).startswith("ray::"))


def curl(server: Vedette) -> dict[str, Any]:
    """The answer to the command that `vedette up` printed."""
    done = subprocess.run(
        shlex.split(server.curl),
        capture_output=True,
        text=True,
        cwd=server.store.parent,
        timeout=30,
        env=environment(),
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def verdicts(answer: dict[str, Any]) -> list[str]:
    """Of an answer."""
    (found,) = [output["data"] for output in answer["outputs"] if output["name"] == "verdict"]
    return found


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-4000:]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
