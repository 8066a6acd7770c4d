"""What a stream worker counts: plain numbers that its one thread adds to, and a scrape reads in another.

Names are in serving.telemetry.stream_names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.stream.ports import Partition
from serving.stream.state import StateKind
from serving.telemetry import stream_names as names
from serving.telemetry.counts import Histogram
from serving.telemetry.metric_doc import MetricDoc

BATCH_BUCKETS: Final = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class ScoredBatch(NamedTuple):
    """Events of one partition that are scored and not committed yet. produced_us: when each was produced; 0: the broker did not say."""

    produced_us: NDArray[np.int64]
    is_late: NDArray[np.bool_]
    is_counted: NDArray[np.bool_]
    alerts: int


class StreamCounts:
    """Of one worker since it started."""

    def __init__(self) -> None:
        self.kinds: Sequence[StateKind] = ()
        self.events = {"scored": 0, "dead": 0, "repeated": 0}
        self.late = {"counted": 0, "not_counted": 0}
        self.alerts = self.commits = self.retries = self.restarts = self.rebalances = 0
        self.restored_s = self.restored_records = 0.0
        self.batches = Histogram(BATCH_BUCKETS)
        self.latency = Histogram(LATENCY_BUCKETS_S)
        self.held: Mapping[Partition, int] = {}
        self.behind: Mapping[Partition, int] = {}
        self.behind_s: Mapping[Partition, float] = {}
        self.watermarks_us: Mapping[Partition, int] = {}
        self.is_paused = False

    def committed(self, batches: Sequence["ScoredBatch"], dead: int, now_us: int) -> None:
        """Count a commit: the batches whose verdicts it made visible, and the dead letters."""
        self.commits += 1
        self.events["dead"] += dead
        for batch in batches:
            self.events["scored"] += len(batch.produced_us)
            self.alerts += batch.alerts
            add_all(self.latency, (now_us - batch.produced_us[batch.produced_us > 0]) / 1e6)
            if batch.is_late.any():
                late = int(batch.is_late.sum())
                counted = int((batch.is_late & batch.is_counted).sum())
                self.late["counted"] += counted
                self.late["not_counted"] += late - counted

    def metrics(self) -> Iterable[tuple[MetricDoc, Mapping[tuple[str, ...], float | Histogram]]]:
        """A MetricSource of serving.telemetry.metrics."""
        yield names.STREAM_EVENTS, {(outcome,): float(n) for outcome, n in self.events.items()}
        yield names.STREAM_LATE, {(what,): float(n) for what, n in self.late.items()}
        yield names.STREAM_ALERTS, {(): float(self.alerts)}
        yield names.STREAM_BATCH, {(): self.batches.copy()}
        yield names.STREAM_LATENCY, {(): self.latency.copy()}
        yield names.STREAM_COMMITS, {(): float(self.commits)}
        yield names.STREAM_RETRIES, {(): float(self.retries)}
        yield names.STREAM_RESTARTS, {(): float(self.restarts)}
        yield names.STREAM_REBALANCES, {(): float(self.rebalances)}
        yield names.STREAM_PAUSED, {(): float(self.is_paused)}
        yield names.STREAM_RESTORED_SECONDS, {(): self.restored_s}
        yield names.STREAM_RESTORED_RECORDS, {(): self.restored_records}
        yield names.STREAM_LAG, {_labels(p): float(n) for p, n in self.behind.items()}
        yield names.STREAM_LAG_SECONDS, {_labels(p): s for p, s in self.behind_s.items()}
        yield names.STREAM_HELD, {_labels(p): float(n) for p, n in self.held.items()}
        yield names.STREAM_WATERMARK, {_labels(p): us / 1e6 for p, us in self.watermarks_us.items()}
        yield (
            names.STREAM_STATE,
            {(kind.name, name): value for kind in self.kinds for name, value in kind.metrics().items()},
        )


def add_all(histogram: Histogram, values: NDArray[np.float64]) -> None:
    """Add many values at once."""
    places = np.searchsorted(np.array(histogram.bounds), values)
    for at, n in enumerate(np.bincount(places, minlength=len(histogram.counts)).tolist()):
        histogram.counts[at] += n
    histogram.total += float(values.sum())


def _labels(partition: Partition) -> tuple[str, ...]:
    return partition.topic, str(partition.number)
