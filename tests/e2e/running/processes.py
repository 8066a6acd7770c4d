"""Starting a server as a child process, waiting until it is ready, and stopping it: for tests that talk to real servers."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import HANG_S

ROOT = Path(__file__).parents[3]


def is_answering(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=HANG_S) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_until_answering(url: str, process: subprocess.Popen, timeout_s: float, log: Path) -> float:
    """Wait for 200; returns the seconds it took. Fails with the end of the log if the process ends or the time is up."""
    began = time.monotonic()
    while not is_answering(url):
        waited = time.monotonic() - began
        if process.poll() is not None or waited > timeout_s:
            how = f"ended with {process.returncode}" if process.poll() is not None else f"did not answer within {timeout_s} s"
            raise AssertionError(f"{process.args} {how}; its log ends:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def running(arguments: list[str], log: Path, environment: dict[str, str] | None = None):
    """A Python program of this repository in a session of its own; whatever is left of it is killed at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
