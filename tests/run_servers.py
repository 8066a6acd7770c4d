"""Servers that all workers of a run share: the first worker that needs one starts it, and it ends when the run ends, however that ends.

Such a server is a program that prints its address in one line once it can be used, and then goes on. It calls `end_with_the_run` first.
The process that runs the tests, or hands them out, holds a lock on the file `alive` in the run's folder for as long as it lives."""

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Final

FOLDER: Final = "PYTEST_VEDETTE_RUN"
"""The variable that tells a worker, and what it starts, the folder of the run."""
_ALIVE: Final = "alive"
_held: list[IO[bytes] | subprocess.Popen[str]] = []
"""Files that are locked, and processes that go on, for as long as this process lives."""


@cache
def new_folder() -> Path:
    """The folder of the run that this process leads; it is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-tests-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    alive = (folder / _ALIVE).open("wb")
    fcntl.flock(alive, fcntl.LOCK_EX)
    _held.append(alive)
    return folder


def belong_to(folder: Path) -> None:
    """Told to a worker before its first test."""
    os.environ[FOLDER] = str(folder)


def folder_of_the_run() -> Path:
    """Where workers of one run find what one of them has made; of this process alone if it is no worker."""
    return Path(os.environ[FOLDER]) if FOLDER in os.environ else new_folder()


@contextmanager
def one_at_a_time(name: str) -> Iterator[Path]:
    """One worker at a time; the path NAME in the run's folder, for what is made once and then found."""
    path = folder_of_the_run() / name
    with path.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path


def address_of(name: str, program: Sequence[str]) -> str:
    """Where the run's server of this name is; it is started if nobody has. program: Python's arguments."""
    with one_at_a_time(name) as known:
        if not known.exists():
            process = subprocess.Popen(
                [sys.executable, *program, str(folder_of_the_run() / _ALIVE)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            assert said, f"{' '.join(program)} ended before it said where it is"
            _held.append(process)
            known.write_text(said, encoding="utf-8")
        return known.read_text(encoding="utf-8")


def end_with_the_run(alive: str) -> None:
    """End this process with SIGTERM once nobody holds the lock. A process of its own waits for that."""
    us = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        os.closerange(0, 3)  # if the server ends at once, whoever waits for its address hears so
        with open(alive, "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            signal.pidfd_send_signal(us, signal.SIGTERM)
        finally:
            os._exit(0)
    os.close(us)
