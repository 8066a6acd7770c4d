"""What the prediction log costs at the HTTP door: `strict` and `async` beside `off`, one replica each, one row a request as JSON.

`strict` answers after the record is on the disk, so it depends on the disk of the folder for temporary files: TMPDIR chooses another.
`disk` is one thread that appends a line and syncs it, over and over, on that disk: what a log without group commit could do at most.
All servers are up at once and are measured in turn, cell by cell, with 1, 8 and 32 clients. `cpu` is what the replica's process takes
for a request with 32 clients, by its own count: what other programs do on the machine touches it least."""

import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import CLIENTS, FIGURES, DoorFigures, bring_up, measure, missed
from loadtests.bench.load.http_load import load_http
from loadtests.bench.process import Running, ServerUnderTest
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import Target
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import INFER_PATH, Workload, build_workload

OFF, ASYNC, STRICT = "vedette-off", "vedette-async", "vedette-strict"
TARGETS: Final = {(ASYNC, 1): 0.9, (ASYNC, 8): 0.9, (ASYNC, 32): 0.9, (STRICT, 32): 0.5}
"""Least share of the rate without a log, by server and clients."""
CPU_CLIENTS: Final = 32
LINE: Final = b"x" * 1000 + b"\n"


def servers(workload: Workload, folder: Path) -> list[tuple[str, Callable[[], ServerUnderTest]]]:
    """The same replica three times, once in each mode."""
    return [
        (OFF, lambda: vedette(workload, folder / "off", OFF, audit="off")),
        (ASYNC, lambda: vedette(workload, folder / "async", ASYNC, audit="async")),
        (STRICT, lambda: vedette(workload, folder / "strict", STRICT, audit="strict")),
    ]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure."""
    clients, duration_s = ((1, 8), 1.0) if quick else (CLIENTS, 2.0)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        workload, found = build_workload(folder), DoorFigures()
        up = bring_up(stack, servers(workload, folder), workload, found, doors=("http",))
        syncs = [_syncs_per_s(folder / "disk", duration_s) for _ in range(rounds)]
        measure(up, workload, found, clients=clients, rounds=rounds, duration_s=duration_s, doors=("http",))
        cpu = {server.name: list[float]() for server in up}
        for _ in range(rounds):
            for server in up:
                cpu[server.name].append(_cpu_us(server, workload, duration_s))
    return [row("audit/disk/syncs", syncs, "syncs/s"), *rows(found), *cpu_rows(cpu)]


def rows(found: DoorFigures) -> Iterator[Row]:
    """Three figures per cell, each beside that of `off` in the same rounds; then what could not be measured."""
    for (_, server, clients), taken in found.items():
        for figure, unit, attribute in FIGURES:
            others, against = found.get(("http", OFF, clients)), None
            if others is not None and server != OFF:
                against = (f"audit/{OFF}/c{clients}/{figure}", [getattr(s, attribute) for s in others])
            values = [getattr(s, attribute) for s in taken]
            yield row(
                f"audit/{server}/c{clients}/{figure}", values, unit, against=against, target=target(server, clients, figure)
            )
    for (door, server), why in found.problems.items():
        yield unmeasured(f"audit/{server}", why)
        yield from missed(found, door, server, why, lambda _, *cell: target(*cell), what="audit")


def cpu_rows(cpu: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """Processor time per request, beside that of `off`."""
    for server, taken in cpu.items():
        against = None if server == OFF or OFF not in cpu else (f"audit/{OFF}/c{CPU_CLIENTS}/cpu", cpu[OFF])
        yield row(f"audit/{server}/c{CPU_CLIENTS}/cpu", taken, "us", against=against)


def target(server: str, clients: int, figure: str) -> Target | None:
    """The most that a log may cost."""
    least = TARGETS.get((server, clients)) if figure == "rate" else None
    return None if least is None else targets.ratio(">=", least)


def _cpu_us(server: Running, workload: Workload, duration_s: float) -> float:
    before = _counts(server)
    load_http(server.http_port, INFER_PATH, workload.json_bodies, clients=CPU_CLIENTS, duration_s=duration_s)
    cpu_s, requests = (after - at for after, at in zip(_counts(server), before, strict=True))
    return cpu_s / requests * 1e6


def _counts(server: Running) -> tuple[float, float]:
    """Seconds of processor time, and requests, so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=30) as page:  # nosec B310  # our own server
        lines = page.read().decode().splitlines()
    totals = [0.0, 0.0]
    for at, name in enumerate(("process_cpu_seconds_total", "vedette_requests_total")):
        totals[at] = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
    return totals[0], totals[1]


def _syncs_per_s(path: Path, duration_s: float) -> float:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        began_s, count = time.perf_counter(), 0
        while time.perf_counter() - began_s < duration_s:
            os.write(fd, LINE)
            os.fsync(fd)
            count += 1
        return count / (time.perf_counter() - began_s)
    finally:
        os.close(fd)
