"""Prometheus metrics of the data plane: every metric name, once.

A request counts on a `ModelMetrics` of its (model, version, variant, door), see serving.telemetry.counts; the Prometheus
objects are only built when somebody scrapes. What the numbers mean for a rollout is decided elsewhere
(operators); serving the bytes of `render()` is the HTTP door's."""

import time
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from serving.errors import Internal, ServingError
from serving.telemetry.counts import VERDICTS, Histogram, ModelMetrics, Outcome

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
"""Content type of `ServingMetrics.render()`."""

UNKNOWN: Final = "_unknown"
"""Label of requests that name no model we have; no model can be called so."""


class MetricDoc(NamedTuple):
    """One metric: its full name as scraped (without `_bucket`, `_sum`, `_count`), kind, labels, and what it says."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    says: str


_MODEL = ("model", "version", "variant")
REQUESTS: Final = MetricDoc(
    "vedette_requests_total",
    "counter",
    (*_MODEL, "door", "outcome"),
    "Inference requests by outcome: ok; client_error (wrong, the same again cannot help); refused (not ready, overloaded, "
    "deadline passed: try again); failed (a defect of ours).",
)
SECONDS: Final = MetricDoc(
    "vedette_request_seconds",
    "histogram",
    (*_MODEL, "door", "stage"),
    "Time of answered requests by stage: total (in the service, without the door's decoding), features (the online read), "
    "model (the ONNX run).",
)
ROWS: Final = MetricDoc("vedette_rows_total", "counter", (*_MODEL, "door"), "Rows scored in answered requests.")
VERDICT: Final = MetricDoc(
    "vedette_verdicts_total",
    "counter",
    (*_MODEL, "door", "operating_point", "verdict"),
    "Verdicts given, one a row, by the operating point they were judged at: benign, investigate or alert.",
)
DEGRADED: Final = MetricDoc(
    "vedette_degraded_rows_total",
    "counter",
    (*_MODEL, "door"),
    "Rows answered with at least one stored feature missing, too old or not read in time.",
)
FEATURE_AGE: Final = MetricDoc(
    "vedette_feature_age_seconds",
    "histogram",
    (*_MODEL, "door"),
    "Age of the oldest stored feature value used in an answer.",
)
DEFAULTED: Final = MetricDoc(
    "vedette_features_defaulted_total",
    "counter",
    ("feature_service", "reason"),
    "Feature values replaced by their declared default, by reason: missing_or_old (there was none, it was past its TTL, or the "
    "store did not answer in time).",
)
AUDIT: Final = MetricDoc(
    "vedette_audit_records_total",
    "counter",
    ("outcome",),
    "Records of the prediction log: written, or dropped (queue full, disk full, not encodable).",
)
MODEL_INFO: Final = MetricDoc(
    "vedette_model_info",
    "gauge",
    (*_MODEL, "bundle", "revision"),
    "1 for each model variant that is loaded; bundle and revision are content digests.",
)
START: Final = MetricDoc(
    "vedette_start_time_seconds",
    "gauge",
    (),
    "When this replica's metrics began, seconds since the epoch (counters are 0 then).",
)
METRICS: Final = (REQUESTS, SECONDS, ROWS, VERDICT, DEGRADED, FEATURE_AGE, DEFAULTED, AUDIT, MODEL_INFO, START)
"""Every metric of our own; docs/reference/metrics.md holds each. The standard `process_*` metrics come along."""


def outcome_of(error: ServingError) -> Outcome:
    """Say what an error counts as: our defect, a refusal worth trying again, or the client's mistake."""
    if isinstance(error, Internal):
        return "failed"
    return "refused" if error.can_retry else "client_error"


_F = TypeVar("_F", CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily)


