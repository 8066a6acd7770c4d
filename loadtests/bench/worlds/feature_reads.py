"""The feature read within a request, from the replica's own histogram, while its store rests or changes. A part of features_http."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import say
from loadtests.bench.errors import BenchError
from loadtests.bench.load.http_load import load_counted
from loadtests.bench.process import HOST, Running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.workload import INFER_PATH
from loadtests.bench.worlds.feature_changes import ChangeKind, changing
from loadtests.bench.worlds.featured import Featured

STATES: Final[Mapping[str, tuple[ChangeKind, ...]]] = {
    "rest": (),
    "registry": ("registry",),
    "rows": ("rows",),
    "both": ("registry", "rows"),
}
UNITS: Final[Mapping[ChangeKind, str]] = {"registry": "changes/s", "rows": "rows/s"}
ENOUGH: Final[Mapping[ChangeKind, float]] = {"registry": 0.8, "rows": 4_500}
"""The rate that changes must reach. A process without CPU time changes nothing, and the state would not be what its name says."""

Buckets = Mapping[float, float]
"""Upper bound in seconds -> values at or below it."""


@dataclass(frozen=True, slots=True)
class ReadHistogram:
    """One stretch of time. changed: kind -> changes per second. p50_ms, p99_ms: of the read. request_p99_ms: of the whole request.
    failed: requests that were not answered 200."""

    p50_ms: float
    p99_ms: float
    request_p99_ms: float
    changed: Mapping[ChangeKind, float]
    failed: int = 0


def read_while(up: Featured, state: str, *, clients: int, duration_s: float) -> ReadHistogram:
    """Measure one stretch. Raises BenchError."""
    with ExitStack() as stack:
        at_work = {kind: stack.enter_context(changing(up.feast, up.url, kind, duration_s + 0.5)) for kind in STATES[state]}
        before = histogram(up.vedette)
        load = load_counted(up.vedette.http_port, INFER_PATH, up.bodies, clients=clients, duration_s=duration_s)
        after = histogram(up.vedette)
        changed = {kind: changes.rate() for kind, changes in at_work.items()}
    counted = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
    found = ReadHistogram(
        quantile(counted, 0.5) * 1000, quantile(counted, 0.99) * 1000, load.sample.p99_ms, changed, load.failed
    )
    changes_text = "".join(f", {rate:,.1f} {UNITS[kind]}" for kind, rate in changed.items())
    say(
        f"features_http, store {state}: read p99 {found.p99_ms:.2f} ms at {load.sample.rate:,.0f} req/s, {load.failed} failed{changes_text}"
    )
    return found


def histogram(server: Running) -> Buckets:
    """The `features` stage of all requests that were answered so far."""
    with urlopen(f"http://{HOST}:{server.http_port}/metrics", timeout=10) as page:  # nosec B310  # our own server
        families = text_string_to_metric_families(page.read().decode())
    found: dict[float, float] = {}
    for family in families:
        for s in family.samples:
            if s.name == "vedette_request_seconds_bucket" and s.labels["stage"] == "features":
                bound = float(s.labels["le"])
                found[bound] = found.get(bound, 0.0) + s.value
    return found


def quantile(buckets: Buckets, share: float) -> float:
    """The quantile in seconds, as Prometheus takes it: linear within a bucket, the last finite bound beyond it.

    >>> quantile({0.001: 50.0, 0.01: 100.0, float("inf"): 100.0}, 0.75)
    0.0055
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total:
        raise BenchError("no request read features: the histogram did not move")
    count_below = share * total
    for low, high in pairwise([0.0, *bounds]):
        below = buckets.get(low, 0.0)
        if buckets[high] >= count_below and buckets[high] > below:
            return low if high == float("inf") else low + (high - low) * (count_below - below) / (buckets[high] - below)
    raise AssertionError("not reached")


def read_rows(reads: Mapping[str, Sequence[ReadHistogram]], problems: Mapping[str, str]) -> Iterator[Row]:
    """The read's p99 in each state, and the requests that failed: clients that wait for their answers are never refused."""
    for state, kinds in STATES.items():
        target = targets.value("<", 10)
        samples = reads.get(state, ())
        if state in problems or not samples:
            yield unmeasured(f"features-read/{state}/c32/p99", problems.get(state, "not asked"), unit="ms", target=target)
            continue
        yield row(f"features-read/{state}/c32/p50", [r.p50_ms for r in samples], "ms")
        yield row(f"features-read/{state}/c32/p99", [r.p99_ms for r in samples], "ms", target=target)
        yield row(f"features-read/{state}/c32/request-p99", [r.request_p99_ms for r in samples], "ms")
        failed = sum(r.failed for r in samples)  # in all rounds together: a median would forgive
        yield row(f"features-read/{state}/c32/failed", [failed], "requests", target=targets.value("<=", 0))
        for kind in kinds:
            enough = targets.value(">=", ENOUGH[kind])
            yield row(f"features-read/{state}/changed/{kind}", [r.changed[kind] for r in samples], UNITS[kind], target=enough)
