"""Metrics of tracing itself: kept traces by reason, and the fate of spans."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

TRACES: Final = MetricDoc(
    "vedette_traces_total",
    "counter",
    ("reason",),
    "Traces by why they are kept: sampled, error, slow, degraded; unkept: worth one, but the reason had its share of that second.",
)
SPANS: Final = MetricDoc(
    "vedette_spans_total",
    "counter",
    ("outcome",),
    "Spans by outcome: delivered, refused by the collector or undeliverable, dropped because too many wait.",
)
TRACE_METRICS: Final = (TRACES, SPANS)