class ServingMetrics(Collector):
    """All metrics of one replica, on a registry of its own.

    replica: when given, a label of that name on every series; needed where replicas share one port, because a scrape then
    reaches any one of them."""

    def __init__(self, replica: str | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._replica: dict[str, str] = {} if replica is None else {"replica": replica}
        self._handles: dict[tuple[str, str, str, str], ModelMetrics] = {}
        self._defaulted: dict[tuple[str, str], int] = {}
        self._loaded: Mapping[tuple[str, ...], None] = MappingProxyType({})
        self._audit: Callable[[], tuple[int, int]] | None = None
        self._lock = Lock()
        self._started_s = now()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def for_model(self, model: str, version: str, variant: str, door: str) -> ModelMetrics:
        """The counts of one model variant at one door, made on first use. Only for models we have: labels are kept forever."""
        key = (model, version, variant, door)
        handle = self._handles.get(key)
        if handle is None:
            with self._lock:
                handle = self._handles.setdefault(key, ModelMetrics(*key))
        return handle

    def for_unknown(self, door: str) -> ModelMetrics:
        """The counts of requests that could not be given to a model: unreadable, or for a model we do not have."""
        return self.for_model(UNKNOWN, UNKNOWN, UNKNOWN, door)

    def features_defaulted(self, feature_service: str, reason: str, values: int) -> None:
        """Count feature values that were replaced by their default."""
        with self._lock:
            key = (feature_service, reason)
            self._defaulted[key] = self._defaulted.get(key, 0) + values

    def set_loaded(self, loaded: tuple[tuple[str, str, str, str, str], ...]) -> None:
        """Say which variants are loaded: (model, version, variant, bundle digest, revision digest) each."""
        self._loaded = MappingProxyType(dict.fromkeys(loaded))

    def watch_audit(self, counts: Callable[[], tuple[int, int]]) -> None:
        """Read (written, dropped) from here at each scrape."""
        self._audit = counts

    def render(self) -> bytes:
        """The Prometheus text exposition, of type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Build the metric families; prometheus_client calls this at each scrape."""
        yield from self._collect_models()
        with self._lock:
            defaulted = dict(self._defaulted)
        yield self._counter(DEFAULTED, {key: float(n) for key, n in defaulted.items()})
        written, dropped = self._audit() if self._audit is not None else (0, 0)
        yield self._counter(AUDIT, {("written",): float(written), ("dropped",): float(dropped)})
        yield self._gauge(MODEL_INFO, dict.fromkeys(self._loaded, 1.0))
        yield self._gauge(START, {(): self._started_s})

    def _collect_models(self) -> Iterator[Metric]:
        requests: dict[tuple[str, ...], float] = {}
        rows: dict[tuple[str, ...], float] = {}
        verdicts: dict[tuple[str, ...], float] = {}
        degraded: dict[tuple[str, ...], float] = {}
        seconds, ages = self._family(HistogramMetricFamily, SECONDS), self._family(HistogramMetricFamily, FEATURE_AGE)
        with self._lock:
            handles = tuple(self._handles.values())
        for handle in handles:
            labels, counts = (*handle.labels, handle.door), handle.snapshot()
            requests.update({(*labels, outcome): float(n) for outcome, n in counts.outcomes.items()})
            rows[labels], degraded[labels] = float(counts.rows), float(counts.degraded)
            for point, numbers in counts.verdicts.items():
                verdicts.update({(*labels, point, v): float(n) for v, n in zip(VERDICTS, numbers, strict=True)})
            for stage, histogram in counts.seconds.items():
                self._add_histogram(seconds, (*labels, stage), histogram)
            self._add_histogram(ages, labels, counts.ages)
        yield self._counter(REQUESTS, requests)
        yield seconds
        yield self._counter(ROWS, rows)
        yield self._counter(VERDICT, verdicts)
        yield self._counter(DEGRADED, degraded)
        yield ages

    def _family(self, kind: type[_F], doc: MetricDoc) -> _F:
        return kind(doc.name, doc.says, labels=(*self._replica, *doc.labels))

    def _counter(self, doc: MetricDoc, values: Mapping[tuple[str, ...], float]) -> Metric:
        family = self._family(CounterMetricFamily, doc)
        for labels, value in values.items():
            family.add_metric((*self._replica.values(), *labels), value)
        return family

    def _gauge(self, doc: MetricDoc, values: Mapping[tuple[str, ...], float]) -> Metric:
        family = self._family(GaugeMetricFamily, doc)
        for labels, value in values.items():
            family.add_metric((*self._replica.values(), *labels), value)
        return family

    def _add_histogram(self, family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
        if any(histogram.counts):
            family.add_metric((*self._replica.values(), *labels), histogram.cumulative(), histogram.total)
