"""Starts and stops the servers under test: subprocesses with their own process group, on free ports of loopback, stopped by pid."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError

LOGS: Final = Path("build/bench/logs")
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """A program to measure. Its command, and the environment that is added to ours, have `{http_port}`, `{grpc_port}` and `{other_port}`
    where ports go.

    ready_path: answers 200 over HTTP once requests may be sent. start_s: how long the start may take. authority: PEM file of the
    authority of its certificate, if it speaks TLS."""

    name: str
    command: tuple[str, ...]
    ready_path: str = "/v2/health/ready"
    environment: tuple[tuple[str, str], ...] = ()
    start_s: float = 120.0
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready."""

    name: str
    pid: int
    http_port: int
    grpc_port: int
    authority: Path | None = None

    @property
    def scheme(self) -> str:
        """`http` or `https`, for its URLs."""
        return "http" if self.authority is None else "https"


def connection_to(port: int, authority: Path | None, timeout_s: float) -> http.client.HTTPConnection:
    """A connection to an HTTP door, over TLS if an authority is given."""
    if authority is None:
        return http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    trust = ssl.create_default_context(cafile=str(authority))
    return http.client.HTTPSConnection(HOST, port, timeout=timeout_s, context=trust)


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs one of our modules with this interpreter."""
    return (sys.executable, "-m", module, *arguments)


def free_port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.socket() as s:
        s.bind((HOST, 0))
        port: int = s.getsockname()[1]
        return port


def end_in_order() -> None:
    """Handle SIGTERM like Ctrl-C, so that the servers that were started are stopped."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def running(server: ServerUnderTest) -> Iterator[Running]:
    """Start a server, wait until it is ready, and stop it at the end of the block. Raises BenchError, which names its log, if it does
    not get ready."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{server.name}.log"
    ports = {"http_port": free_port(), "grpc_port": free_port()}
    places = {**{name: str(port) for name, port in ports.items()}, "other_port": str(free_port())}
    command = [_placed(part, places) for part in server.command]
    # A folder for the server's temporary files, removed when its process group has ended.
    with log.open("wb") as output, tempfile.TemporaryDirectory(prefix="vb", ignore_cleanup_errors=True) as scratch:
        environment = {**os.environ, "TMPDIR": scratch, **{k: _placed(v, places) for k, v in server.environment}}
        try:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )
        except OSError as problem:
            raise BenchError(f"{server.name} could not be started: {problem}") from problem
        try:
            _wait_ready(server, process, ports["http_port"], log)
            yield Running(server.name, process.pid, **ports, authority=server.authority)
        finally:
            _stop(process)


def _placed(text: str, places: Mapping[str, str]) -> str:
    for name, port in places.items():  # not str.format: an environment variable may hold braces of its own
        text = text.replace("{" + name + "}", port)
    return text


def _wait_ready(server: ServerUnderTest, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + server.start_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"{server.name} ended with status {process.returncode} before it was ready; see {log}")
        if _status(port, server.ready_path, server.authority) == http.client.OK:
            return
        time.sleep(0.1)
    raise BenchError(f"{server.name} was not ready within {server.start_s:.0f} s; see {log}")


def _status(port: int, path: str, authority: Path | None) -> int | None:
    connection = connection_to(port, authority, timeout_s=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the server, wait 30 s for its end, then send SIGKILL to what is left of its process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
