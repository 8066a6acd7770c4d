"""`vedette up` on the demonstration's store, as a child process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STOP_S = 60.0
_LOG = "up.log"
_END_BYTES = 2000


class ServerError(Exception):
    """The server did not come up; the end of its log is in the message."""


@contextlib.contextmanager
def running_server(store_dir: Path, *options: str) -> Iterator[dict[str, str]]:
    """Serve on free ports until the block ends, by SIGTERM too. Gives what `up --json` announces. options: further ones of `up`."""
    ports = ("--http-port", "0", "--grpc-port", "0")
    command = [sys.executable, "-m", "operators.cli.main", "up", "--store-dir", str(store_dir), *ports, "--json"]
    with _sigterm_as_ctrl_c(), (store_dir / _LOG).open("w") as log:
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, text=True, env=environment())
        try:
            yield _announced(process, store_dir)
        finally:
            interrupt(process, _STOP_S)


def interrupt(process: "subprocess.Popen[Any]", patience_s: float) -> None:
    """Ask a process to end, as Ctrl-C does; kill it if it still runs after patience_s seconds."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """A signal that ends the demonstration ends its server too. Only a main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_of_log(store_dir: Path) -> str:
    """The last lines that the server of this store has logged."""
    return (store_dir / _LOG).read_text(encoding="utf-8", errors="replace")[-_END_BYTES:]


def environment() -> dict[str, str]:
    """The environment of child processes: without the caller's VEDETTE_* settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}


def _announced(process: "subprocess.Popen[str]", store_dir: Path) -> dict[str, str]:
    body = ""
    if process.stdout is not None:
        for line in process.stdout:
            body += line
            if line.startswith("}"):
                answer: dict[str, str] = json.loads(body)
                return answer
    raise ServerError(f"`vedette up` ended before it was ready:\n{end_of_log(store_dir)}")
