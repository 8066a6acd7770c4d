"""Whether a load test passed: totals in, findings out. Core: knows nothing of Locust, clocks or servers.

An objective over too few requests is not met: no traffic is no success."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of one kind of request. name: as the load generator reports it, e.g. `http infer`."""

    name: str
    requests: int
    failures: int
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Objective:
    """The limits for each kind of request."""

    p99_ms: float
    failure_ratio: float
    min_requests: int

    def __post_init__(self) -> None:
        if not (self.p99_ms > 0 and 0 <= self.failure_ratio <= 1 and self.min_requests >= 1):
            raise ValueError(f"{self}: p99_ms is over 0, failure_ratio in 0..1, min_requests at least 1")


@dataclass(frozen=True, slots=True)
class Finding:
    """One objective, met or not, and why."""

    is_met: bool
    text: str


def judge(objective: Objective, totals: Iterable[Totals], expected: Sequence[str]) -> tuple[Finding, ...]:
    """Judge every kind of request. An expected kind without a request is a finding too.

    >>> judge(Objective(p99_ms=50, failure_ratio=0.01, min_requests=100), [Totals("http infer", 1000, 20, 12.0)], ["http infer"])
    (Finding(is_met=False, text='http infer: 20 of 1000 failed, 2.00 %; at most 1.00 % may'),)
    """
    seen = {t.name: t for t in totals}
    missing = [Finding(False, f"{name}: not one request was sent") for name in expected if name not in seen]
    return (*missing, *(_finding(objective, t) for t in seen.values()))


def _finding(objective: Objective, t: Totals) -> Finding:
    if t.requests < objective.min_requests:
        return Finding(
            False, f"{t.name}: {t.requests} requests, too few to judge; at least {objective.min_requests} are needed"
        )
    ratio = t.failures / t.requests
    if ratio > objective.failure_ratio:
        allowed = f"at most {100 * objective.failure_ratio:.2f} % may"
        return Finding(False, f"{t.name}: {t.failures} of {t.requests} failed, {100 * ratio:.2f} %; {allowed}")
    if t.p99_ms > objective.p99_ms:
        return Finding(False, f"{t.name}: p99 {t.p99_ms:.1f} ms; at most {objective.p99_ms:.1f} ms is allowed")
    return Finding(True, f"{t.name}: {t.requests} requests, {t.failures} failed, p99 {t.p99_ms:.1f} ms")
