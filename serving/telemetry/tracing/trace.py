"""One span that is open, its finished parts, and the header that carries it to whoever is called next.

A span is made when it ends, with its times: one short step. The SDK's `start_span` keeps a lock, limits and callbacks for spans that others
change while they are open; nobody changes ours."""

import random
import time
from collections.abc import Callable, Iterable

from serving.telemetry.tracing.finished import FinishedSpan
from serving.telemetry.tracing.names import NO_ATTRIBUTES, Attributes, TraceKind
from serving.telemetry.tracing.traceparent import format_traceparent, parse_traceparent

Ship = Callable[[FinishedSpan], None]
"""Takes one span that is over. Returns at once."""


class Trace:
    """A span that is open until `end`, and its finished children. All times: wall clock, nanoseconds since the epoch.

    ship: takes each span that ends. caller: (trace id, span id) of its parent, None makes it the first of a new trace. is_remote: whether
    the parent is another process's. links: traceparents of what it also comes from; malformed ones are left out."""

    __slots__ = (
        *("_id", "_is_remote", "_links", "_parent_id", "_ship", "_span_id", "_start_ns"),
        *("kind", "name", "trace_id", "tracestate"),
    )

    def __init__(
        self,
        ship: Ship,
        name: str,
        kind: TraceKind,
        caller: tuple[int, int] | None,
        start_ns: int | None = None,
        *,
        is_remote: bool = False,
        tracestate: str = "",
        links: Iterable[str] = (),
    ) -> None:
        self._ship = ship
        self.name, self.kind = name, kind
        """May be changed until `end`."""
        self._id, self._parent_id = (_random_bits(128), 0) if caller is None else caller
        self._span_id, self._is_remote = _random_bits(64), is_remote
        self._start_ns = time.time_ns() if start_ns is None else start_ns
        self._links = tuple([ids for ids in map(read_ids, links) if ids is not None])
        self.trace_id = format(self._id, "032x")
        """32 hex digits; the answer carries it in `parameters.trace_id`."""
        self.tracestate = tracestate
        """The caller's, which goes on beside the traceparent; empty if there was none."""

    @property
    def traceparent(self) -> str:
        """The W3C header that makes whoever is called next a child of this span."""
        return format_traceparent(self._id, self._span_id, is_sampled=True)

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
        own = _random_bits(64)
        self._ship(
            FinishedSpan(
                self._id, own, self._span_id, False, self.tracestate, name, "internal", start_ns, end_ns, attributes, (), error
            )
        )

    def begin(
        self, name: str, *, kind: TraceKind = "internal", start_ns: int | None = None, links: Iterable[str] = ()
    ) -> "Trace":
        """Open a child that has children, or a traceparent, of its own. links: traceparents of what it also comes from."""
        return Trace(self._ship, name, kind, (self._id, self._span_id), start_ns, tracestate=self.tracestate, links=links)

    def end(self, attributes: Attributes = NO_ATTRIBUTES, *, error: str | None = None, end_ns: int | None = None) -> None:
        """Close the span and hand it to the exporter. error: set when what it stands for was not done."""
        self._ship(
            FinishedSpan(
                self._id,
                self._span_id,
                self._parent_id,
                self._is_remote,
                self.tracestate,
                self.name,
                self.kind,
                self._start_ns,
                time.time_ns() if end_ns is None else end_ns,
                attributes,
                self._links,
                error,
            )
        )


def read_ids(traceparent: str) -> tuple[int, int] | None:
    """Trace and span that a header names; None if the header is malformed."""
    caller = parse_traceparent(traceparent)
    return None if caller is None else (int(caller[0], 16), int(caller[1], 16))


def _random_bits(bits: int) -> int:
    """Never 0, which the standard forbids."""
    return random.getrandbits(bits) or 1  # nosec B311  # names a span, hides nothing
