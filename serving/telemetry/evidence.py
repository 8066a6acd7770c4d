"""The evidence for judging a rollout: counts of the requests that the split and the mirror sent to one revision of a variant.

Core: counters that only grow, a few additions a request, on the listeners' loop only. Requests that name a variant or version are not
counted, and neither are client errors. Metric names are in serving.telemetry.names; the control plane judges the numbers."""

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from math import isnan
from typing import Final, Literal

import numpy as np

from serving.telemetry.segments import SegmentCounts

Route = Literal["live", "mirror"]
ROUTES: Final[tuple[Route, ...]] = ("live", "mirror")
REMEMBERED: Final = 65_536
"""Most entities in a variant's memory. Beyond it half of all entities, chosen by hash, are no longer counted; none is counted twice."""

OTHER: Final = "_other"
"""Stands for the revisions of stable that are long gone."""


class RouteCounts:
    """Counters of one route."""

    __slots__ = ("alerts", "degraded", "errors", "requests", "rows", "slow")

    def __init__(self) -> None:
        self.requests = self.rows = self.errors = self.slow = self.degraded = self.alerts = 0

    def answered(self, rows: int, *, is_slow: bool, degraded: int, alerts: int) -> None:
        """Count one request that was answered."""
        self.requests += 1
        self.rows += rows
        self.slow += is_slow
        self.degraded += degraded
        self.alerts += alerts

    def failed(self) -> None:
        """Count one request that failed by the server's fault."""
        self.requests += 1
        self.errors += 1

    def bad(self) -> dict[str, int]:
        """Counts of bad requests, rows or entities, by gate."""
        return {"errors": self.errors, "latency": self.slow, "degraded": self.degraded, "alertRate": self.alerts}


class EntitySampling:
    """Which entities of a model are counted, by hash. All variants count the same ones; otherwise the split would look broken."""

    __slots__ = ("mask",)

    def __init__(self) -> None:
        self.mask = 0


class EntityCounts:
    """Distinct entities since the split last changed, and the outcome of the first live request of each."""

    __slots__ = ("_sampling", "_seen", "alerts", "count", "degraded", "errors", "slow")

    def __init__(self, sampling: EntitySampling) -> None:
        self._seen: set[int] = set()
        self._sampling = sampling
        self.count = self.errors = self.slow = self.degraded = self.alerts = 0

    def count_first(self, identity: int, *, is_error: bool, is_slow: bool, is_degraded: bool, is_alert: bool) -> bool:
        """Count a row of an entity if it is the entity's first; whether it was. identity: its hash, 64 bit, uniform."""
        sampling = self._sampling
        if identity in self._seen or identity & sampling.mask:
            return False
        self._seen.add(identity)
        if len(self._seen) > REMEMBERED:
            self._seen = {i for i in self._seen if not i & sampling.mask}  # another variant may have changed the mask since
            if len(self._seen) > REMEMBERED:
                sampling.mask = (sampling.mask << 1) | 1
                self._seen = {i for i in self._seen if not i & sampling.mask}
        self.count += 1
        self.errors += is_error
        self.slow += is_slow
        self.degraded += is_degraded
        self.alerts += is_alert
        return True

    def new(self, identities: Sequence[int]) -> list[int]:
        """The places of those that `count_first` would count: a quick test of many rows whose entities were seen before."""
        seen, mask = self._seen, self._sampling.mask
        return [at for at, identity in enumerate(identities) if identity not in seen and not identity & mask]

    def bad(self) -> dict[str, int]:
        """Counts of bad requests, rows or entities, by gate."""
        return {"errors": self.errors, "latency": self.slow, "degraded": self.degraded, "alertRate": self.alerts}

    def forget(self) -> None:
        """Release the memory; the counts stay."""
        self._seen = set()


class VariantEvidence:
    """Everything counted of one (model, variant, revision)."""

    __slots__ = ("entities", "labels", "live", "mirror", "pairs", "scores", "segments")

    def __init__(
        self,
        model: str,
        variant: str,
        revision: str,
        sampling: EntitySampling | None = None,
        segments: SegmentCounts | None = None,
    ) -> None:
        self.labels = (model, variant, revision)
        self.live, self.mirror = RouteCounts(), RouteCounts()
        self.entities = EntityCounts(sampling or EntitySampling())
        self.pairs: dict[tuple[str, str, str], int] = {}
        """Mirrored rows by (revision of stable, stable's verdict, own verdict). The revision is OTHER for those long gone."""
        self.scores: dict[str, int] = {}
        """Mirrored rows by bin of the score."""
        self.segments = segments
        """Rows by segment; None: there is no mapping."""

    def route(self, route: Route) -> RouteCounts:
        """The counters of one route."""
        return self.live if route == "live" else self.mirror

    def paired(self, against: str, verdicts: Iterable[tuple[str, str]]) -> None:
        """Mirrored rows that both variants scored: (reference verdict, own verdict) each."""
        for reference, own in verdicts:
            key = (against, reference, own)
            self.pairs[key] = self.pairs.get(key, 0) + 1

    def keep_pairs(self, known: Container[str]) -> None:
        """Count the pairs with every other revision of stable together. Their sum stays: a rollout is judged by it."""
        if all(key[0] in known or key[0] == OTHER for key in self.pairs):
            return
        pairs: dict[tuple[str, str, str], int] = {}
        for (against, reference, own), count in self.pairs.items():
            key = (against if against in known else OTHER, reference, own)
            pairs[key] = pairs.get(key, 0) + count
        self.pairs = pairs

    def scored(self, scores: Iterable[float]) -> None:
        """Count the scores of mirrored rows. NaN has no bin: it can never alert."""
        for score in scores:
            if not isnan(score):
                name = score_bin(score)
                self.scores[name] = self.scores.get(name, 0) + 1


def _edges() -> tuple[float, ...]:
    """Rising edges: 201 logit-spaced within 0..1 where probabilities live, and coarser ones outside for raw margins.

    Rounded to FP32, as scores and thresholds are compared, so that a threshold on an edge splits the bins exactly."""
    inner = 1.0 / (1.0 + np.exp(-np.linspace(-10.0, 10.0, 201)))
    outer = np.geomspace(1.0, 1e4, 41)
    below = np.concatenate([-outer[::-1], -np.geomspace(1e-4, 1.0, 21)[:-1][::-1], [0.0]])
    return tuple(float(e) for e in np.unique(np.concatenate([below, inner, outer]).astype(np.float32)))


EDGES: Final = _edges()
_NAMES: Final = (*(repr(e) for e in EDGES), "+Inf")


def score_bin(score: float) -> str:
    """Text of the upper edge of a score's bin; a bin holds what is below its edge and at or over the one before."""
    return _NAMES[bisect_right(EDGES, score)]
