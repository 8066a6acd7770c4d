"""A capacity plan carried out: figures measured at lower rates predict the p99 at 2,000 requests a second, and a real load holds it or not.

A replica as it ships (prediction log on), with features from Redis, is asked by the exact open-loop generator at a quarter, a half and
three quarters of the rate. The queue whose latencies are nearest to these (`operators.capacity.fitting`) predicts p99 at the rate,
which is then measured in the same rounds. Where the replica would be busier than 75 % at 2,000 a second, or the machine busier than
80 % with generator and Redis on it, the highest rate below that is taken, and its name says so. `off by` is the distance of the
measured p99 from the predicted, as a share of the predicted.

The run also measures what else `vedette capacity` needs and writes build/bench/capacity-figures.json, which `--figures` takes. Other
doors than HTTP with features are taken to have the same queue with a service as much shorter or longer as their processor time.
Generator, Redis and replica share the machine's cores: what they take of each other is in the figures, and a plan for nodes of their
own is a little large."""

import os
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
from loadtests.bench.errors import BenchError
from loadtests.bench.load.exact_load import load_exactly
from loadtests.bench.load.open_load import OpenSample
from loadtests.bench.process import running
from loadtests.bench.record import Machine, this_machine
from loadtests.bench.report import FOLDER, Row, row
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import INFER_PATH, build_workload
from loadtests.bench.worlds.featured import Featured, featured
from operators.capacity.errors import CapacityError
from operators.capacity.figures import VERSION, DoorWork, MeasuredFigure, MeasuredPlace, PlanFigures
from operators.capacity.fitting import RateSample, fit
from operators.capacity.waiting import ReplicaWork, quantile_s

IS_LONG: Final = True
FILE: Final = FOLDER / "capacity-figures.json"
RATE: Final = 2000.0
SHARES: Final = (0.25, 0.5, 0.75)
CLIENTS: Final = 32
MOST_BUSY: Final = 0.75
MOST_OF_MACHINE: Final = 0.8
GENERATOR_S: Final = 60e-6
"""Processor time of the generator for a request, on a busy machine."""
DOOR: Final = "http/features"
MOST_PAUSED: Final = 0.5
"""Share of the time that the upper bounds of pauses may make together."""
OFF_BY: Final = targets.value("<=", 0.3)


