"""The clock readings of one request, which become a trace if the request is sampled or kept.

One is made for each request while tracing is on. A request that is quick, good and not sampled costs its making and a tuple a reading;
spans, ids and attributes are made only for one that is sampled or kept."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from serving.messages import InferRequest
from serving.ports import Clock
from serving.telemetry.tracing.names import NO_ATTRIBUTES, Attributes, TraceKind
from serving.telemetry.tracing.tail import KeepReason
from serving.telemetry.tracing.trace import Trace
from serving.telemetry.tracing.tracer import SAMPLED, Tracer


class SpanSubject(Protocol):
    """What a part of a request is about: serving.scoring.row_group.RowGroup."""

    def span_attributes(self) -> Attributes:
        """What its spans say of it; no name that `attributes` of a reading has. Asked when the request is over."""
        ...


Reading = tuple[str, float, float, SpanSubject | None, Attributes, str | None]
"""A part that is over: its name, start, end, what it is about, more attributes, and the error that it ended in."""
Told = tuple[str, float, float, Attributes, Attributes, str | None]
"""The same, with what the subject said."""


class RequestTrace(msgspec.Struct, gc=False):  # it refers to nothing that refers to it
    """trace: None while the request is neither sampled nor kept. readings: in the seconds of `clock`."""

    tracer: Tracer
    request: InferRequest
    trace: Trace | None
    name: Callable[[InferRequest], tuple[str, TraceKind]]
    """Gives the name and kind of the request's span: `name(request)`."""
    clock: Clock | None = None
    started_s: float = 0.0
    """When scoring began, so its door had read it."""
    reason: str = SAMPLED
    readings: list[Reading] = []

    @property
    def trace_id(self) -> str | None:
        """32 hex digits; None if it has no trace, or none yet."""
        return None if self.trace is None else self.trace.trace_id

    def read(
        self,
        name: str,
        start_s: float,
        end_s: float,
        subject: SpanSubject | None = None,
        attributes: Attributes = NO_ATTRIBUTES,
        error: str | None = None,
    ) -> None:
        """Note that a part is over. error: set when that part failed."""
        self.readings.append((name, start_s, end_s, subject, attributes, error))

    def keep(self, reason: KeepReason) -> None:
        """Keep it, if it has no trace yet and the reason may keep one more."""
        if self.trace is not None:
            return
        name, kind = self.name(self.request)
        start_ns = self.request.arrived_ns or None
        self.trace = self.tracer.keep(reason, self.request.traceparent, name, kind=kind, start_ns=start_ns)
        self.reason = reason

    def offset_ns(self) -> int | None:
        """What the trace's wall clock is ahead of the readings' clock; None if scoring has not begun."""
        clock = self.clock
        return None if clock is None else clock.now_us() * 1000 - int(clock.monotonic_s() * 1e9)

    def told(self) -> list[Told]:
        """What was read so far, without what it was about: that may be large, and spans wait for a second."""
        last, said = None, NO_ATTRIBUTES
        found = []
        for name, start_s, end_s, subject, attributes, error in self.readings:
            if subject is not last:
                last, said = subject, NO_ATTRIBUTES if subject is None else subject.span_attributes()
            found.append((name, start_s, end_s, said, attributes, error))
        return found
