"""Past one replica, and past the neighbour: features from Redis with one replica and two, cores shared and apart.

`bare` is sent the 20 numbers, `vedette-1` and `vedette-2` (one replica, two replicas) read them from Redis for a host (audit off). Each
is measured in arrangements of the cores. `shared`: all processes may use all cores, as in the other benchmarks. `apart`: Redis and the
load generator have the last core, the server all others. On two cores one replica has a core of its own then, and the bare server too;
two replicas would share that core, so they are measured `shared` only. From four cores on they are measured `apart` too.

`rate` and `p99` are those of 32 clients that wait for their answers. `highest-rate` is the highest rate of a Poisson load at which p99
stayed below 10 ms, as in `open_load`, hosts all alike. The bare server's figures are of the same arrangement and round.
`two-replicas/gain` holds two replicas against one, cores shared: with Redis and the generator on the same two cores, much less than 2x
is to be expected."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.benchmarks.doors import BARE, say
from loadtests.bench.benchmarks.tails.open_load import FIRST_STEP, STEPS, RateAsker, asks_of, highest_step, is_held
from loadtests.bench.cores import keep_to, self_on, tree_of
from loadtests.bench.errors import BenchError
from loadtests.bench.load.http_load import load_http
from loadtests.bench.load.replica_counts import with_features
from loadtests.bench.load.results import Sample
from loadtests.bench.process import Running, running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import serving
from loadtests.bench.workload import INFER_PATH
from loadtests.bench.worlds.featured import Featured, featured

IS_LONG: Final = True
CLIENTS: Final = 32
ONE: Final = f"{OURS}-1"
TWO: Final = f"{OURS}-2"
SHARED: Final = "shared"
APART: Final = "apart"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Who may use which cores. server: the server under test and its replicas. beside: Redis and the load generator."""

    name: str
    server: frozenset[int]
    beside: frozenset[int]


@dataclass(frozen=True, slots=True)
class Placed:
    """One server in one arrangement."""

    who: str
    arrangement: str

    def __str__(self) -> str:
        return f"two-replicas/{self.who}/{self.arrangement}"


def arrangements(cores: Sequence[int]) -> list[Arrangement]:
    """The arrangements that these cores allow; with one core they are only shared.

    >>> [(a.name, sorted(a.server), sorted(a.beside)) for a in arrangements([0, 1])]
    [('shared', [0, 1], [0, 1]), ('apart', [0], [1])]
    """
    every = frozenset(cores)
    found = [Arrangement(SHARED, every, every)]
    if len(cores) > 1:
        last = frozenset([max(cores)])
        found.append(Arrangement(APART, every - last, last))
    return found


def cells(found: Sequence[Arrangement]) -> list[Placed]:
    """What is measured: two replicas only where they have two cores or share them with all."""
    return [
        Placed(who, arrangement.name)
        for arrangement in found
        for who in (BARE, ONE, TWO)
        if who != TWO or arrangement.name == SHARED or len(arrangement.server) > 2
    ]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if a server fails, or where cores cannot be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        raise BenchError("this system has no sched_setaffinity; run it on Linux")
    duration_s = 0.5 if quick else 2.0
    closed: defaultdict[Placed, list[Sample]] = defaultdict(list)
    highest: defaultdict[Placed, list[float]] = defaultdict(list)
    found = arrangements(sorted(os.sched_getaffinity(0)))
    with (
        tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder,
        featured(Path(folder)) as up,
        running(serving(Path(folder), TWO, redis_url=up.url, replicas="2")) as two,
    ):
        servers = {BARE: up.bare, ONE: up.vedette, TWO: two}
        asks = _asks(up, Path(folder), two, duration_s)
        step = dict.fromkeys(cells(found), FIRST_STEP)
        for index in range(rounds):
            for cell in cells(found) if index % 2 else reversed(cells(found)):
                arrangement = next(a for a in found if a.name == cell.arrangement)
                server = servers[cell.who]
                keep_to([_redis_pid(up.url)], arrangement.beside)
                keep_to(tree_of(server.pid), arrangement.server)
                with self_on(arrangement.beside):
                    bodies = up.bodies_of(up.bare) if cell.who == BARE else up.bodies
                    with nullcontext() if cell.who == BARE else with_features(server):
                        taken = load_http(server.http_port, INFER_PATH, bodies, clients=CLIENTS, duration_s=duration_s)
                    closed[cell].append(taken)
                    ask = asks[cell.who]
                    step[cell] = highest_step(
                        lambda at, ask=ask: is_held(ask, STEPS[at]),  # type: ignore[misc]
                        step[cell],
                        len(STEPS) - 1,
                    )
                highest[cell].append(float(STEPS[step[cell]]) if step[cell] >= 0 else 0.0)
            told = ", ".join(f"{c} {closed[c][-1].rate:,.0f}/s, open {highest[c][-1]:,.0f}/s" for c in closed)
            say(f"two_replicas round {index + 1}/{rounds}: {told}")
    return [*closed_rows(closed), *rate_rows(highest)]


def _asks(up: Featured, folder: Path, two: Running, duration_s: float) -> dict[str, RateAsker]:
    found = asks_of(up, folder, duration_s, two)
    return {BARE: found[BARE], ONE: found[f"{OURS}-uniform"], TWO: found[f"{TWO}-uniform"]}


def _redis_pid(url: str) -> int:
    import redis

    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def closed_rows(closed: Mapping[Placed, Sequence[Sample]]) -> Iterator[Row]:
    """Rates and tails of waiting clients, beside the bare server's of the same arrangement; then two replicas beside one."""
    for cell, samples in closed.items():
        bare = closed[Placed(BARE, cell.arrangement)]
        for figure, unit, pick in (("rate", "req/s", _rate), ("p99", "ms", _p99)):
            values = [pick(s) for s in samples]
            against = (
                None if cell.who == BARE else (f"{Placed(BARE, cell.arrangement)}/c{CLIENTS}/{figure}", [pick(s) for s in bare])
            )
            yield row(f"{cell}/c{CLIENTS}/{figure}", values, unit, against=against)
    one, two = closed.get(Placed(ONE, SHARED), ()), closed.get(Placed(TWO, SHARED), ())
    if one and two:
        against = (f"{Placed(ONE, SHARED)}/c{CLIENTS}/rate", [_rate(s) for s in one])
        yield row("two-replicas/gain", [_rate(s) for s in two], "req/s", against=against)


def rate_rows(highest: Mapping[Placed, Sequence[float]]) -> Iterator[Row]:
    """The highest rates of the open load, beside the bare server's of the same arrangement."""
    for cell, rates in highest.items():
        name, bare = f"{cell}/highest-rate", highest[Placed(BARE, cell.arrangement)]
        if all(rates) and all(bare):
            against = None if cell.who == BARE else (f"{Placed(BARE, cell.arrangement)}/highest-rate", bare)
            yield row(name, rates, "req/s", against=against)
        else:
            yield unmeasured(name, f"p99 was not below 10 ms at {STEPS[0]:,} req/s in some rounds", unit="req/s")


def _rate(sample: Sample) -> float:
    return sample.rate


def _p99(sample: Sample) -> float:
    return sample.p99_ms
