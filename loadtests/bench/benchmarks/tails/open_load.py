"""The tail under an open load: Vedette with features from Redis, next to a bare server that is sent them.

Requests are due by a Poisson process, whatever the servers do, over 32 connections; the generator is a process of its own and sends to
the microsecond. Latencies count from when a request was due. `bare` is sent the 20 numbers and answers the score. `vedette-zipf` and
`vedette-uniform` are sent the host, read its features and answer the whole decision (audit off). Hosts are drawn of 2,000: by a Zipf law
of exponent 1.1, where the most frequent has 17 % and the ten most frequent 45 % (the source addresses of a real capture, CTU-13's 11th
scenario: 14 % and 50 %), or all alike. `highest-rate` is the highest rate of the steps (each an eighth above the one before) at which p99
stayed below 10 ms and at most 1 % of the answers lacked features (`without-features`): a replica that gives reads up is quick. A step that
fails narrowly is tried once more. `p99-1000` and `p50-1000` are at 1,000 a second.
`p50-added` is what Vedette's p50 has more than the bare server's of the same round. `vedette-near` is a second server that keeps 32 MiB of
rows (all 2,000 hosts fit); each `highest-rate` is searched with the other servers idle.

Server, generator and Redis share the machine's cores. On two cores Vedette has Redis beside it and the bare server has not: a share
of what separates the two is Redis's own work, which a machine with a core for each would not show. Other work on the machine makes all
rates lower and the tails longer, and not alike: read the ratios, and the load at the start."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import BARE, say
from loadtests.bench.benchmarks.features import HOSTS
from loadtests.bench.benchmarks.tails.entities import DRAWS
from loadtests.bench.errors import BenchError
from loadtests.bench.load.exact_load import load_exactly
from loadtests.bench.load.open_load import OpenSample
from loadtests.bench.load.replica_counts import MOST_WITHOUT_FEATURES, counts_of
from loadtests.bench.process import Running, running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import Target
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import serving
from loadtests.bench.workload import INFER_PATH
from loadtests.bench.worlds.featured import Featured, body, featured

IS_LONG: Final = True
CLIENTS: Final = 32
MOST_P99_MS: Final = 10.0
HOPELESS: Final = 3.0
"""A p99 of this many times the bound is no accident."""
SPARSE_RATE: Final = 1000.0
STEPS: Final = tuple(round(500.0 * 1.125**step) for step in range(28))
"""Requests a second: 500 to 12,000."""
FIRST_STEP: Final = 10
NEAR: Final = f"{OURS}-near"
KEPT_BYTES: Final = 32 * 1024 * 1024
RATE_TARGETS: Final[Mapping[str, Target]] = {
    f"{OURS}-zipf": targets.ratio(">=", 0.6),
    f"{OURS}-uniform": targets.ratio(">=", 0.45),
    f"{NEAR}-zipf": targets.ratio(">=", 0.6),
    f"{NEAR}-uniform": targets.ratio(">=", 0.45),
}

RateAsker = Callable[[float], OpenSample]
"""Sends an open load of so many requests a second."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if a server fails."""
    duration_s = 0.5 if quick else 2.0
    highest: defaultdict[str, list[float]] = defaultdict(list)
    sparse: defaultdict[str, list[OpenSample]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder,
        featured(Path(folder)) as up,
        running(serving(Path(folder), NEAR, redis_url=up.url, feature_near_cache_bytes=str(KEPT_BYTES))) as near,
    ):
        asks = asks_of(up, Path(folder), duration_s, near)
        step = dict.fromkeys(asks, FIRST_STEP)
        for ask in asks.values():
            ask(SPARSE_RATE / 2)  # warm
        for index in range(rounds):
            for who, ask in asks.items() if index % 2 else reversed(list(asks.items())):
                sparse[who].append(ask(SPARSE_RATE))
                step[who] = highest_step(lambda at, ask=ask: is_held(ask, STEPS[at]), step[who], len(STEPS) - 1)  # type: ignore[misc]
                highest[who].append(float(STEPS[step[who]]) if step[who] >= 0 else 0.0)
            told = ", ".join(f"{w} {highest[w][-1]:,.0f}/s, p99 {sparse[w][-1].p99_ms:.1f} ms" for w in asks)
            say(f"open_load round {index + 1}/{rounds}: {told}")
    return [*rate_rows(highest), *sparse_rows(sparse)]


