"""A capacity plan carried out: figures measured at lower rates predict the p99 at 2,000 requests a second, and a real load holds it or not.

A replica as it ships (prediction log on) decides by 20 features and is asked by the exact open-loop generator at 0.4, 0.6 and 0.8 of the
rate, and at the rate itself, in turn within each round and in another order in each. The queue whose latencies are nearest to the medians
of the lower rates (`operators.capacity.fitting`) predicts the p99 at the rate; `off by` is the distance of the median p99 measured there
from it, as a share of the predicted. Two replicas are asked, one after the other: one that reads its features from Redis for each request,
and one that keeps rows in its memory (32 MiB, all 2,000 hosts fit), which is how 2,000 a second are best served on a small machine. Where
the replica would be busier than 75 % at 2,000 a second, or the machine busier than 80 %, the highest rate below that is taken, and the
name says so. The replica has a core of its own; generator, Redis and Ray have the others.

The run also measures what else `vedette capacity` needs and writes build/bench/capacity-figures.json, which `--figures` takes; the
command that it prints makes it the file that comes along. Other doors than these two are taken to have the queue of HTTP with features,
with a service as much shorter or longer as their processor time."""

import math
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import say
from loadtests.bench.benchmarks.features import HOSTS
from loadtests.bench.benchmarks.planning import costs
from loadtests.bench.benchmarks.planning.queue_rounds import RateLoad, ask, core_of_its_own, queue_rounds
from loadtests.bench.errors import BenchError
from loadtests.bench.process import running
from loadtests.bench.record import Machine, this_machine
from loadtests.bench.report import FOLDER, Row, row
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import build_workload
from loadtests.bench.worlds.featured import Featured, featured
from operators.capacity.errors import CapacityError
from operators.capacity.figures import REFERENCE, VERSION, DoorWork, MeasuredFigure, MeasuredPlace, PlanFigures
from operators.capacity.fitting import fit
from operators.capacity.waiting import ReplicaWork, quantile_s

