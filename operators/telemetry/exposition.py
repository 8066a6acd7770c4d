"""One page of metrics: counters that are counted here, and values that are asked for when the page is scraped.

The operators' one door to the Prometheus client; serving has its own (serving.telemetry.metrics)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from serving.telemetry.metric_doc import MetricDoc

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
Sample = tuple[MetricDoc, tuple[str, ...], float]
"""A metric, the values of its labels, and its value now."""
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
        self._counters = {
            doc.name: Counter(doc.name, doc.says, doc.labels, registry=self._registry) for doc in own if doc.kind == "counter"
        }
        self._histograms = {
            doc.name: Histogram(doc.name, doc.says, doc.labels, registry=self._registry)
            for doc in own
            if doc.kind == "histogram"
        }

    def count(self, doc: MetricDoc, *labels: str, by: int = 1) -> None:
        """Count something. by: 0 shows a series before its first event, without which no rate can be taken of that event."""
        counter = self._counters[doc.name]
        (counter.labels(*labels) if labels else counter).inc(by)

    def observe(self, doc: MetricDoc, value: float) -> None:
        """Add a value to a histogram without labels."""
        self._histograms[doc.name].observe(value)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        families = {
            doc.name: (CounterMetricFamily if doc.kind == "counter" else GaugeMetricFamily)(
                doc.name, doc.says, labels=doc.labels
            )
            for doc in self._asked
        }
        for doc, labels, value in self._read():
            families[doc.name].add_metric(labels, value)
        yield from families.values()

    def render(self) -> bytes:
        """The Prometheus text exposition, of type CONTENT_TYPE."""
        return generate_latest(self._registry)
