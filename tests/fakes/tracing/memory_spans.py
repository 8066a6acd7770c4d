"""Finished spans kept in memory as the SDK of OpenTelemetry has them, read from the bytes that a collector gets."""

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry import trace as otel
from opentelemetry.proto.trace.v1 import trace_pb2 as wire
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_SAMPLED: Final = otel.TraceFlags(otel.TraceFlags.SAMPLED)
_IS_REMOTE: Final = wire.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class MemorySpans:
    """Keeps finished spans: `Tracer(1.0, None, exporter=spans.exporter)`."""

    def __init__(self) -> None:
        self._finished: list[ReadableSpan] = []

    def exporter(self, spans: Iterable[bytes], resource: Resource) -> None:
        """Take spans that ended, as they are encoded for a collector."""
        self._finished += readable(spans, resource)

    def finished(self) -> tuple[ReadableSpan, ...]:
        """Every span that has ended, in the order of their ends."""
        return tuple(self._finished)


def readable(spans: Iterable[bytes], resource: Resource) -> list[ReadableSpan]:
    """The spans as the SDK has them. spans: see span_bytes."""
    return [_readable(span, resource) for span in wire.ScopeSpans.FromString(b"".join(spans)).spans]


def _readable(span: wire.Span, resource: Resource) -> ReadableSpan:
    state = otel.TraceState.from_header([span.trace_state]) if span.trace_state else None
    parent = None
    if span.parent_span_id:
        parent = _context(span.trace_id, span.parent_span_id, state, is_remote=bool(span.flags & _IS_REMOTE))
    return ReadableSpan(
        span.name,
        _context(span.trace_id, span.span_id, state),
        parent,
        resource,
        {one.key: _value(one.value) for one in span.attributes},
        links=[otel.Link(_context(link.trace_id, link.span_id, is_remote=True)) for link in span.links],
        kind=otel.SpanKind(span.kind - 1),
        status=otel.Status(otel.StatusCode.ERROR, span.status.message) if span.status.code else otel.Status(),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=InstrumentationScope("vedette"),
    )


def _context(
    trace_id: bytes, span_id: bytes, state: otel.TraceState | None = None, *, is_remote: bool = False
) -> otel.SpanContext:
    return otel.SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote, _SAMPLED, state)


def _value(value: Any) -> bool | int | float | str:
    told: bool | int | float | str = getattr(value, value.WhichOneof("value"))
    return told
