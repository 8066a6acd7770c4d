"""HTTP with features from a real Redis: a Vedette replica that reads 20 of them a request, next to a bare server that is sent them.

`bare` is sent the 20 numbers and answers the score; `vedette` is sent the host, reads its features in 3 views, and answers the whole
decision (audit and cache off); `vedette-shipped` does so with every setting as it ships. `raw` is the same HMGETs pipelined on one
connection with nothing made of the replies: what the store itself costs. p50 is held against the bare server's plus 1.5 times the raw
read of the same round. The open loop offers 70 % of the peak that the same round measured, as a Poisson stream over 32 connections;
its latencies count from when a request was due, so that coordinated omission is in them.

`features-read` is the read within the request, from the replica's own histogram, at 32 clients: on a store at rest (`rest`),
while the registry changes every second and the replica takes each change (`registry`), while Feast materialises 5,000 rows a
second (`rows`), and both."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import BARE, FIGURES, say
from loadtests.bench.errors import BenchError
from loadtests.bench.load.http_load import load_http
from loadtests.bench.load.open_load import OpenSample, load_open
from loadtests.bench.load.replica_counts import with_features
from loadtests.bench.load.results import Sample
from loadtests.bench.process import Running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import Target
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import SHIPPED
from loadtests.bench.workload import INFER_PATH
from loadtests.bench.worlds.feature_reads import STATES, ReadHistogram, read_rows, read_while
from loadtests.bench.worlds.featured import Featured, featured
from loadtests.bench.worlds.raw_read import commands_for, read_raw

RAW: Final = "raw-read"
CLIENTS: Final = (1, 32)
LOAD: Final = 0.7
READS: Final = 1.5
"""How many raw reads a request with features may cost more than a bare request."""

Closed = Mapping[tuple[str, int], Sequence[Sample]]
"""By who and clients."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if a server fails."""
    duration_s = 1.0 if quick else 2.0
    closed: defaultdict[tuple[str, int], list[Sample]] = defaultdict(list)
    offered: defaultdict[str, list[OpenSample]] = defaultdict(list)
    reads: defaultdict[str, list[ReadHistogram]] = defaultdict(list)
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        say("features_http: writing 2,000 hosts through Feast")
        with featured(Path(folder), has_shipped=True, feature_refresh_s="0.5") as up:
            commands = commands_for(up.url)
            servers = [server for server in (up.bare, up.vedette, up.shipped) if server is not None]
            for server in servers:
                _closed(up, server, max(CLIENTS), 1.0)  # warm
            for index in range(rounds):
                for clients in CLIENTS:
                    closed[RAW, clients].append(read_raw(up.url, commands, readers=clients, duration_s=duration_s / 2))
                    for server in servers if index % 2 else reversed(servers):
                        closed[server.name, clients].append(_closed(up, server, clients, duration_s))
                progress = ", ".join(
                    f"{who} {samples[-1].rate:,.0f}/s" for (who, clients), samples in closed.items() if clients > 1
                )
                say(f"features_http round {index + 1}/{rounds}: {progress}")
                for server in (up.bare, up.vedette):
                    rate = LOAD * closed[server.name, max(CLIENTS)][-1].rate
                    try:
                        offered[server.name].append(_open(up, server, rate, duration_s * 2))
                    except BenchError as problem:
                        problems[server.name] = str(problem)
                for state in STATES:
                    try:
                        reads[state].append(read_while(up, state, clients=max(CLIENTS), duration_s=duration_s * 2))
                    except BenchError as problem:
                        problems[state] = str(problem)
    return [*closed_rows(closed), *open_rows(offered, problems), *read_rows(reads, problems)]


def _closed(up: Featured, server: Running, clients: int, duration_s: float) -> Sample:
    with nullcontext() if server is up.bare else with_features(server):
        return load_http(server.http_port, INFER_PATH, up.bodies_of(server), clients=clients, duration_s=duration_s)


def _open(up: Featured, server: Running, rate: float, duration_s: float) -> OpenSample:
    with nullcontext() if server is up.bare else with_features(server):
        found = load_open(
            server.http_port, INFER_PATH, up.bodies_of(server), rate=rate, clients=max(CLIENTS), duration_s=duration_s
        )
    say(
        f"features_http open loop, {server.name} at {rate:,.0f} req/s: p99 {found.p99_ms:.2f} ms; the generator sent "
        f"{found.late_p99_ms:.2f} ms late at p99 and took {found.busy_ratio:.0%} of a core"
    )
    return found


def closed_rows(closed: Closed) -> Iterator[Row]:
    """Every figure beside the bare server's, and our p50 beside the time that a read may add to it."""
    for (who, clients), samples in closed.items():
        for figure, unit, attribute in FIGURES:
            values = [getattr(s, attribute) for s in samples]
            against = None
            if who in {OURS, SHIPPED}:
                others = [getattr(s, attribute) for s in closed[BARE, clients]]
                against = (f"features-http/{BARE}/c{clients}/{figure}", others)
            target = targets.ratio(">=", 0.5) if (who, clients, figure) == (OURS, max(CLIENTS), "rate") else None
            yield row(f"features-http/{who}/c{clients}/{figure}", values, unit, against=against, target=target)
    for (who, clients), samples in closed.items():
        if who == OURS:
            bound = allowed(closed[BARE, clients], closed[RAW, clients])
            against = (f"bare/c{clients}/p50 + {READS:g} x raw-read/c{clients}/p50", bound)
            name, target = f"features-http-allowed/{OURS}/c{clients}/p50", targets.ratio("<=", 1.0)
            yield row(name, [s.p50_ms for s in samples], "ms", against=against, target=target)


def allowed(bare: Sequence[Sample], raw: Sequence[Sample]) -> list[float]:
    """The p50 that a request with features may have, round by round, in milliseconds."""
    return [b.p50_ms + READS * r.p50_ms for b, r in zip(bare, raw, strict=True)]


def open_rows(offered: Mapping[str, Sequence[OpenSample]], problems: Mapping[str, str]) -> Iterator[Row]:
    """The figures of the open loop. The target is for Vedette."""
    figures = (("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("generator-late-p99", "late_p99_ms"))
    for who in (BARE, OURS):
        target: Target | None = targets.value("<", 10) if who == OURS else None
        samples = offered.get(who, ())
        if not samples or who in problems:
            yield unmeasured(f"features-http-open-70/{who}/c32/p99", problems.get(who, "not asked"), unit="ms", target=target)
            continue
        yield row(f"features-http-open-70/{who}/c32/offered", [s.rate for s in samples], "req/s")
        for figure, attribute in figures:
            values = [getattr(s, attribute) for s in samples]
            yield row(f"features-http-open-70/{who}/c32/{figure}", values, "ms", target=target if figure == "p99" else None)
