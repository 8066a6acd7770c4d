"""One span that is open, its finished parts, and the header that carries it to whoever is called next.

Spans are made when they end, with their times, so that there is one short step a span. That takes a tenth of the time of the SDK's own
`start_span`, which keeps a lock, limits and callbacks for spans that others change while they are open; nobody changes ours."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from serving.telemetry.tracing.names import NO_ATTRIBUTES, Attributes, TraceKind
from serving.telemetry.tracing.traceparent import format_traceparent, parse_traceparent

_KINDS: Final[Mapping[TraceKind, otel.SpanKind]] = MappingProxyType(
    {
        "server": otel.SpanKind.SERVER,
        "client": otel.SpanKind.CLIENT,
        "producer": otel.SpanKind.PRODUCER,
        "consumer": otel.SpanKind.CONSUMER,
        "internal": otel.SpanKind.INTERNAL,
    }
)
_SAMPLED: Final = otel.TraceFlags(otel.TraceFlags.SAMPLED)
_UNSET: Final = otel.Status()
_SCOPE: Final = InstrumentationScope("vedette")

Ship = Callable[[ReadableSpan], None]
"""Takes one span that is over. Returns at once."""


class Trace:
    """A span that is open until `end`, and its finished children. All times: wall clock, nanoseconds since the epoch.

    ship: takes each span that ends. parent: None makes it the first of a new trace. links: traceparents of what it also comes from;
    malformed ones are left out."""

    __slots__ = ("_context", "_links", "_parent", "_resource", "_ship", "_start_ns", "kind", "name", "trace_id")

    def __init__(
        self,
        ship: Ship,
        resource: Resource,
        name: str,
        kind: TraceKind,
        parent: otel.SpanContext | None,
        start_ns: int | None = None,
        links: Iterable[str] = (),
    ) -> None:
        self._ship, self._resource = ship, resource
        self.name, self.kind = name, kind
        """May be changed until `end`: a request is named when it is known to be traced."""
        self._parent, self._start_ns = parent, time.time_ns() if start_ns is None else start_ns
        self._links = [otel.Link(context) for context in map(remote_context, links) if context is not None]
        self._context = _context(_random_bits(128), None) if parent is None else _context(parent.trace_id, parent.trace_state)
        self.trace_id = otel.format_trace_id(self._context.trace_id)
        """32 hex digits; the answer carries it in `parameters.trace_id`."""

    @property
    def traceparent(self) -> str:
        """The W3C header that makes whoever is called next a child of this span."""
        return format_traceparent(self._context.trace_id, self._context.span_id, is_sampled=True)

    @property
    def tracestate(self) -> str:
        """The caller's tracestate, which goes on beside the traceparent; empty if there was none."""
        return self._context.trace_state.to_header()

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
        own = self._context
        self._ship(
            ReadableSpan(
                name,
                _context(own.trace_id, own.trace_state),
                own,
                self._resource,
                attributes,
                status=_status(error),
                start_time=start_ns,
                end_time=end_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def begin(
        self, name: str, *, kind: TraceKind = "internal", start_ns: int | None = None, links: Iterable[str] = ()
    ) -> "Trace":
        """Open a child that has children, or a traceparent, of its own. links: traceparents of what it also comes from."""
        return Trace(self._ship, self._resource, name, kind, self._context, start_ns, links)

    def end(self, attributes: Attributes = NO_ATTRIBUTES, *, error: str | None = None, end_ns: int | None = None) -> None:
        """Close the span and hand it to the exporter. error: set when what it stands for was not done."""
        self._ship(
            ReadableSpan(
                self.name,
                self._context,
                self._parent,
                self._resource,
                attributes,
                links=self._links,
                kind=_KINDS[self.kind],
                status=_status(error),
                start_time=self._start_ns,
                end_time=time.time_ns() if end_ns is None else end_ns,
                instrumentation_scope=_SCOPE,
            )
        )


def remote_context(traceparent: str, tracestate: str | None = None) -> otel.SpanContext | None:
    """The span of somebody else that a header names; None if the header is malformed."""
    caller = parse_traceparent(traceparent)
    if caller is None:
        return None
    state = otel.TraceState.from_header([tracestate]) if tracestate else None
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if caller[2] else otel.TraceFlags.DEFAULT)
    return otel.SpanContext(int(caller[0], 16), int(caller[1], 16), True, flags, state)


def _context(trace_id: int, state: otel.TraceState | None) -> otel.SpanContext:
    return otel.SpanContext(trace_id, _random_bits(64), False, _SAMPLED, state)


def _random_bits(bits: int) -> int:
    """Never 0, which the standard forbids."""
    return random.getrandbits(bits) or 1  # nosec B311  # names a span, hides nothing


def _status(error: str | None) -> otel.Status:
    return _UNSET if error is None else otel.Status(otel.StatusCode.ERROR, error)