def asks_of(up: Featured, folder: Path, duration_s: float, *more: Running) -> dict[str, RateAsker]:
    """How each alternative is asked. more: further servers that read features."""

    def asking(server: Running, bodies: Path) -> RateAsker:
        return lambda rate: load_exactly(
            server.http_port, INFER_PATH, bodies, rate=rate, clients=CLIENTS, duration_s=duration_s
        )

    def counting(server: Running, bodies: Path) -> RateAsker:
        ask = asking(server, bodies)

        def counted(rate: float) -> OpenSample:
            before = counts_of(server)
            found = ask(rate)
            return replace(found, without_features=counts_of(server).since(before).without_features)

        return counted

    found = {BARE: asking(up.bare, up.bodies_of(up.bare))}
    for name, draw in DRAWS.items():
        bodies = folder / f"{name}.jsonl"
        bodies.write_bytes(b"\n".join(body(host) for host in draw(HOSTS)) + b"\n")
        for server in (up.vedette, *more):
            found[f"{server.name}-{name}"] = counting(server, bodies)
    return found


def is_held(ask: RateAsker, rate: float) -> bool:
    """Whether p99 stays below the bound at this rate, once of two attempts. A load that is not answered, or without features, or far beyond
    the bound, is not tried again."""
    for _ in range(2):
        try:
            found = ask(rate)
        except BenchError as problem:
            say(f"open_load at {rate:,.0f} req/s: {problem}")
            return False
        if found.without_features > MOST_WITHOUT_FEATURES:  # quick, because the read was given up
            say(f"open_load at {rate:,.0f} req/s: {found.without_features:.1%} of the answers lack features")
            return False
        if found.p99_ms < MOST_P99_MS or found.p99_ms > HOPELESS * MOST_P99_MS:
            return found.p99_ms < MOST_P99_MS
    return False


def highest_step(holds: Callable[[int], bool], first: int, last: int) -> int:
    """The highest step that holds, searched step by step from `first`; -1 if none does. Asks few steps if `first` is near.

    >>> highest_step(lambda step: step <= 4, 2, 9), highest_step(lambda step: step <= 4, 7, 9), highest_step(lambda step: False, 1, 9)
    (4, 4, -1)
    """
    at = max(first, 0)
    if holds(at):
        while at < last and holds(at + 1):
            at += 1
        return at
    while at > 0:
        at -= 1
        if holds(at):
            return at
    return -1


def rate_rows(highest: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """The highest rates; ours beside the bare server's."""
    for who, rates in highest.items():
        name, target = f"open-load/{who}/highest-rate", RATE_TARGETS.get(who)
        if not all(rates):
            why = f"p99 was not below {MOST_P99_MS:g} ms at {STEPS[0]:,} req/s in {rates.count(0.0)} of {len(rates)} rounds"
            yield unmeasured(name, why, unit="req/s", target=target)
            continue
        against = None if who == BARE else (f"open-load/{BARE}/highest-rate", highest[BARE])
        yield row(name, rates, "req/s", against=against, target=target)


def sparse_rows(sparse: Mapping[str, Sequence[OpenSample]]) -> Iterator[Row]:
    """The figures at the sparse rate."""
    for who, samples in sparse.items():
        is_ours = who != BARE
        target = targets.value("<", 5.0) if is_ours else None
        yield row(f"open-load/{who}/p50-1000", [s.p50_ms for s in samples], "ms")
        yield row(f"open-load/{who}/p99-1000", [s.p99_ms for s in samples], "ms", target=target)
        yield row(f"open-load/{who}/generator-late-p99-1000", [s.late_p99_ms for s in samples], "ms")
        if is_ours:
            added = [ours.p50_ms - bare.p50_ms for ours, bare in zip(samples, sparse[BARE], strict=True)]
            yield row(f"open-load/{who}/p50-added-1000", added, "ms", target=targets.value("<=", 0.15))
            lacking = [100 * s.without_features for s in samples]
            most = targets.value("<=", 100 * MOST_WITHOUT_FEATURES)
            yield row(f"open-load/{who}/without-features-1000", lacking, "%", target=most)
