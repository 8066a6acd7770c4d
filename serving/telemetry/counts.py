"""Counts of requests: a few additions in one call, about a microsecond a request.

Only the listeners' loop counts, so nothing is locked. A scrape may read in a thread meanwhile, see ServingMetrics.render. Core: plain
numbers. Metric names are in serving.telemetry.names, the Prometheus side in serving.telemetry.metrics."""

import time
from bisect import bisect_left
from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple

AnswerOutcome = Literal["ok", "client_error", "refused", "failed"]
OUTCOMES: Final[tuple[AnswerOutcome, ...]] = ("ok", "client_error", "refused", "failed")
STAGES: Final = ("total", "features", "model")
VERDICTS: Final = ("benign", "investigate", "alert", "unknown")
"""The last is counted from the first row of it on: few models have it."""

LATENCY_BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
AGE_BUCKETS_S: Final = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 86400.0)


GONE: Final = 16
"""How many revisions and versions of a model keep their series after they are no longer loaded, the last ones. A series must outlive
the scrape after its last count, and a revision that is loaded again must continue its counts; but series must not grow without bound.
Of models that are no longer loaded at all, as many keep theirs."""


ExemplarTrace = tuple[str, float, float]
"""A trace's id, its value that was counted, and when, in seconds since the epoch."""


class Histogram:
    """Bucket counts and sum; the last bucket is +Inf. exemplars: by bucket, the newest traced value in it."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exemplars: dict[int, ExemplarTrace] = {}
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> "Histogram":
        """A copy that no longer changes."""
        twin = Histogram(self.bounds)
        twin.counts = list(self.counts)
        twin.total = self.total
        twin.exemplars = self.exemplars.copy()
        return twin

    def cumulative(self) -> list[tuple[str, float]]:
        """Pairs (upper bound, values at or below it), as Prometheus wants them."""
        running, out = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            out.append((bound, float(running)))
        return out


class KnownModels:
    """The models whose counts are told: those that are loaded, and the last GONE that were."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def keep(self, loaded: Collection[str]) -> Collection[str]:
        """Their names, now that these are loaded."""
        gone = [name for name in self._names if name not in loaded]
        self._names = dict.fromkeys([*gone[-GONE:], *loaded])
        return self._names.keys()


class ModelMetrics:
    """Counts of one (model, version, variant, door). For one thread, see the module."""

    __slots__ = ("_ages", "_degraded", "_features", "_model", "_outcomes", "_rows", "_total", "_verdicts", "door", "labels")

    def __init__(self, model: str, version: str, variant: str, door: str) -> None:
        self.labels = (model, version, variant)
        self.door = door
        self._outcomes: dict[AnswerOutcome, int] = dict.fromkeys(OUTCOMES, 0)
        self._total, self._features, self._model = (Histogram(LATENCY_BUCKETS_S) for _ in STAGES)
        self._ages = Histogram(AGE_BUCKETS_S)
        self._verdicts: dict[str, list[int]] = {}
        self._rows = 0
        self._degraded = 0

    def answered(
        self,
        latency_s: float,
        rows: int,
        operating_point: str | None = None,
        verdicts: tuple[int, ...] | None = None,
        degraded_rows: int = 0,
        feature_s: float | None = None,
        model_s: float | None = None,
        feature_age_ms: float | None = None,
        trace_id: str | None = None,
    ) -> None:
        """Count one answer. verdicts: rows that were benign, investigate, alert, and unknown if there
        are some, at `operating_point`. trace_id: of a traced answer, whose times become exemplars."""
        self._outcomes["ok"] += 1
        self._rows += rows
        self._degraded += degraded_rows
        histogram = self._total  # Histogram.add, written out: every request counts three times here
        histogram.counts[bisect_left(LATENCY_BUCKETS_S, latency_s)] += 1
        histogram.total += latency_s
        if feature_s is not None:
            histogram = self._features
            histogram.counts[bisect_left(LATENCY_BUCKETS_S, feature_s)] += 1
            histogram.total += feature_s
        if model_s is not None:
            histogram = self._model
            histogram.counts[bisect_left(LATENCY_BUCKETS_S, model_s)] += 1
            histogram.total += model_s
        if feature_age_ms is not None:
            self._ages.add(feature_age_ms / 1000)
        if trace_id is not None:
            self._mark(trace_id, latency_s, feature_s, model_s)
        if verdicts is not None and operating_point is not None:
            counts = self._verdicts.get(operating_point)
            if counts is None:
                counts = self._verdicts[operating_point] = [0, 0, 0]
            counts[0] += verdicts[0]
            counts[1] += verdicts[1]
            counts[2] += verdicts[2]
            if len(verdicts) > 3:
                counts += [0] * (4 - len(counts))
                counts[3] += verdicts[3]

    def _mark(self, trace_id: str, *times_s: float | None) -> None:
        now_s = time.time()
        for histogram, taken_s in zip((self._total, self._features, self._model), times_s, strict=True):
            if taken_s is not None:
                histogram.exemplars[bisect_left(LATENCY_BUCKETS_S, taken_s)] = (trace_id, taken_s, now_s)

    def refused(self, kind: AnswerOutcome) -> None:
        """Count one request that got an error; `outcome_of(error)` gives the kind."""
        self._outcomes[kind] += 1

    def snapshot(self) -> "MetricsSnapshot":
        """A copy for a scrape."""
        return MetricsSnapshot(
            dict(self._outcomes),
            {stage: h.copy() for stage, h in zip(STAGES, (self._total, self._features, self._model), strict=True)},
            self._ages.copy(),
            {point: list(counts) for point, counts in self._verdicts.copy().items()},
            self._rows,
            self._degraded,
        )


class MetricsSnapshot(NamedTuple):
    """A `ModelMetrics` at one moment; verdicts: by operating point, counts of benign, investigate, alert."""

    outcomes: Mapping[AnswerOutcome, int]
    seconds: Mapping[str, Histogram]
    ages: Histogram
    verdicts: Mapping[str, list[int]]
    rows: int
    degraded: int
