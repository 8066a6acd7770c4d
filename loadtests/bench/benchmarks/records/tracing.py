"""Tracing: the same replica without it, with it at 10 % of the requests, and with it while the collector is away; in turn in one run.

The collector is a bare HTTP server in a process of its own that takes all and reads nothing, so that its own work is not measured.
The replicas run without Ray. Of each kind there are three processes: two processes of one kind differ by as much as a tenth (5,083 and
4,480 requests a second, 199 and 221 us, over five rounds in turn), which is more than what is to be seen.
`unsampled` traces nobody and keeps what is slow: what a request pays that has no trace. The decision these figures are for is
docs/decisions/0069-tracing.md."""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import DoorFigures, all_up, bring_up
from loadtests.bench.benchmarks.hostile.tls import UNITS, in_rounds
from loadtests.bench.process import HOST, Running
from loadtests.bench.report import Row, row
from loadtests.bench.vedette import fill_store, hosted
from loadtests.bench.workload import Workload, build_workload

IS_LONG: Final = True
OFF: Final = "vedette"
DOORS: Final = ("http", "grpc")
REPLICAS: Final = 3
CLIENTS: Final = 32
_TARGETS: Final = {"rate": targets.ratio(">=", 0.95), "p50": targets.ratio("<=", 1.05), "cpu": targets.ratio("<=", 1.05)}
_SINK: Final = """
import http.server, sys
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): ...
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure all in turn."""
    duration_s, replicas = (1.0, 1) if quick else (2.0, REPLICAS)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        workload, found, collector = build_workload(place), DoorFigures(), stack.enter_context(sink())
        ways = {
            OFF: {},
            "vedette-unsampled": {"otlp_endpoint": collector, "trace_ratio": "0"},
            "vedette-10-percent": {"otlp_endpoint": collector, "trace_ratio": "0.1"},
            "vedette-collector-gone": {"otlp_endpoint": f"http://{HOST}:{closed_port()}", "trace_ratio": "0.1"},
        }
        fill_store(workload, place / "store")
        servers = [
            (name, lambda n=f"{name}#{number}", given=given: hosted(place / "store", n, **given))
            for number in range(1, replicas + 1)
            for name, given in ways.items()
        ]
        up = bring_up(stack, servers, workload, found)
        all_up(up, len(servers), found)
        return list(measured(up, workload, rounds=rounds, duration_s=duration_s))


def measured(up: list[Running], workload: Workload, *, rounds: int, duration_s: float) -> Iterator[Row]:
    """Figures of all, those with tracing against the one without of the same rounds."""
    taken = in_rounds(DOORS, up, workload, rounds=rounds, duration_s=duration_s)
    for (door, name, figure), values in taken.items():
        is_off = name == OFF
        against = None if is_off else (f"{door}/{OFF}/c{CLIENTS}/{figure}", taken[door, OFF, figure])
        bound = None if is_off else _TARGETS.get(figure)
        yield row(f"{door}/{name}/c{CLIENTS}/{figure}", values, UNITS[figure], against=against, target=bound)


@contextmanager
def sink() -> Iterator[str]:
    """The URL of a collector that takes all, until it is left."""
    with subprocess.Popen((sys.executable, "-c", _SINK), stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout is not None else ""
            yield f"http://{HOST}:{int(said)}"
        finally:
            process.kill()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
    return port