IS_LONG: Final = True
FILE: Final = FOLDER / "capacity-figures.json"
RATE: Final = 2000.0
SHARES: Final = (0.4, 0.6, 0.8)
MOST_BUSY: Final = 0.75
MOST_OF_MACHINE: Final = 0.8
GENERATOR_S: Final = 60e-6
"""Processor time of the generator for a request, on a busy machine."""
DOOR: Final = "http/features"
NEAR_DOOR: Final = "http/near"
KEPT_BYTES: Final = 32 * 1024 * 1024
LOADS_A_ROUND: Final = 2
"""Rounds of the queue for each round of other figures: it is the queue that varies."""
FIGURE_ROUNDS: Final = 3
"""Rounds of other figures at most."""
MOST_PAUSED: Final = 0.5
"""Share of the time that the upper bounds of pauses may make together."""
OFF_BY: Final = targets.value("<=", 0.3)


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """One replica's rounds: the loads at the lower rates and, last, at the goal. work: fitted to the lower rates of all rounds. works: to
    those of each round."""

    who: str
    goal: float
    rounds: list[list[RateLoad]]
    work: ReplicaWork
    works: list[ReplicaWork]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure, predict, carry out, and write the figures. Raises BenchError if a server fails, or nothing could be fitted."""
    machine, duration_s, count = this_machine(), 1.5 if quick else 4.0, 2 if quick else LOADS_A_ROUND * rounds
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        near_folder, folder = Path(name) / "near", Path(name) / "read"
        near_folder.mkdir()
        folder.mkdir()
        with featured(near_folder, audit="async", feature_near_cache_bytes=str(KEPT_BYTES)) as up:
            near = _carried_out(up, near_folder, "rows kept", count, duration_s)
        with featured(folder, audit="async") as up:
            read = _carried_out(up, folder, "rows read", count, duration_s)
            figures = _figures(
                up,
                folder,
                read,
                near,
                machine,
                is_quick=quick,
                rounds=min(rounds, FIGURE_ROUNDS),
                duration_s=min(duration_s, 2.0),
            )
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    say(f"capacity: figures for `vedette capacity --figures` in {FILE}; a full run on a quiet machine becomes the reference by")
    say(f"  cp {FILE} {REFERENCE} && python -m tests.docs.tables")
    return [*rows(read), *rows(near)]


def _carried_out(up: Featured, store: Path, who: str, rounds: int, duration_s: float) -> CarriedOut:
    with core_of_its_own(up, store) as pid:
        ask(up, pid, RATE / 8, 2.0)  # warm
        goal = goal_of([ask(up, pid, RATE * share, 2.0) for share in (1 / 8, 1 / 2)])
        found = queue_rounds(
            up, pid, [*(goal * share for share in SHARES), goal], rounds=rounds, duration_s=duration_s, who=who
        )
    try:
        work = fit([one.of_queue for loads in found for one in loads[:-1]])
    except CapacityError as problem:
        raise BenchError(str(problem)) from problem
    return CarriedOut(who, goal, found, work, list(_fits(found)))


def goal_of(first: Sequence[RateLoad]) -> float:
    """The rate that is predicted and tried: RATE, or what this machine can bear."""
    slow, fast = first
    each_s = max((fast.busy - slow.busy) / (fast.rate - slow.rate), fast.busy / fast.rate / 2)
    cores = os.cpu_count() or 1
    most = min(MOST_BUSY / each_s, MOST_OF_MACHINE * cores / (each_s + GENERATOR_S + 20e-6))
    return RATE if most >= RATE else max(100.0, most // 100 * 100)


def rows(one: CarriedOut) -> Iterator[Row]:
    """Predicted beside measured, at the rate and at the lower ones."""
    predicted_ms, there = quantile_s(one.work, one.goal) * 1000, [loads[-1] for loads in one.rounds]
    measured = [load.load.p99_ms for load in there]
    name = f"capacity/{{}}/{one.who}, {one.goal:,.0f} a second/{{}}"
    yield row(name.format("predicted", "p99"), [predicted_ms], "ms")
    yield row(name.format("measured", "p99"), measured, "ms")
    off_by = abs(statistics.median(measured) - predicted_ms) / predicted_ms if math.isfinite(predicted_ms) else math.inf
    yield row(name.format("off by", "p99"), [off_by], "", target=OFF_BY)
    yield row(name.format("generator", "late p99"), [load.load.late_p99_ms for load in there], "ms")
    yield row(name.format("replica", "busy"), [load.busy for load in there], "cores")
    yield row(name.format("loop", "without a core"), [load.waited for load in there], "cores")
    for at, lower in enumerate(one.rounds[0][:-1]):
        told = f"{one.who}, {lower.rate:,.0f} a second"
        yield row(f"capacity/fitted/{told}/p99", [quantile_s(one.work, lower.rate) * 1000], "ms")
        yield row(f"capacity/measured/{told}/p99", [loads[at].load.p99_ms for loads in one.rounds], "ms")


def _fits(rounds: Sequence[Sequence[RateLoad]]) -> Iterator[ReplicaWork]:
    """The queue of each round alone, for the bounds. A round that says nothing is left out."""
    for one in rounds:
        try:
            yield fit([load.of_queue for load in one[:-1]])
        except CapacityError as problem:
            say(f"capacity: a round is left out of the bounds: {problem}")


def _figures(
    up: Featured, folder: Path, read: CarriedOut, near: CarriedOut, machine: Machine,
    *, is_quick: bool, rounds: int, duration_s: float,
) -> PlanFigures:  # fmt: skip
    say("capacity: the other doors, Redis, records, rows")
    workload = build_workload(folder / "plain")
    with running(vedette(workload, folder / "tensors", "vedette-tensors", audit="async")) as tensors:
        loads = costs.door_loads(up, tensors, workload, duration_s)
        spent: dict[str, list[float]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, (server, load) in loads.items():
                spent[name].append(costs.cpu_a_request(server, load))
        redis = costs.redis_work(up, loads[DOOR][1], hosts=HOSTS, rounds=rounds)
        row_s = costs.row_seconds(tensors, workload, folder, rounds=rounds, duration_s=duration_s)
        bodies = {DOOR: up.bodies, "http": workload.json_bodies}
        wire = {
            name: costs.sizes_of(server, bodies[name].read_bytes().splitlines()[0])
            for name, (server, _) in loads.items()
            if name in bodies
        }
        wire["grpc/features"] = costs.grpc_sizes(costs.grpc_host(), wire[DOOR][1])
        wire["grpc"] = costs.grpc_sizes(workload.grpc_body(0), wire["http"][1])
        memory = costs.value_of(costs.page_of(up.vedette), "process_resident_memory_bytes")
        page_s = costs.page_seconds(up.vedette)
    place = MeasuredPlace(
        datetime.now(UTC).isoformat(timespec="seconds"), machine.commit, machine.processor, machine.cores, machine.memory_gb,
        machine.load, is_quick,
    )  # fmt: skip
    wire[NEAR_DOOR] = wire[DOOR]
    each_s = [load.busy / load.rate for loads in near.rounds for load in loads[-2:]]
    doors = {
        **_doors(read.work, read.works, spent, wire),
        **_doors(near.work, near.works, {NEAR_DOOR: each_s}, wire, NEAR_DOOR),
    }
    return PlanFigures(
        VERSION, place, doors, redis, costs.event_work(), costs.record_work(folder / "audit"), row_s,
        MeasuredFigure(memory, memory, memory), page_s,
    )  # fmt: skip


def _doors(
    work: ReplicaWork,
    works: Sequence[ReplicaWork],
    spent: Mapping[str, Sequence[float]],
    wire: Mapping[str, tuple[float, float]],
    measured: str = DOOR,
) -> dict[str, DoorWork]:
    """Each door's queue: that of the `measured` one, its service as much longer as the processor time of the door's requests."""
    median = costs.of(spent[measured]).value
    found = {}
    for name, taken in spent.items():
        times = costs.of(taken).value / median

        def spread(figure: str, scale: float = 1.0) -> MeasuredFigure:
            low, high = quarters([getattr(one, figure) * scale for one in works])
            middle = getattr(work, figure) * scale
            return MeasuredFigure(middle, min(low, middle), max(high, middle))

        pauses, lengths = spread("pause_per_s"), spread("pause_s")  # bounds of two figures at once may be no replica
        longest = max(min(lengths.high, MOST_PAUSED / max(pauses.high, 1e-9)), lengths.value)
        most = max(min(pauses.high, MOST_PAUSED / max(longest, 1e-9)), pauses.value)
        request, answer = (MeasuredFigure(size, size, size) for size in wire[name])
        found[name] = DoorWork(
            spread("busy_s", times), spread("busy_scv"), spread("delay_s"), MeasuredFigure(pauses.value, pauses.low, most),
            MeasuredFigure(lengths.value, lengths.low, longest), costs.of(taken), request, answer, spread("interrupted"),
        )  # fmt: skip
    return found


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of what was fitted to each round alone, where one bad round is no bound: the first and the third quartile of four rounds
    or more, of fewer the least and the greatest.

    >>> quarters([5.0, 1.0, 2.0, 3.0, 900.0]), quarters([1.0, 9.0])
    ((2.0, 5.0), (1.0, 9.0))
    """
    if len(values) < 4:
        return min(values), max(values)
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third
