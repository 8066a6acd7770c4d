"""`vedette up` on the demonstration's store, as a child process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_STOP_S = 60.0


class ServerError(Exception):
    """The server did not come up; the end of its log is in the message."""


@contextlib.contextmanager
def running_server(store_dir: Path, *options: str) -> Iterator[dict[str, str]]:
    """Serve on free ports until the block ends. Gives what `up --json` announces. options: further ones of `up`."""
    ports = ("--http-port", "0", "--grpc-port", "0")
    command = [sys.executable, "-m", "operators.cli.main", "up", "--store-dir", str(store_dir), *ports, "--json"]
    with (store_dir / "up.log").open("w") as log:
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, text=True, env=environment())
        try:
            yield _announced(process, Path(log.name))
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment() -> dict[str, str]:
    """The environment of child processes: without the caller's VEDETTE_* settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}


def _announced(process: "subprocess.Popen[str]", log: Path) -> dict[str, str]:
    body = ""
    if process.stdout is not None:
        for line in process.stdout:
            body += line
            if line.startswith("}"):
                answer: dict[str, str] = json.loads(body)
                return answer
    raise ServerError(f"`vedette up` ended before it was ready:\n{log.read_text(errors='replace')[-2000:]}")
