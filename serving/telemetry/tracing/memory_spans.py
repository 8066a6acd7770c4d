"""Finished spans kept in memory as the SDK of OpenTelemetry has them, for tests."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from serving.telemetry.tracing.finished import FinishedSpan
from serving.telemetry.tracing.names import TraceKind

_KINDS: Final[Mapping[TraceKind, otel.SpanKind]] = MappingProxyType(
    {
        "server": otel.SpanKind.SERVER,
        "client": otel.SpanKind.CLIENT,
        "producer": otel.SpanKind.PRODUCER,
        "consumer": otel.SpanKind.CONSUMER,
        "internal": otel.SpanKind.INTERNAL,
    }
)


class MemorySpans:
    """Keeps finished spans: `Tracer(1.0, None, exporter=spans.exporter)`."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def finished(self) -> tuple[ReadableSpan, ...]:
        """Every span that has ended, in the order of their ends."""
        return self.exporter.get_finished_spans()


def readable(span: FinishedSpan, resource: Resource) -> ReadableSpan:
    """The span as the SDK has it."""
    state = otel.TraceState.from_header([span.tracestate]) if span.tracestate else None
    sampled = otel.TraceFlags(otel.TraceFlags.SAMPLED)
    parent = None
    if span.parent_id:
        parent = otel.SpanContext(span.trace_id, span.parent_id, span.is_remote, sampled, state)
    return ReadableSpan(
        span.name,
        otel.SpanContext(span.trace_id, span.span_id, False, sampled, state),
        parent,
        resource,
        span.attributes,
        links=[otel.Link(otel.SpanContext(trace_id, span_id, True, sampled)) for trace_id, span_id in span.links],
        kind=_KINDS[span.kind],
        status=otel.Status() if span.error is None else otel.Status(otel.StatusCode.ERROR, span.error),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("vedette"),
    )
