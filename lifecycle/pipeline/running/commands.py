"""Runs the commands of a stage as DVC does: each in a shell, in the stage's folder, one after the other.

They have a session of their own, so that a signal ends all that they started. What they print goes to stderr: stdout is for results."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from lifecycle.pipeline.errors import StageError, StageStopped

GRACE_S: Final = 10.0
"""How long commands may take to end after a signal, before they are killed."""
_OPTIONS: Final = {"bash": ("--noprofile", "--norc"), "zsh": ("--no-rcs",), "sh": (), "dash": (), "ksh": ()}
"""Shells that are used if the variable SHELL names them, and what keeps them from reading a user's files."""
_STDERR: Final = 2
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class _Running:
    """The commands that run now, and the signal that asked them to end."""

    process: subprocess.Popen[bytes] | None = None
    asked: int | None = None
    times: int = field(default=0)

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Hand a signal on; a second one kills."""
        self.asked, self.times = number, self.times + 1
        self.send(number if self.times == 1 else signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send a signal to everything that the commands started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def run_commands(
    name: str,
    commands: tuple[str, ...],
    folder: Path,
    variables: Mapping[str, str],
    began: Callable[[int], None] = lambda group: None,
) -> None:
    """Run them all. variables: of their environment, beside our own. began: called with the process group of each.

    Raises StageError for one that fails, StageStopped after a signal."""
    shell, environment = _shell(os.environ), _environment(variables, os.environ)
    running = _Running()
    with _handled_by(running.ask):
        for command in commands:
            if running.asked is None and command.strip():
                _run_one(name, [*shell, "-c", command], command, folder, environment, running, began)
            if running.asked is not None:
                word = signal.Signals(running.asked).name
                raise StageStopped(f"stage {name}: ended by {word}; what it made so far is not taken for done", running.asked)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """While no commands run, a signal that ends a process raises StageStopped instead, so that what was done is put on record."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StageStopped(f"ended by {_signal_name(number)}; what was under way is not taken for done", number)

    with _handled_by(stop):
        yield


def _run_one(
    name: str,
    arguments: list[str],
    command: str,
    folder: Path,
    environment: Mapping[str, str],
    running: _Running,
    began: Callable[[int], None],
) -> None:
    try:  # bytes: dvc.yaml is UTF-8, whatever the locale
        process = subprocess.Popen(
            [word.encode() for word in arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            start_new_session=True,
        )
    except OSError as problem:
        raise StageError(f"stage {name}: {arguments[0]} cannot be started: {problem.strerror}") from problem
    running.process = process
    if running.asked is not None:  # it came while the process was started
        running.send(running.asked)
    try:
        began(process.pid)
        _wait(process, running)
    except BaseException:
        running.send(signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0 or running.asked is not None:
        running.send(signal.SIGKILL)  # what it left behind must not go on writing
    if process.returncode != 0 and running.asked is None:
        code = process.returncode
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with {code}"
        raise StageError(f"stage {name}: `{command}` {how}; its outputs are not taken for done")


def _wait(process: subprocess.Popen[bytes], running: _Running) -> None:
    asked_for = 0.0
    while True:
        try:
            process.wait(timeout=1.0)
            return
        except subprocess.TimeoutExpired:
            asked_for += running.asked is not None
            if asked_for > GRACE_S:
                running.send(signal.SIGKILL)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _shell(environment: Mapping[str, str]) -> list[str]:
    shell = environment.get("SHELL", "")
    options = _OPTIONS.get(Path(shell).name)
    return [shell, *options] if options is not None and os.access(shell, os.X_OK) else ["/bin/sh"]


def _environment(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """With the folder of this Python's programs at the end of PATH: `vedette` is found where no environment is activated."""
    path = os.pathsep.join(part for part in (environment.get("PATH", ""), str(Path(sys.executable).parent)) if part)
    return {**environment, **variables, "PATH": path}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
