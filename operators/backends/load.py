"""How loaded a service is, from two looks at its counters. Keeps the last look of each service; no clock, no network.

Requests a second, their time and the mirrored share follow from the growth of the counters since the last look. Replicas that came or went
in between are left out.

Requests under way follow from the same counters by Little's law: requests answered a second, times the time that each took and waited. The
gauge alone would be too low: the loop that answers a scrape has just finished its work, and it does not see what waits in its sockets. The
gauge counts if it is higher (requests that wait for features)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from operators.backends.evidence import ReplicaLoad, Scrape
from operators.ports import Load


class LoadMeter:
    """The looks before, by service."""

    def __init__(self) -> None:
        self._before: dict[object, Scrape] = {}

    def measure(self, service: object, scrape: Scrape, *, ready_replicas: int, wanted_replicas: int) -> Load:
        """The load since the look before. service: any hashable name of it. The first look knows no rate, and says so."""
        before = self._before.get(service)
        if not scrape.traffic:
            problem = scrape.problem or "no replica answered"
            return Load(scrape.at, ready_replicas=ready_replicas, wanted_replicas=wanted_replicas, problem=problem)
        if before is None or scrape.at > before.at:
            self._before[service] = replace(scrape, replicas=())  # the counters of load are enough, and small
        return _between(before, scrape, ready_replicas, wanted_replicas)

    def forget(self, service: object) -> None:
        """Drop a service that is gone."""
        self._before.pop(service, None)


def quantile_s(buckets_s: Mapping[float, float], q: float) -> float | None:
    """The q-quantile of a cumulative histogram, in seconds, linear within its bucket; None if it is empty.

    Values above the largest finite bound count as that bound.

    >>> quantile_s({0.1: 50, 0.2: 100, float("inf"): 100}, 0.75)
    0.15000000000000002
    """
    bounds = sorted(buckets_s)
    if not bounds or buckets_s[bounds[-1]] <= 0:
        return None
    rank, low, below = q * buckets_s[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        count = buckets_s[bound]
        if count >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(count - below, 1e-12)
        low, below = bound, count
    return low


def _between(before: Scrape | None, scrape: Scrape, ready: int, wanted: int) -> Load:
    ongoing = sum(t.ongoing for t in scrape.traffic.values())
    seconds = (scrape.at - before.at).total_seconds() if before is not None else 0.0
    if before is None or seconds <= 0:
        problem = scrape.problem or "the rate is the growth of the counters between two looks; this is the first look"
        return Load(scrape.at, ongoing=ongoing, ready_replicas=ready, wanted_replicas=wanted, problem=problem)
    answered = mirrored = busy = waiting = 0.0
    buckets: defaultdict[float, float] = defaultdict(float)
    for replica, now in scrape.traffic.items():
        then = before.traffic.get(replica, ReplicaLoad())
        answered += max(0.0, now.answered - then.answered)
        mirrored += max(0.0, now.mirrored - then.mirrored)
        if replica in before.traffic:
            busy += max(0.0, now.taken_s - then.taken_s) / seconds
            waiting += _waiting(then, now, seconds)
        for bound, count in now.buckets_s.items():
            buckets[bound] += max(0.0, count - then.buckets_s.get(bound, 0.0))
    p99_s = quantile_s(buckets, 0.99)
    return Load(
        scrape.at,
        ongoing=max(ongoing, busy + waiting),
        queued=waiting,
        rate_per_s=answered / seconds,
        p99_ms=None if p99_s is None else p99_s * 1000,
        ready_replicas=ready,
        wanted_replicas=wanted,
        mirror_ratio=mirrored / answered if answered > 0 else 0.0,
        problem=scrape.problem,
    )


def _waiting(then: ReplicaLoad, now: ReplicaLoad, seconds: float) -> float:
    """Requests that waited in one replica's sockets, on average: its rate times how late its loop was."""
    looks = now.looks - then.looks
    if looks <= 0:
        return 0.0
    return max(0.0, now.answered - then.answered) / seconds * max(0.0, now.late_s - then.late_s) / looks