@dataclass(frozen=True, slots=True)
class _Sample:
    """An open load, and the processor time of the replica for each second of it."""

    load: OpenSample
    rate: float
    busy: float

    @property
    def of_queue(self) -> RateSample:
        return RateSample(self.rate, self.busy, self.load.p50_ms / 1000, self.load.p99_ms / 1000)


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure, predict, carry out, and write the figures. Raises BenchError if a server fails, or nothing could be fitted."""
    machine, duration_s = this_machine(), 2.0 if quick else 10.0
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name, featured(Path(name), audit="async") as up:
        _ask(up, RATE / 8, 2.0)  # warm
        goal = goal_of([_ask(up, RATE * share, max(duration_s / 2, 2.0)) for share in (1 / 8, 1 / 4)])
        lower, there = list[list[_Sample]](), list[_Sample]()
        for index in range(rounds):
            lower.append([_ask(up, goal * share, duration_s) for share in SHARES])
            there.append(_ask(up, goal, duration_s))
            say(
                f"capacity round {index + 1}/{rounds}: {goal:,.0f}/s, p99 {there[-1].load.p99_ms:.2f} ms, busy {there[-1].busy:.0%}"
            )
        try:
            work = fit([_median([one[at] for one in lower]) for at in range(len(SHARES))])
        except CapacityError as problem:
            raise BenchError(str(problem)) from problem
        works = [work, *_fits(lower)]
        figures = _figures(up, Path(name), work, works, machine, is_quick=quick, rounds=rounds, duration_s=min(duration_s, 3.0))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    say(f"capacity: figures for `vedette capacity --figures` in {FILE}")
    return list(rows(goal, work, lower, there))


def goal_of(first: Sequence[_Sample]) -> float:
    """The rate that is predicted and tried: RATE, or what this machine can bear."""
    slow, fast = first
    each_s = max((fast.busy - slow.busy) / (fast.rate - slow.rate), fast.busy / fast.rate / 2)
    cores = os.cpu_count() or 1
    most = min(MOST_BUSY / each_s, MOST_OF_MACHINE * cores / (each_s + GENERATOR_S + 20e-6))
    return RATE if most >= RATE else max(100.0, most // 100 * 100)


def rows(goal: float, work: ReplicaWork, lower: Sequence[Sequence[_Sample]], there: Sequence[_Sample]) -> Iterator[Row]:
    """Predicted beside measured, at the rate and at the lower ones."""
    predicted_ms = quantile_s(work, goal) * 1000
    measured = [sample.load.p99_ms for sample in there]
    name = f"capacity/{{}}/{goal:,.0f} a second/p99"
    yield row(name.format("predicted"), [predicted_ms], "ms")
    yield row(name.format("measured"), measured, "ms")
    median = sorted(measured)[len(measured) // 2]
    yield row(f"capacity/off by/{goal:,.0f} a second/p99", [abs(median - predicted_ms) / predicted_ms], "", target=OFF_BY)
    yield row(f"capacity/generator/{goal:,.0f} a second/late p99", [sample.load.late_p99_ms for sample in there], "ms")
    yield row(f"capacity/replica/{goal:,.0f} a second/busy", [sample.busy for sample in there], "cores")
    for at, share in enumerate(SHARES):
        rate = goal * share
        yield row(f"capacity/fitted/{rate:,.0f} a second/p99", [quantile_s(work, rate) * 1000], "ms")
        yield row(f"capacity/measured/{rate:,.0f} a second/p99", [one[at].load.p99_ms for one in lower], "ms")


def _fits(lower: Sequence[Sequence[_Sample]]) -> Iterator[ReplicaWork]:
    """The queue of each round alone, for the bounds. A round that says nothing is left out."""
    for one in lower:
        try:
            yield fit([sample.of_queue for sample in one])
        except CapacityError as problem:
            say(f"capacity: a round is left out of the bounds: {problem}")


def _ask(up: Featured, rate: float, duration_s: float) -> _Sample:
    before = costs.value_of(costs.page_of(up.vedette), "process_cpu_seconds_total")
    found = load_exactly(up.vedette.http_port, INFER_PATH, up.bodies, rate=rate, clients=CLIENTS, duration_s=duration_s)
    spent = costs.value_of(costs.page_of(up.vedette), "process_cpu_seconds_total") - before
    return _Sample(found, rate, spent / duration_s)


def _median(samples: Sequence[_Sample]) -> RateSample:
    """Of the rounds at one rate, each figure's own median."""
    return RateSample(
        samples[0].rate,
        costs.of([s.busy for s in samples]).value,
        costs.of([s.load.p50_ms for s in samples]).value / 1000,
        costs.of([s.load.p99_ms for s in samples]).value / 1000,
    )


def _figures(
    up: Featured, folder: Path, work: ReplicaWork, works: Sequence[ReplicaWork], machine: Machine,
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
    return PlanFigures(
        VERSION, place, _doors(work, works, spent, wire), redis, costs.event_work(), costs.record_work(folder / "audit"), row_s,
        MeasuredFigure(memory, memory, memory), page_s,
    )  # fmt: skip


def _doors(
    work: ReplicaWork,
    works: Sequence[ReplicaWork],
    spent: Mapping[str, Sequence[float]],
    wire: Mapping[str, tuple[float, float]],
) -> dict[str, DoorWork]:
    """Each door's queue: the fitted one, its service as much longer as the processor time of the door's requests."""
    median = costs.of(spent[DOOR]).value
    found = {}
    for name, taken in spent.items():
        times = costs.of(taken).value / median

        def spread(figure: str, scale: float = 1.0) -> MeasuredFigure:
            values = [getattr(one, figure) * scale for one in works]
            middle = getattr(work, figure) * scale
            return MeasuredFigure(middle, min(*values, middle), max(*values, middle))

        pauses, lengths = spread("pause_per_s"), spread("pause_s")  # bounds of two figures at once may be no replica
        longest = max(min(lengths.high, MOST_PAUSED / max(pauses.high, 1e-9)), lengths.value)
        most = max(min(pauses.high, MOST_PAUSED / max(longest, 1e-9)), pauses.value)
        request, answer = (MeasuredFigure(size, size, size) for size in wire[name])
        found[name] = DoorWork(
            spread("busy_s", times), spread("busy_scv"), spread("delay_s"), MeasuredFigure(pauses.value, pauses.low, most),
            MeasuredFigure(lengths.value, lengths.low, longest), costs.of(taken), request, answer,
        )  # fmt: skip
    return found
