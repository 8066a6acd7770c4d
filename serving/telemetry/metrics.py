"""Prometheus metrics of one replica.

A request is counted in the `ModelMetrics` of its (model, version, variant, door), see serving.telemetry.counts. Prometheus objects are
made at a scrape only. Names are in serving.telemetry.names. The control plane (operators) judges rollouts by the numbers; the HTTP door
sends the bytes of `render()`."""

import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from serving.errors import Internal, ServingError
from serving.segments.mapping import SegmentMap
from serving.telemetry import names
from serving.telemetry.counts import GONE, VERDICTS, AnswerOutcome, ExemplarTrace, Histogram, ModelMetrics
from serving.telemetry.evidence import ROUTES, EntitySampling, VariantEvidence
from serving.telemetry.loop_lag import LoopLag
from serving.telemetry.metric_doc import MetricDoc
from serving.telemetry.process_use import process_use
from serving.telemetry.segments import UNITS, SegmentCounts

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
"""Content type of `ServingMetrics.render()`."""


def outcome_of(error: ServingError) -> AnswerOutcome:
    """The outcome an error counts as: a defect of ours, a refusal that may be retried, or an error of the client."""
    if isinstance(error, Internal):
        return "failed"
    return "refused" if error.can_retry else "client_error"


MetricSource = Callable[[], Iterable[tuple[MetricDoc, Mapping[tuple[str, ...], float | Histogram]]]]
"""Gives further counters, gauges and histograms, each with its current values by labels. Called in a thread."""
RULES_TOLD: Final = 200
"""Rules of a model that have a series of their own; the others share OTHER_RULES."""
OTHER_RULES: Final = "_other"

_K = TypeVar("_K", bound=tuple[str, ...])
_V = TypeVar("_V")
_F = TypeVar("_F", CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily)


class AuditCounts(NamedTuple):
    """Records of the prediction log by outcome, whether it fails now, and how far it is behind. durable_s: since the epoch."""

    written: int = 0
    dropped: int = 0
    refused: int = 0
    is_failing: bool = False
    waiting: int = 0
    lag_s: float = 0.0
    durable_s: float = 0.0


