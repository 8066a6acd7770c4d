"""Three times the load a replica can sustain: what is still answered in time, how fast the rest is refused, and what memory does.

Features from a Redis of the benchmark's own. The sustainable load is what CONNECTIONS_AT_PEAK clients get in a closed loop, by the same
generator. Then an open loop offers three times that. Goodput counts answers within the deadline that each request states,
also those whose features were given up, because a read came too late: `without features` is their share. The generator
shares the machine, so the share of a core that it took is a figure too. OVERLOAD_TREES makes the model heavier: if a decision costs hardly
more than a refusal, refusing saves nothing."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.benchmarks.faults import replica
from loadtests.bench.load.overload_client import Overloaded, load_over
from loadtests.bench.load.replica_counts import counts_at
from loadtests.bench.report import Row, row
from loadtests.bench.targets import ratio, value
from loadtests.bench.workload import TREES
from loadtests.bench.worlds.faults import cpu_s, replicas
from loadtests.bench.worlds.feature_world import PATH, build_feature_world
from loadtests.bench.worlds.own_redis import OwnRedis

TIMES: Final = 3.0
DEADLINE_S: Final = 0.25
CONNECTIONS_AT_PEAK: Final = 32
CONNECTIONS: Final = 256
SETTLE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class OverloadFindings:
    """One round. Memory is the replica's resident set in MiB, settled before and after. *_cpu_s: share of a core that the replica took."""

    peak: Overloaded
    over: Overloaded
    peak_cpu_s: float
    over_cpu_s: float
    before_mib: float
    after_mib: float
    without_features: float = 0.0
    """Share of the answers under the load that lacked a feature."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if there is no Redis or the server does not start."""
    over_s, peak_s = (5.0, 2.0) if quick else (30.0, 5.0)
    trees = int(os.environ.get("OVERLOAD_TREES", TREES))
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, OwnRedis() as redis:
        world = build_feature_world(Path(folder) / "store", redis.url, trees=trees)
        bodies = Path(folder) / "bodies.jsonl"
        bodies.write_bytes(b"\n".join(world.bodies) + b"\n")
        with replica(world, redis) as scene:
            (pid,) = replicas(scene.mark)
            _peak(scene.port, bodies, 1.0)  # warm
            found = [_round(scene.port, pid, bodies, peak_s, over_s) for _ in range(rounds)]
    return list(rows(found))


def rows(found: Sequence[OverloadFindings]) -> Iterator[Row]:
    """The figures, each over all rounds."""
    peaks = [one.peak.goodput for one in found]
    yield row("overload/peak/goodput", peaks, "req/s")
    yield row("overload/3x/offered", [one.over.offered for one in found], "req/s", against=("overload/peak/goodput", peaks))
    goodput = [one.over.goodput for one in found]
    against = ("overload/peak/goodput", peaks)
    yield row("overload/3x/goodput", goodput, "req/s", against=against, target=ratio(">=", 0.85))
    by_cpu = [one.peak.good / one.peak_cpu_s for one in found]
    yield row("overload/peak/goodput by CPU", by_cpu, "req/CPU-s")
    against = ("overload/peak/goodput by CPU", by_cpu)  # where others take the machine, this still says what refusing costs
    yield row("overload/3x/goodput by CPU", [one.over.good / one.over_cpu_s for one in found], "req/CPU-s", against=against)
    lacking = [100 * one.without_features for one in found]
    yield row("overload/3x/without features", lacking, "% of the answers")
    yield row("overload/3x/answered p99", [one.over.good_p99_ms for one in found], "ms")
    yield row("overload/3x/refused", [one.over.refused / one.over.lasted_s for one in found], "req/s")
    yield row("overload/3x/refused p99", [one.over.refused_p99_ms for one in found], "ms", target=value("<", 20))
    yield row("overload/3x/late", [one.over.late / one.over.lasted_s for one in found], "req/s")
    yield row("overload/3x/unsent", [one.over.unsent / one.over.lasted_s for one in found], "req/s")
    yield row("overload/3x/failed", [one.over.failed + one.over.lost for one in found], "requests", target=value("<=", 0))
    before = [one.before_mib for one in found]
    yield row("overload/before/memory", before, "MiB")
    memory = [one.after_mib for one in found]
    yield row("overload/after/memory", memory, "MiB", against=("overload/before/memory", before), target=ratio("<=", 1.05))
    yield row("overload/3x/generator", [one.over.busy_ratio for one in found], "cores")


def _round(port: int, pid: int, bodies: Path, peak_s: float, over_s: float) -> OverloadFindings:
    began = cpu_s(pid)
    peak = _peak(port, bodies, peak_s)
    peak_cpu_s = cpu_s(pid) - began
    time.sleep(SETTLE_S)
    before, began, counted = resident_mib(pid), cpu_s(pid), counts_at(port)
    over = load_over(
        port,
        PATH,
        bodies,
        rate=TIMES * peak.goodput,
        connections=CONNECTIONS,
        duration_s=over_s,
        deadline_s=DEADLINE_S,
    )
    over_cpu_s, counts = cpu_s(pid) - began, counts_at(port).since(counted)
    time.sleep(SETTLE_S)
    found = OverloadFindings(peak, over, peak_cpu_s, over_cpu_s, before, resident_mib(pid), counts.without_features)
    sys.stderr.write(f"overload: {found}\n")
    return found


def _peak(port: int, bodies: Path, duration_s: float) -> Overloaded:
    return load_over(
        port, PATH, bodies, rate=0.0, connections=CONNECTIONS_AT_PEAK, duration_s=duration_s, deadline_s=DEADLINE_S
    )


def resident_mib(pid: int) -> float:
    """The resident memory of a process, MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
