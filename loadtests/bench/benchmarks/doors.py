"""HTTP without features: a Vedette replica on Ray Serve, next to a bare server, Ray Serve's own proxy and other model servers.

`bare` is starlette, uvicorn and onnxruntime, and answers the score only; `vedette` answers the whole decision (score, verdict,
probability) with audit and cache off, `vedette-shipped` the same with every setting as it ships; `vedette-2` is two replicas on one
port. MLServer and BentoML run in environments of their own. One row a request as JSON, rotating inputs, answers checked first; wrk
with 1, 8 and 32 connections. All servers are up at once and are measured in turn, cell by cell, so that a drift of the machine hits
all alike. They share its cores with the load generator."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Lock
from typing import Final

from loadtests.bench import targets
from loadtests.bench.errors import BenchError
from loadtests.bench.load.answers import check_decision, check_grpc, check_http
from loadtests.bench.load.grpc_load import load_grpc
from loadtests.bench.load.http_load import generator as http_generator
from loadtests.bench.load.http_load import load_http
from loadtests.bench.load.replica_counts import all_answered
from loadtests.bench.load.results import Sample
from loadtests.bench.peers import bentoml, mlserver
from loadtests.bench.process import Running, ServerUnderTest, python, running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import Target
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import SHIPPED, vedette
from loadtests.bench.workload import INFER_PATH, Workload, build_workload

BARE: Final = "bare"
TWO: Final = "vedette-2"
PROXY: Final = "serve-proxy"
DOORS: Final = ("http", "grpc")
STREAMS: Final = "grpc-streams"
"""The gRPC door over one connection that has as many streams as there are clients."""
CLIENTS: Final = (1, 8, 32)
STARTED_AT_ONCE: Final = 3
"""Servers mostly wait while they start; all at once would exceed Ray's own timeout."""
FIGURES: Final = (("p50", "ms", "p50_ms"), ("p99", "ms", "p99_ms"), ("rate", "req/s", "rate"))
PROXY_TARGET: Final = targets.ratio(">=", 40)

Cell = tuple[str, str, int]
"""Door, server, clients."""
TargetOf = Callable[[str, str, int, str], Target | None]
"""The target of a figure, by door, server, clients, figure."""


class DoorFigures(dict[Cell, list[Sample]]):
    """The samples of each cell, and why others could not be measured. asked: by door, the numbers of clients that were to be measured."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: dict[tuple[str, str], str] = {}
        self.asked: dict[str, tuple[int, ...]] = {}

    def drop(self, door: str, server: str, why: str) -> None:
        """Stop measuring a server that failed at this door, because its rounds would no longer pair."""
        self.problems[door, server] = why
        for cell in [c for c in self if c[:2] == (door, server)]:
            del self[cell]


def servers(workload: Workload, folder: Path) -> list[tuple[str, Callable[[], ServerUnderTest]]]:
    """The servers to measure, and how to start each, with its defaults and one worker."""
    return [
        (BARE, lambda: bare(workload)),
        (OURS, lambda: vedette(workload, folder / "one")),
        (SHIPPED, lambda: vedette(workload, folder / "shipped", SHIPPED)),
        (TWO, lambda: vedette(workload, folder / "two", TWO, replicas="2")),
        (PROXY, lambda: module_server(PROXY, "serve_proxy", workload, ready_path="/")),
        ("kserve", lambda: module_server("kserve", "kserve_server", workload)),
        ("mlserver", lambda: mlserver(workload, folder)),
        ("bentoml", lambda: bentoml(workload)),
    ]


def bare(workload: Workload) -> ServerUnderTest:
    """The bare server, the reference for comparison."""
    return module_server(BARE, "bare", workload)


def module_server(name: str, module: str, workload: Workload, ready_path: str = "/v2/health/ready") -> ServerUnderTest:
    """One of loadtests.bench.servers."""
    common = ("--model", str(workload.model), "--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    return ServerUnderTest(name, python(f"loadtests.bench.servers.{module}", *common), ready_path=ready_path)


def target(door: str, server: str, clients: int, figure: str) -> Target | None:
    """Targets of HTTP without features. Two replicas can be faster than one only with two clients or more."""
    if (door, server) == ("http", OURS):
        return {"p50": targets.ratio("<=", 1.2), "p99": targets.ratio("<=", 2.0), "rate": targets.ratio(">=", 1.0)}[figure]
    if (door, server, figure) == ("http", TWO, "rate") and clients > 1:
        return targets.ratio(">", 1.2)
    return None


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure every server and number of clients."""
    clients, duration_s = ((1, 8), 1.0) if quick else (CLIENTS, 2.0)
    say(f"HTTP load by {http_generator()}")
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        workload = build_workload(Path(folder))
        found = DoorFigures()
        up = bring_up(stack, servers(workload, Path(folder)), workload, found, doors=("http",))
        measure(up, workload, found, clients=clients, rounds=rounds, duration_s=duration_s, doors=("http",))
    return [*rows(found, target), *against_the_proxy(found)]


def bring_up(
    stack: ExitStack,
    servers_to_start: Sequence[tuple[str, Callable[[], ServerUnderTest]]],
    workload: Workload,
    found: DoorFigures,
    *,
    doors: Sequence[str] = DOORS,
) -> list[Running]:
    """Start the servers, check their answers, and keep them until the stack closes. `found` gets the problems of those that failed."""
    lock = Lock()

    def start(name: str, make: Callable[[], ServerUnderTest]) -> Running | str:
        try:
            with ExitStack() as own:
                server = own.enter_context(running(make()))
                for door in doors:
                    (check_http if door == "http" else check_grpc)(server, workload)
                if name.startswith(OURS) and "http" in doors:
                    check_decision(server, workload)
                with lock:
                    stack.push(own.pop_all())
                return server
        except BenchError as problem:
            return str(problem)

    if len(servers_to_start) == 1:  # in this thread: Envoy asks the kernel to be ended with the thread that started it
        started = [start(*servers_to_start[0])]
    else:
        with ThreadPoolExecutor(STARTED_AT_ONCE) as pool:
            started = list(pool.map(start, *zip(*servers_to_start, strict=True)))
    for (name, _), server in zip(servers_to_start, started, strict=True):
        if isinstance(server, str):
            say(f"{name}: {server}")
            for door in doors:
                found.drop(door, name, server)
    return [server for server in started if isinstance(server, Running)]


