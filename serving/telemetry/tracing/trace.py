"""One span that is open, its finished parts, and the header that carries it to whoever is called next."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from opentelemetry import trace as otel

from serving.telemetry.tracing.traceparent import format_traceparent, parse_traceparent

Attributes = Mapping[str, bool | int | float | str]
NO_ATTRIBUTES: Final[Attributes] = MappingProxyType({})

TraceKind = Literal["server", "client", "producer", "consumer", "internal"]
"""What a span is to its neighbours: it answers a call, makes one, writes a message, takes one, or is a part of its parent."""
_KINDS: Final[Mapping[TraceKind, otel.SpanKind]] = {
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
    "producer": otel.SpanKind.PRODUCER,
    "consumer": otel.SpanKind.CONSUMER,
    "internal": otel.SpanKind.INTERNAL,
}


class Trace:
    """A span that is open until `end`, and its finished children. All times: wall clock, nanoseconds since the epoch."""

    __slots__ = ("_root", "_tracer", "trace_id")

    def __init__(self, tracer: otel.Tracer, root: otel.Span) -> None:
        self._tracer = tracer
        self._root = root
        self.trace_id = otel.format_trace_id(root.get_span_context().trace_id)
        """32 hex digits; the answer carries it in `parameters.trace_id`."""

    @property
    def traceparent(self) -> str:
        """The W3C header that makes whoever is called next a child of this span."""
        context = self._root.get_span_context()
        return format_traceparent(context.trace_id, context.span_id, is_sampled=True)

    @property
    def tracestate(self) -> str:
        """The caller's tracestate, which goes on beside the traceparent; empty if there was none."""
        return self._root.get_span_context().trace_state.to_header()

    def span(
        self,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        error: str | None = None,
    ) -> None:
        """Add a part that is over. error: set when that part failed."""
        part = self._tracer.start_span(name, otel.set_span_in_context(self._root), attributes=attributes, start_time=start_ns)
        if error is not None:
            part.set_status(otel.StatusCode.ERROR, error)
        part.end(end_ns)

    def begin(
        self, name: str, *, kind: TraceKind = "internal", start_ns: int | None = None, links: Iterable[str] = ()
    ) -> "Trace":
        """Open a child that has children, or a traceparent, of its own. links: traceparents of what it also comes from."""
        return Trace(self._tracer, start_span(self._tracer, name, self._root, kind, start_ns, links))

    def end(self, attributes: Attributes = NO_ATTRIBUTES, *, error: str | None = None, end_ns: int | None = None) -> None:
        """Close the span and hand it to the exporter. error: set when what it stands for was not done."""
        self._root.set_attributes(attributes)
        if error is not None:
            self._root.set_status(otel.StatusCode.ERROR, error)
        self._root.end(end_ns)


def start_span(
    tracer: otel.Tracer, name: str, parent: otel.Span, kind: TraceKind, start_ns: int | None, links: Iterable[str]
) -> otel.Span:
    """Start a span under `parent`. Links that are no well-formed traceparents are left out."""
    others = [otel.Link(context) for context in map(remote_context, links) if context is not None]
    return tracer.start_span(name, otel.set_span_in_context(parent), kind=_KINDS[kind], start_time=start_ns, links=others)


def remote_context(traceparent: str, tracestate: str | None = None) -> otel.SpanContext | None:
    """The span of somebody else that a header names; None if the header is malformed."""
    caller = parse_traceparent(traceparent)
    if caller is None:
        return None
    state = otel.TraceState.from_header([tracestate]) if tracestate else None
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if caller[2] else otel.TraceFlags.DEFAULT)
    return otel.SpanContext(int(caller[0], 16), int(caller[1], 16), True, flags, state)
