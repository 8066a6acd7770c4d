"""Ways into a replica: its own listener, two replicas on one port, or Ray Serve's proxy in front (`front_door: serve`).

HTTP only: the decision these figures are for is docs/decisions/0001-own-listeners.md."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from loadtests.bench.benchmarks.doors import BARE, DoorFigures, bare, bring_up, measure, rows
from loadtests.bench.process import ServerUnderTest
from loadtests.bench.report import Row
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import Workload, build_workload

CLIENTS = (1, 32)


def servers(workload: Workload, folder: Path) -> list[tuple[str, Callable[[], ServerUnderTest]]]:
    """The bare server for comparison, and three ways to run the same replica."""
    return [
        (BARE, lambda: bare(workload)),
        ("vedette", lambda: vedette(workload, folder / "own")),
        ("vedette-2", lambda: vedette(workload, folder / "two", "vedette-2", replicas="2")),
        ("vedette-behind-serve", lambda: vedette(workload, folder / "proxied", "vedette-behind-serve", front_door="serve")),
    ]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure."""
    clients, duration_s = ((8,), 1.0) if quick else (CLIENTS, 2.0)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        workload = build_workload(Path(folder))
        found = DoorFigures()
        up = bring_up(stack, servers(workload, Path(folder)), workload, found, doors=("http",))
        measure(up, workload, found, clients=clients, rounds=rounds, duration_s=duration_s, doors=("http",))
    return list(rows(found))