def measure(
    up: Sequence[Running],
    workload: Workload,
    found: DoorFigures,
    *,
    clients: Sequence[int],
    rounds: int,
    duration_s: float,
    doors: Sequence[str] = DOORS,
) -> None:
    """Measure every cell `rounds` times, round by round. Each round begins with another server. One warm-up before them is not counted."""
    for door in doors:
        found.asked[door] = tuple(sorted({*found.asked.get(door, ()), *clients}))
        for server in up:
            _take(DoorFigures(), found, door, server, workload, clients=max(clients), index=0, duration_s=1.0)
        for count in clients:
            for index in range(rounds):
                first = index % max(len(up), 1)
                for server in (*up[first:], *up[:first]):
                    if taken := _take(found, found, door, server, workload, clients=count, index=index, duration_s=duration_s):
                        say(f"{door}/{server.name}/c{count} round {index + 1}/{rounds}: {taken.rate:,.0f} req/s")


def _take(
    into: DoorFigures,
    found: DoorFigures,
    door: str,
    server: Running,
    workload: Workload,
    *,
    clients: int,
    index: int,
    duration_s: float,
) -> Sample | None:
    """Measure one cell into `into`. None if the server fails now (`found` then has the problem) or failed before."""
    if (door, server.name) in found.problems:
        return None
    try:
        taken = cell(door, server, workload, clients=clients, index=index, duration_s=duration_s)
    except BenchError as problem:
        say(str(problem))
        found.drop(door, server.name, str(problem))
        return None
    into.setdefault((door, server.name, clients), []).append(taken)
    return taken


def rows(found: DoorFigures, target: TargetOf = lambda *_: None) -> Iterator[Row]:
    """Three figures per cell, each beside the bare server's of the same rounds; then what could not be measured, each target of it too."""
    for (door, server, clients), taken in found.items():
        for figure, unit, attribute in FIGURES:
            values = [getattr(s, attribute) for s in taken]
            others = None if server == BARE else found.get((door, BARE, clients))
            against = None
            if others is not None:
                against = (f"{door}/{BARE}/c{clients}/{figure}", [getattr(s, attribute) for s in others])
            bound = target(door, server, clients, figure)
            yield row(f"{door}/{server}/c{clients}/{figure}", values, unit, against=against, target=bound)
    for (door, server), why in found.problems.items():
        yield unmeasured(f"{door}/{server}", why)
        yield from missed(found, door, server, why, target)


def missed(found: DoorFigures, door: str, server: str, why: str, target: TargetOf, *, what: str | None = None) -> Iterator[Row]:
    """The figures with a target that a server which failed was to have. what: how their names begin, if not by the door."""
    for clients in found.asked.get(door, ()):
        for figure, unit, _ in FIGURES:
            bound = target(door, server, clients, figure)
            if bound is not None:
                yield unmeasured(f"{what or door}/{server}/c{clients}/{figure}", why, unit=unit, target=bound)


def all_up(up: Sequence[Running], wanted: int, found: DoorFigures) -> None:
    """Raises BenchError, which says why, unless as many servers are up as are wanted: without one of them nothing can be compared."""
    if len(up) < wanted:
        raise BenchError("; ".join(dict.fromkeys(f"{server}: {why}" for (_, server), why in found.problems.items())))


def against_the_proxy(found: DoorFigures) -> Iterator[Row]:
    """Vedette's rates beside those of Ray Serve's proxy."""
    for (door, server, clients), taken in found.items():
        others = found.get((door, PROXY, clients))
        if server == OURS and others is not None:
            against = (f"{door}/{PROXY}/c{clients}/rate", [s.rate for s in others])
            yield row(
                f"{door}-against-proxy/{OURS}/c{clients}/rate",
                [s.rate for s in taken],
                "req/s",
                against=against,
                target=PROXY_TARGET,
            )
    for door, counts in found.asked.items():
        why = found.problems.get((door, OURS)) or found.problems.get((door, PROXY))
        for clients in counts if why else ():
            yield unmeasured(f"{door}-against-proxy/{OURS}/c{clients}/rate", why or "", unit="req/s", target=PROXY_TARGET)


def cell(door: str, server: Running, workload: Workload, *, clients: int, index: int, duration_s: float) -> Sample:
    """Measure one server once at one door. Raises BenchError if a request failed."""
    try:
        if door == "http":
            return load_http(
                server.http_port,
                INFER_PATH,
                workload.json_bodies,
                clients=clients,
                duration_s=duration_s,
                scheme=server.scheme,
            )
        connections, streams = (1, clients) if door == STREAMS else (clients, 1)
        body = workload.grpc_body(index)
        counted = all_answered(server, cut_off=clients) if server.name.startswith(OURS) else nullcontext()
        with counted:  # a generator of gRPC sees the status of HTTP only
            return load_grpc(
                server.grpc_port, body, clients=connections, streams=streams, duration_s=duration_s, scheme=server.scheme
            )
    except BenchError as problem:
        raise BenchError(f"{server.name}, {door}, {clients} clients: {problem}") from problem


def say(text: str) -> None:
    """Print progress on stderr."""
    sys.stderr.write(f"{text}\n")
