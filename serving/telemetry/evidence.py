"""The evidence a rollout is judged by: what one variant's revision did with what the split and the mirror gave it.

Core: plain counters that only grow, a few additions a request. All of it happens on the listeners' loop, so nothing is locked.
Requests that asked for a variant or version by name are not counted here; nor are a client's own mistakes. What the numbers
mean is the control plane's; their names are serving.telemetry.names'."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import isnan
from typing import Final, Literal

import numpy as np

Route = Literal["live", "mirror"]
ROUTES: Final[tuple[Route, ...]] = ("live", "mirror")
REMEMBERED: Final = 65_536
"""Entities a variant remembers. Beyond it every second one is left out, by its hash: no entity is counted twice."""


class RouteCounts:
    """Counters of one route."""

    __slots__ = ("alerts", "degraded", "errors", "requests", "rows", "slow")

    def __init__(self) -> None:
        self.requests = self.rows = self.errors = self.slow = self.degraded = self.alerts = 0

    def answered(self, rows: int, *, is_slow: bool, degraded: int, alerts: int) -> None:
        """One request that was answered."""
        self.requests += 1
        self.rows += rows
        self.slow += is_slow
        self.degraded += degraded
        self.alerts += alerts

    def failed(self) -> None:
        """One request that failed by the server's fault."""
        self.requests += 1
        self.errors += 1

    def bad(self) -> dict[str, int]:
        """By gate."""
        return {"errors": self.errors, "latency": self.slow, "degraded": self.degraded, "alertRate": self.alerts}


class Thinning:
    """Which entities of a model are counted, by their hash: of all variants the same ones, or the split would seem to be broken."""

    __slots__ = ("mask",)

    def __init__(self) -> None:
        self.mask = 0


class Entities:
    """Distinct entities since the split last changed, and how each one's first live request went."""

    __slots__ = ("_seen", "_thinning", "alerts", "count", "degraded", "errors", "slow")

    def __init__(self, thinning: Thinning) -> None:
        self._seen: set[int] = set()
        self._thinning = thinning
        self.count = self.errors = self.slow = self.degraded = self.alerts = 0

    def met(self, identity: int, *, is_error: bool, is_slow: bool, is_degraded: bool, is_alert: bool) -> None:
        """One row of this entity; only its first counts. identity: 64 bit, uniform."""
        thinning = self._thinning
        if identity in self._seen or identity & thinning.mask:
            return
        self._seen.add(identity)
        if len(self._seen) > REMEMBERED:
            self._seen = {i for i in self._seen if not i & thinning.mask}  # another variant may have thinned since
            if len(self._seen) > REMEMBERED:
                thinning.mask = (thinning.mask << 1) | 1
                self._seen = {i for i in self._seen if not i & thinning.mask}
        self.count += 1
        self.errors += is_error
        self.slow += is_slow
        self.degraded += is_degraded
        self.alerts += is_alert

    def new(self, identities: Sequence[int]) -> list[int]:
        """The places of those that `met` would count: a glance for each of many rows, of entities that come again."""
        seen, mask = self._seen, self._thinning.mask
        return [at for at, identity in enumerate(identities) if identity not in seen and not identity & mask]

    def bad(self) -> dict[str, int]:
        """By gate."""
        return {"errors": self.errors, "latency": self.slow, "degraded": self.degraded, "alertRate": self.alerts}

    def forget(self) -> None:
        """Give the memory back; the counts stay."""
        self._seen = set()


class VariantEvidence:
    """Everything counted of one (model, variant, revision)."""

    __slots__ = ("entities", "labels", "live", "mirror", "pairs", "scores")

    def __init__(self, model: str, variant: str, revision: str, thinning: Thinning | None = None) -> None:
        self.labels = (model, variant, revision)
        self.live, self.mirror = RouteCounts(), RouteCounts()
        self.entities = Entities(thinning or Thinning())
        self.pairs: dict[tuple[str, str, str], int] = {}
        """Mirrored rows by (revision of stable, stable's verdict, own verdict)."""
        self.scores: dict[str, int] = {}
        """Mirrored rows by bin of the score."""

    def route(self, route: Route) -> RouteCounts:
        """The counters of one route."""
        return self.live if route == "live" else self.mirror

    def paired(self, against: str, verdicts: Iterable[tuple[str, str]]) -> None:
        """Mirrored rows that both variants scored: (reference verdict, own verdict) each."""
        for reference, own in verdicts:
            key = (against, reference, own)
            self.pairs[key] = self.pairs.get(key, 0) + 1

    def scored(self, scores: Iterable[float]) -> None:
        """Scores of mirrored rows; one that is not a number has no bin, as it can never alert."""
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