class ServingMetrics(Collector):
    """All metrics of one replica, on a registry of its own.

    replica: its identity, a label on every series; replicas of one machine share a port, and a scrape reaches any one of them.
    segments: the mapping by which evidence is counted; None: by none."""

    def __init__(self, replica: str, *, now: Callable[[], float] = time.time, segments: SegmentMap | None = None) -> None:
        self._segments = segments
        self._replica: dict[str, str] = {"replica": replica}
        self._handles: dict[tuple[str, str, str, str], ModelMetrics] = {}
        self._evidence: dict[tuple[str, str, str], VariantEvidence] = {}
        self._sampling: dict[str, EntitySampling] = {}
        self._defaulted: dict[tuple[str, str], int] = {}
        self._fallbacks: dict[tuple[str, str, str], int] = {}
        self._ruled: dict[tuple[str, str, str, str], int] = {}
        self._rule_matches: dict[tuple[str, str], int] = {}
        self._suppressed: dict[tuple[str, str], int] = {}
        self._triaged: dict[tuple[str, str, str, str], int] = {}
        self._mirrored: dict[tuple[str, str, str], int] = {}
        self._loaded: Mapping[tuple[str, ...], None] = MappingProxyType({})
        self._failed: Mapping[tuple[str, ...], None] = MappingProxyType({})
        self._audit: Callable[[], AuditCounts] | None = None
        self._sources: list[MetricSource] = []
        self._lock = Lock()
        self._started_s = now()
        self._process = ProcessCollector(registry=None)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self.ongoing = 0
        """Inference requests under way; only the listeners' loop changes it."""
        self.lag = LoopLag()

    def for_model(self, model: str, version: str, variant: str, door: str) -> ModelMetrics:
        """The counts of one model variant at one door, made on first use. Only for models we have."""
        key = (model, version, variant, door)
        handle = self._handles.get(key)
        if handle is None:
            with self._lock:
                handle = self._handles.setdefault(key, ModelMetrics(*key))
        return handle

    def for_unknown(self, door: str) -> ModelMetrics:
        """The counts of requests that could not be given to a model: unreadable, or for a model we do not have."""
        return self.for_model(names.UNKNOWN, names.UNKNOWN, names.UNKNOWN, door)

    def features_defaulted(self, feature_service: str, reason: str, values: int) -> None:
        """Count feature values that were replaced by their default."""
        with self._lock:
            key = (feature_service, reason)
            self._defaulted[key] = self._defaulted.get(key, 0) + values

    def evidence(self, model: str, variant: str, revision: str) -> VariantEvidence:
        """The evidence of one variant's revision, made at its first use and kept while it is loaded or among the last that were
        (GONE)."""
        key = (model, variant, revision)
        sampling = self._sampling.setdefault(model, EntitySampling())
        found = self._evidence.get(key)
        if found is None:
            segments = None if self._segments is None else SegmentCounts(self._segments)
            found = self._evidence.setdefault(key, VariantEvidence(*key, sampling, segments))
        return found

    def remember_entities(self, under_way: Collection[tuple[str, str, str]]) -> None:
        """Release the entities of every other (model, variant, revision): they are no longer compared."""
        for key, evidence in self._evidence.items():
            if key not in under_way:
                evidence.entities.forget()
        for model in self._sampling.keys() - {model for model, _, _ in under_way}:
            self._sampling[model].mask = 0

    def fell_back(self, model: str, version: str, variant: str) -> int:
        """Count a request that stable answered in place of this variant; returns the new count."""
        key = (model, version, variant)
        self._fallbacks[key] = self._fallbacks.get(key, 0) + 1
        return self._fallbacks[key]

    def ruled(self, model: str, version: str, variant: str, out: str, matched: Sequence[Sequence[str]]) -> bool:
        """Count rows that rules answered and the rules that match them; returns whether these were the first."""
        key, counts = (model, version, variant, out), self._rule_matches
        is_first = key not in self._ruled
        self._ruled[key] = self._ruled.get(key, 0) + len(matched)
        for ids in matched:
            for rule in ids:
                of_rule = (model, rule)
                if of_rule not in counts and sum(1 for m, _ in counts if m == model) >= RULES_TOLD:
                    of_rule = (model, OTHER_RULES)
                counts[of_rule] = counts.get(of_rule, 0) + 1
        return is_first

    def suppressed(self, model: str, ids: Sequence[str]) -> None:
        """Count rows whose verdicts suppressions lowered; one id for each row."""
        counts = self._suppressed
        for name in ids:
            key = (model, name)
            if key not in counts and sum(1 for m, _ in counts if m == model) >= RULES_TOLD:
                key = (model, OTHER_RULES)
            counts[key] = counts.get(key, 0) + 1

    def triaged(self, model: str, version: str, variant: str, counts: Mapping[str, int]) -> None:
        """Count rows by what triage did with them."""
        for outcome, rows in counts.items():
            key = (model, version, variant, outcome)
            self._triaged[key] = self._triaged.get(key, 0) + rows

    def mirrored(self, model: str, variant: str, outcome: Literal["scored", "failed", "dropped"]) -> None:
        """Count the outcome of a mirrored copy."""
        key = (model, variant, outcome)
        self._mirrored[key] = self._mirrored.get(key, 0) + 1

    def set_loaded(self, loaded: Iterable[tuple[str, str, str, str, str]]) -> None:
        """Set which variants are loaded: (model, version, variant, bundle digest, revision digest) each."""
        self._loaded = MappingProxyType(dict.fromkeys(loaded))
        revisions = {(model, variant, revision) for model, _, variant, _, revision in self._loaded}
        versions = {(model, version, variant) for model, version, variant, _, _ in self._loaded}
        self._evidence = _without_old(self._evidence, revisions)
        self._fallbacks = _without_old(self._fallbacks, versions)
        self._ruled = _without_old(self._ruled, versions)
        self._triaged = _without_old(self._triaged, versions)
        with self._lock:
            self._handles = _without_old(self._handles, {*versions, (names.UNKNOWN,) * 3})
        known: dict[str, set[str]] = {}
        for model, _, revision in self._evidence:
            known.setdefault(model, set()).add(revision)
        for (model, _, _), evidence in self._evidence.items():
            evidence.keep_pairs(known[model])
        self._keep_models({key[0] for key in (*self._loaded, *self._evidence, *self._handles)})

    def _keep_models(self, known: Container[str]) -> None:
        """Forget what is counted of every other model."""
        self._sampling = {model: one for model, one in self._sampling.items() if model in known}
        self._rule_matches = {key: n for key, n in self._rule_matches.items() if key[0] in known}
        self._suppressed = {key: n for key, n in self._suppressed.items() if key[0] in known}
        self._mirrored = {key: n for key, n in self._mirrored.items() if key[0] in known}

    def set_failed(self, failed: Iterable[tuple[str, str, str, str, str]]) -> None:
        """Set which variants could not be loaded: (model, version, variant, revision digest, reason) each."""
        self._failed = MappingProxyType(dict.fromkeys(failed))

    def watch_audit(self, counts: Callable[[], AuditCounts]) -> None:
        """Read the prediction log's counts from here at each scrape."""
        self._audit = counts

    def watch(self, source: MetricSource) -> None:
        """Read further counters and gauges from here at each scrape."""
        self._sources.append(source)

    def render(self) -> bytes:
        """The Prometheus text exposition, of type CONTENT_TYPE. May be called in a thread: a request that is counted meanwhile may be in
        one series and not yet in another."""
        return generate_latest(self._registry)

    def render_open(self) -> bytes:
        """The same in OpenMetrics 1.0, which has exemplars: of each bucket of a latency the newest trace in it."""
        page: bytes = generate_open(self._registry)  # type: ignore[no-untyped-call]
        return page

    def collect(self) -> Iterator[Metric]:
        """Build the metric families; prometheus_client calls this at each scrape."""
        yield from self._collect_models()
        with self._lock:
            defaulted = dict(self._defaulted)
        yield self._counter(names.DEFAULTED, {key: float(n) for key, n in defaulted.items()})
        audit = self._audit() if self._audit is not None else AuditCounts()
        outcomes = {"written": audit.written, "dropped": audit.dropped, "refused": audit.refused}
        yield self._counter(names.AUDIT, {(outcome,): float(n) for outcome, n in outcomes.items()})
        yield self._gauge(names.AUDIT_FAILING, {(): float(audit.is_failing)})
        yield self._gauge(names.AUDIT_WAITING, {(): float(audit.waiting)})
        yield self._gauge(names.AUDIT_LAG, {(): audit.lag_s})
        yield self._gauge(names.AUDIT_DURABLE, {(): audit.durable_s})
        yield self._gauge(names.MODEL_INFO, dict.fromkeys(self._loaded, 1.0))
        yield self._gauge(names.MODEL_FAILED, dict.fromkeys(self._failed, 1.0))
        yield self._gauge(names.ONGOING, {(): float(self.ongoing)})
        yield self._counter(names.LOOP_LATE, {(): self.lag.seconds})
        yield self._counter(names.LOOP_LOOKS, {(): float(self.lag.looks)})
        yield self._counter(names.RULES_ANSWERS, {key: float(n) for key, n in dict(self._ruled).items()})
        yield self._counter(names.RULES_MATCHES, {key: float(n) for key, n in dict(self._rule_matches).items()})
        yield self._counter(names.FALLBACKS, {key: float(n) for key, n in dict(self._fallbacks).items()})
        yield self._counter(names.SUPPRESSED, {key: float(n) for key, n in dict(self._suppressed).items()})
        yield self._counter(names.TRIAGED, {key: float(n) for key, n in dict(self._triaged).items()})
        yield self._counter(names.MIRRORED, {key: float(n) for key, n in dict(self._mirrored).items()})
        yield from self._collect_evidence()
        for source in (process_use, *self._sources):
            for doc, values in source():
                yield self._watched(doc, values)
        yield from self._collect_process()
        yield self._gauge(names.START, {(): self._started_s})

    def _collect_models(self) -> Iterator[Metric]:
        requests: dict[tuple[str, ...], float] = {}
        rows: dict[tuple[str, ...], float] = {}
        verdicts: dict[tuple[str, ...], float] = {}
        degraded: dict[tuple[str, ...], float] = {}
        seconds, ages = (
            self._family(HistogramMetricFamily, names.SECONDS),
            self._family(HistogramMetricFamily, names.FEATURE_AGE),
        )
        with self._lock:
            handles = tuple(self._handles.values())
        for handle in handles:
            labels, counts = (*handle.labels, handle.door), handle.snapshot()
            requests.update({(*labels, outcome): float(n) for outcome, n in counts.outcomes.items()})
            rows[labels], degraded[labels] = float(counts.rows), float(counts.degraded)
            for point, numbers in counts.verdicts.items():
                verdicts.update({(*labels, point, v): float(n) for v, n in zip(VERDICTS, numbers, strict=False)})
            for stage, histogram in counts.seconds.items():
                self._add_histogram(seconds, (*labels, stage), histogram)
            self._add_histogram(ages, labels, counts.ages)
        yield self._counter(names.REQUESTS, requests)
        yield seconds
        yield self._counter(names.ROWS, rows)
        yield self._counter(names.VERDICT, verdicts)
        yield self._counter(names.DEGRADED, degraded)
        yield ages

    def _collect_evidence(self) -> Iterator[Metric]:
        requests: dict[tuple[str, ...], float] = {}
        rows: dict[tuple[str, ...], float] = {}
        bad: dict[tuple[str, ...], float] = {}
        entities: dict[tuple[str, ...], float] = {}
        entities_bad: dict[tuple[str, ...], float] = {}
        pairs: dict[tuple[str, ...], float] = {}
        bins: dict[tuple[str, ...], float] = {}
        segment_rows: dict[tuple[str, ...], float] = {}
        segment_alerts: dict[tuple[str, ...], float] = {}
        for evidence in tuple(self._evidence.values()):
            labels = evidence.labels
            for route in ROUTES:
                counts = evidence.route(route)
                bad.update({(*labels, route, gate): float(n) for gate, n in counts.bad().items()})
                requests[(*labels, route)], rows[(*labels, route)] = float(counts.requests), float(counts.rows)
            entities_bad.update({(*labels, gate): float(n) for gate, n in evidence.entities.bad().items()})
            entities[labels] = float(evidence.entities.count)
            pairs.update({(*labels, *key): float(n) for key, n in evidence.pairs.copy().items()})
            bins.update({(*labels, edge): float(n) for edge, n in evidence.scores.copy().items()})
            if evidence.segments is not None:
                for unit in UNITS:
                    alerts, rows_of = evidence.segments.alerts(unit), evidence.segments.rows(unit)
                    segment_alerts.update({(*labels, unit, s): float(n) for s, n in alerts.items()})
                    segment_rows.update({(*labels, unit, s): float(n) for s, n in rows_of.items()})
        yield self._counter(names.EVIDENCE_REQUESTS, requests)
        yield self._counter(names.EVIDENCE_ROWS, rows)
        yield self._counter(names.EVIDENCE_BAD, bad)
        yield self._counter(names.EVIDENCE_ENTITIES, entities)
        yield self._counter(names.EVIDENCE_ENTITIES_BAD, entities_bad)
        yield self._counter(names.EVIDENCE_PAIRS, pairs)
        yield self._counter(names.EVIDENCE_SCORE_BINS, bins)
        yield self._counter(names.EVIDENCE_SEGMENT_ROWS, segment_rows)
        yield self._counter(names.EVIDENCE_SEGMENT_ALERTS, segment_alerts)

    def _collect_process(self) -> Iterator[Metric]:
        for family in self._process.collect():
            family.samples = [sample._replace(labels={**self._replica, **sample.labels}) for sample in family.samples]
            yield family

    def _family(self, kind: type[_F], doc: MetricDoc) -> _F:
        return kind(doc.name, doc.says, labels=(*self._replica, *doc.labels))

    def _watched(self, doc: MetricDoc, values: Mapping[tuple[str, ...], float | Histogram]) -> Metric:
        if doc.kind == "histogram":
            family = self._family(HistogramMetricFamily, doc)
            for labels, value in values.items():
                if isinstance(value, Histogram):
                    self._add_histogram(family, labels, value)
            return family
        numbers = {labels: value for labels, value in values.items() if not isinstance(value, Histogram)}
        return self._gauge(doc, numbers) if doc.kind == "gauge" else self._counter(doc, numbers)

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
            buckets = [
                (bound, count) if (e := histogram.exemplars.get(at)) is None else (bound, count, _exemplar(e))
                for at, (bound, count) in enumerate(histogram.cumulative())
            ]
            family.add_metric((*self._replica.values(), *labels), buckets, histogram.total)


def _exemplar(of: ExemplarTrace) -> Exemplar:
    trace_id, value, at_s = of
    return Exemplar({"trace_id": trace_id}, value, at_s)


def _without_old(kept: Mapping[_K, _V], loaded: Collection[tuple[str, ...]]) -> dict[_K, _V]:
    """Keeps loaded series, the last GONE unloaded ones of each model, and the last GONE unloaded models. Oldest first. Keys begin
    with model and two more names."""
    there = {key[0] for key in loaded}
    gone: dict[str, dict[tuple[str, ...], None]] = {}
    models_gone = 0
    for key in reversed(tuple(kept)):
        if key[:3] in loaded:
            continue
        if key[0] not in gone:
            if key[0] not in there and models_gone == GONE:
                continue
            models_gone += key[0] not in there
            gone[key[0]] = {}
        if len(gone[key[0]]) < GONE:
            gone[key[0]][key[:3]] = None
    still = {key: value for key, value in kept.items() if key[:3] not in loaded and key[:3] in gone.get(key[0], ())}
    return {**still, **{key: value for key, value in kept.items() if key[:3] in loaded}}
