"""HTTP and gRPC through a Vedette replica on Ray Serve, next to a bare server, Ray Serve's own proxies and KServe's server.

All servers are up at once and are measured in turn, cell by cell, so that a drift of the machine hits all alike. They share its
cores with the load generator: the ratios say something, the absolute figures little."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtests.bench.answers import check_grpc, check_http
from loadtests.bench.errors import BenchError
from loadtests.bench.grpc_load import generator as grpc_generator
from loadtests.bench.grpc_load import load_grpc
from loadtests.bench.http_load import generator as http_generator
from loadtests.bench.http_load import load_http
from loadtests.bench.load import Sample
from loadtests.bench.process import Running, ServerUnderTest, python, running
from loadtests.bench.report import Row, row
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import INFER_PATH, Workload, build_workload

BARE = "bare"
DOORS = ("http", "grpc")
CLIENTS = (1, 8, 32)
FIGURES = (("p50", "ms", "p50_ms"), ("p99", "ms", "p99_ms"), ("rate", "req/s", "rate"))

Cell = tuple[str, str, int]
"""Door, server, clients."""


def servers(workload: Workload, folder: Path) -> list[ServerUnderTest]:
    """Who is measured; each with this machine's defaults and one worker."""
    common = ("--model", str(workload.model), "--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    package = "loadtests.bench.servers"
    return [
        ServerUnderTest(BARE, python(f"{package}.bare", *common)),
        vedette(workload, folder / "store"),
        ServerUnderTest("serve-proxy", python(f"{package}.serve_proxy", *common), ready_path="/"),
        ServerUnderTest("kserve", python(f"{package}.kserve_server", *common)),
    ]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure every door, server and number of clients. Raises BenchError if a server fails."""
    clients, duration_s = ((1, 8), 1.0) if quick else (CLIENTS, 2.0)
    _say(f"HTTP load by {http_generator()}; gRPC load by {grpc_generator()}")
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        workload = build_workload(Path(folder))
        up = [stack.enter_context(running(s)) for s in servers(workload, Path(folder))]
        for server in up:
            check_http(server, workload)
            check_grpc(server, workload)
        found = measure(up, workload, clients=clients, rounds=rounds, duration_s=duration_s)
    return list(rows(found))


def measure(
    up: Sequence[Running],
    workload: Workload,
    *,
    clients: Sequence[int],
    rounds: int,
    duration_s: float,
    doors: Sequence[str] = DOORS,
) -> dict[Cell, list[Sample]]:
    """Every cell `rounds` times, round by round, each round beginning with another server; one warm-up before, not counted."""
    found: dict[Cell, list[Sample]] = {}
    for door in doors:
        for server in up:
            _cell(door, server, workload, clients=max(clients), index=0, duration_s=1.0)
        for count in clients:
            for index in range(rounds):
                first = index % len(up)
                for server in (*up[first:], *up[:first]):
                    taken = _cell(door, server, workload, clients=count, index=index, duration_s=duration_s)
                    found.setdefault((door, server.name, count), []).append(taken)
                    _say(f"{door}/{server.name}/c{count} round {index + 1}/{rounds}: {taken.rate:,.0f} req/s")
    return found


def rows(found: Mapping[Cell, Sequence[Sample]]) -> Iterator[Row]:
    """Three figures a cell, each against the bare server's of the same rounds; the others also against ours."""
    for (door, server, clients), taken in found.items():
        for figure, unit, attribute in FIGURES:
            name = f"{door}/{server}/c{clients}/{figure}"
            values = [getattr(s, attribute) for s in taken]
            reference = OURS if server != OURS and (door, OURS, clients) in found and server != BARE else BARE
            others = found.get((door, reference, clients))
            if server == BARE or others is None:
                yield row(name, values, unit)
            else:
                against = (f"{door}/{reference}/c{clients}/{figure}", [getattr(s, attribute) for s in others])
                yield row(name, values, unit, against=against)


def _cell(door: str, server: Running, workload: Workload, *, clients: int, index: int, duration_s: float) -> Sample:
    try:
        if door == "http":
            return load_http(server.http_port, INFER_PATH, workload.json_bodies, clients=clients, duration_s=duration_s)
        return load_grpc(server.grpc_port, workload.grpc_body(index), clients=clients, duration_s=duration_s)
    except BenchError as problem:
        raise BenchError(f"{server.name}, {door}, {clients} clients: {problem}") from problem


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
