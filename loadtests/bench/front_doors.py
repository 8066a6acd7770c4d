"""Which way into a replica: its own listener, two replicas on one port, or Ray Serve's proxy in front (`front_door: serve`).

HTTP only: the decision these figures are for is docs/decisions/0001-own-listeners.md."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from loadtests.bench.answers import check_http
from loadtests.bench.doors import BARE, measure, rows
from loadtests.bench.process import ServerUnderTest, python, running
from loadtests.bench.report import Row
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import Workload, build_workload

CLIENTS = (1, 32)


def servers(workload: Workload, folder: Path) -> list[ServerUnderTest]:
    """The bare server as yardstick, and three ways to run the same replica."""
    common = ("--model", str(workload.model), "--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    return [
        ServerUnderTest(BARE, python("loadtests.bench.servers.bare", *common)),
        vedette(workload, folder / "own"),
        vedette(workload, folder / "two", "vedette-2-replicas", replicas="2"),
        vedette(workload, folder / "proxied", "vedette-behind-serve", front_door="serve"),
    ]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if a server fails."""
    clients, duration_s = ((8,), 1.0) if quick else (CLIENTS, 2.0)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        workload = build_workload(Path(folder))
        up = [stack.enter_context(running(s)) for s in servers(workload, Path(folder))]
        for server in up:
            check_http(server, workload)
        found = measure(up, workload, clients=clients, rounds=rounds, duration_s=duration_s, doors=("http",))
    return list(rows(found))
