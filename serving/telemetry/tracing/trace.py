"""One open span, its finished parts, and the header that carries the trace to the next call.

A part is noted when it ends, with its times: one short step. The bytes are written later, by the thread that sends them: many in a row
cost half of what each costs between two requests. The SDK's `start_span` keeps a lock, limits and callbacks for spans that others change
while they are open; nobody changes ours."""

import random
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from serving.telemetry.tracing.names import NO_ATTRIBUTES, Attributes, TraceKind
from serving.telemetry.tracing.span_bytes import NO_PARENT, encode_span, head_of
from serving.telemetry.tracing.traceparent import format_traceparent, parse_traceparent

SpanIds = tuple[bytes, bytes]
"""Trace (16 bytes) and span (8 bytes)."""
Part = tuple[str, int, int, Attributes, Attributes, str | None]
"""A part that is over: name, start, end, attributes, more of them, and the error that it ended in."""
_SPAN_BITS: Final = (1 << 64) - 1
_NEVER_ZERO: Final = 1 << 191 | 1
"""The standard forbids ids of 0. Its other bits are random: the last ones of a trace are what samplers decide by."""


class FinishedSpans(Protocol):
    """Spans that are over. Nothing changes them any more, so another thread may read them."""

    def count(self) -> int:
        """How many there are."""
        ...

    def encode(self) -> list[bytes]:
        """Each of them, see span_bytes; those within another before it."""
        ...


Ship = Callable[[FinishedSpans], object]
"""Takes spans that are over. Returns at once."""


class Trace:
    """A span that is open until `end`, and its finished children. All times: wall clock, nanoseconds since the epoch.

    ship: takes all spans when this one ends. caller: its parent, None makes it the first of a new trace. is_remote: whether the parent is
    another process's. is_root: it has no parent though it belongs to the caller's trace. links: what it also comes from."""

    __slots__ = (
        *("_bits", "_caller", "_end", "_is_remote", "_is_root", "_links", "_parts", "_ship", "_start_ns"),
        *("kind", "name", "trace_id", "tracestate"),
    )

    def __init__(
        self,
        ship: Ship,
        name: str,
        kind: TraceKind,
        caller: SpanIds | None,
        start_ns: int | None = None,
        *,
        is_remote: bool = False,
        is_root: bool = False,
        tracestate: str = "",
        links: tuple[SpanIds, ...] = (),
    ) -> None:
        self._ship = ship
        self.name, self.kind = name, kind
        """May be changed until `end`."""
        self._bits = bits = random.getrandbits(192) | _NEVER_ZERO  # nosec B311  # names a span, hides nothing
        self._caller, self._is_remote, self._is_root = caller, is_remote, is_root
        self._start_ns = time.time_ns() if start_ns is None else start_ns
        self._links, self._parts = links, list[Part]()
        self._end: tuple[Attributes, Attributes, str | None, int] = (NO_ATTRIBUTES, NO_ATTRIBUTES, None, self._start_ns)
        self.trace_id = f"{bits >> 64:032x}" if caller is None else caller[0].hex()
        """32 hex digits; the answer carries it in `parameters.trace_id`."""
        self.tracestate = tracestate
        """The caller's, which goes on beside the traceparent; empty if there was none."""

    @property
    def traceparent(self) -> str:
        """The W3C header that makes the next call a child of this span."""
        return format_traceparent(self.trace_id, self._span_id().hex(), is_sampled=True)

    def span(
        self,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Attributes = NO_ATTRIBUTES,
        more: Attributes = NO_ATTRIBUTES,
        *,
        error: str | None = None,
    ) -> None:
        """Add a part that is over. more: further attributes, of other names. error: set when that part failed."""
        self._parts.append((name, start_ns, end_ns, attributes, more, error))

    def begin(
        self, name: str, *, kind: TraceKind = "internal", start_ns: int | None = None, links: Iterable[str] = ()
    ) -> "Trace":
        """Open a child that has children, or a traceparent, of its own. links: traceparents of what it also comes from."""
        parent = (bytes.fromhex(self.trace_id), self._span_id())
        return Trace(self._ship, name, kind, parent, start_ns, tracestate=self.tracestate, links=read_links(links))

    def end(
        self,
        attributes: Attributes = NO_ATTRIBUTES,
        more: Attributes = NO_ATTRIBUTES,
        *,
        error: str | None = None,
        end_ns: int | None = None,
    ) -> None:
        """Close the span and hand all to the exporter. error: set when what it stands for was not done."""
        self.close(attributes, more, error=error, end_ns=end_ns)
        self._ship(self)

    def close(
        self,
        attributes: Attributes = NO_ATTRIBUTES,
        more: Attributes = NO_ATTRIBUTES,
        *,
        error: str | None = None,
        end_ns: int | None = None,
    ) -> None:
        """The same for code that passes it on."""
        self._end = (attributes, more, error, time.time_ns() if end_ns is None else end_ns)

    def ship(self, spans: FinishedSpans) -> None:
        """Hand to the exporter what this one is a part of."""
        self._ship(spans)

    def count(self) -> int:
        """The span and its parts, see FinishedSpans."""
        return 1 + len(self._parts)

    def encode(self) -> list[bytes]:
        """See FinishedSpans."""
        span_id, head, last = self._span_id(), head_of(bytes.fromhex(self.trace_id), self.tracestate), self._bits
        spans = []
        for name, start_ns, end_ns, attributes, more, error in self._parts:
            last += 1  # unlike those of other parts, which is all that an id within a trace is for
            own = (last & _SPAN_BITS or 1).to_bytes(8, "big")
            spans.append(encode_span(head, own, span_id, name, "internal", start_ns, end_ns, attributes, more, error=error))
        attributes, more, error, end_ns = self._end
        parent, links = NO_PARENT if self._caller is None or self._is_root else self._caller[1], self._links
        whole = encode_span(
            *(head, span_id, parent, self.name, self.kind, self._start_ns, end_ns, attributes, more),
            is_remote=self._is_remote,
            links=links,
            error=error,
        )
        return [*spans, whole]

    def _span_id(self) -> bytes:
        return (self._bits & _SPAN_BITS).to_bytes(8, "big")


def read_ids(traceparent: str) -> SpanIds | None:
    """Trace and span that a header names; None if the header is malformed."""
    caller = parse_traceparent(traceparent)
    return None if caller is None else (bytes.fromhex(caller[0]), bytes.fromhex(caller[1]))


def read_links(traceparents: Iterable[str]) -> tuple[SpanIds, ...]:
    """What these headers name; malformed ones are left out."""
    return tuple([ids for ids in map(read_ids, traceparents) if ids is not None]) if traceparents else ()
