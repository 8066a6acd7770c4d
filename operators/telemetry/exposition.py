"""One page of metrics: counters that are counted here, and values that are asked for when the page is scraped.

The operators' one door to the Prometheus client; serving has its own (serving.telemetry.metrics). Numbers are kept here and not in the
client's counters: those go into files where a variable of the environment says so, and Feast sets it when it is imported."""

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from serving.telemetry.counts import Histogram
from serving.telemetry.metric_doc import MetricDoc

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
Sample = tuple[MetricDoc, tuple[str, ...], float]
"""A metric, the values of its labels, and its value now."""
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
ReadSamples = Callable[[], Iterator[Sample]]


class MetricsPage(Collector):
    """docs: every metric of the page. read: gives the values that are asked for at a scrape. Whatever is a gauge, or named in asked, comes
    from there; other counters and histograms are counted with `count` and `observe`. The standard `process_*` metrics come along."""

    def __init__(self, docs: Sequence[MetricDoc], read: ReadSamples, asked: Sequence[MetricDoc] = ()) -> None:
        self._read = read
        self._asked = [doc for doc in docs if doc.kind == "gauge" or doc in asked]
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        own = [doc for doc in docs if doc not in self._asked]
        self._lock = Lock()
        self._counts: dict[MetricDoc, dict[tuple[str, ...], int]] = {doc: {} for doc in own if doc.kind == "counter"}
        self._counts |= {doc: {(): 0} for doc in self._counts if not doc.labels}
        self._histograms = {doc: Histogram(BUCKETS_S) for doc in own if doc.kind == "histogram"}

    def count(self, doc: MetricDoc, *labels: str, by: int = 1) -> None:
        """Count something. by: 0 shows a series before its first event, without which no rate can be taken of that event."""
        with self._lock:
            counts = self._counts[doc]
            counts[labels] = counts.get(labels, 0) + by

    def observe(self, doc: MetricDoc, value: float) -> None:
        """Add a value to a histogram without labels."""
        with self._lock:
            self._histograms[doc].add(value)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        families = {
            doc.name: (CounterMetricFamily if doc.kind == "counter" else GaugeMetricFamily)(
                doc.name, doc.says, labels=doc.labels
            )
            for doc in (*self._asked, *self._counts)
        }
        for doc, labels, value in self._read():
            families[doc.name].add_metric(labels, value)
        with self._lock:
            for doc, counts in self._counts.items():
                for labels, count in counts.items():
                    families[doc.name].add_metric(labels, count)
            histograms = {doc: histogram.copy() for doc, histogram in self._histograms.items()}
        yield from families.values()
        for doc, histogram in histograms.items():
            yield HistogramMetricFamily(doc.name, doc.says, buckets=histogram.cumulative(), sum_value=histogram.total)

    def render(self) -> bytes:
        """The Prometheus text exposition, of type CONTENT_TYPE."""
        return generate_latest(self._registry)
