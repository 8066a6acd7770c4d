"""The traces that records come with. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from serving.stream.contract import STATE_HEADER, TRACE_HEADER
from serving.stream.ports import StreamRecord
from serving.telemetry.tracing.traceparent import parse_traceparent

MOST_LINKS: Final = 64
"""Records that the span of a batch names. OpenTelemetry keeps at most 128 links."""
MOST_TRACE: Final = 512
"""Bytes of a trace context that is read and passed on; the standard's own have 55."""
_TRACE_ID: Final = slice(3, 35)
_FLAGS: Final = slice(53, 55)


class TracesOfBatch(NamedTuple):
    """deciding: traceparent of the first sampled record; if none is, of the first that has one; None: none has. sampled: those of the first
    MOST_LINKS sampled records."""

    deciding: str | None
    sampled: tuple[str, ...]


def own_trace(record: StreamRecord) -> bytes | None:
    """The traceparent that a record came with, well-formed or not; None if it has none, or one that is too long."""
    for name, value in record.headers:
        if name == TRACE_HEADER and len(value) <= MOST_TRACE:
            return value
    return None


def own_state(record: StreamRecord, traceparent: bytes) -> bytes | None:
    """The tracestate that a record came with, for a message that has this traceparent; None if the message is in another trace, if there
    is none, or if it is too long to be passed on, which the W3C allows."""
    own = own_trace(record)
    if own is None or own[_TRACE_ID] != traceparent[_TRACE_ID]:
        return None
    return next((value for name, value in record.headers if name == STATE_HEADER and len(value) <= MOST_TRACE), None)


def sampled_trace(own: bytes | None) -> str | None:
    """The same as text if its sender samples, else None."""
    if own is None or own[_FLAGS] == b"00":
        return None
    text = own.decode("ascii", "replace")
    found = parse_traceparent(text)
    return text if found is not None and found[2] else None


def traces_of(batches: Iterable[Sequence[StreamRecord]]) -> TracesOfBatch:
    """Of these records, in their order."""
    first: str | None = None
    sampled: list[str] = []
    for records in batches:
        for record in records:
            if not record.headers:
                continue
            own = own_trace(record)
            text = sampled_trace(own)
            if text is None:
                first = first or _well_formed(own)
                continue
            sampled.append(text)
            if len(sampled) == MOST_LINKS:
                return TracesOfBatch(sampled[0], tuple(sampled))
    if sampled:
        return TracesOfBatch(sampled[0], tuple(sampled))
    return TracesOfBatch(first, ())


def _well_formed(own: bytes | None) -> str | None:
    text = "" if own is None else own.decode("ascii", "replace")
    return text if parse_traceparent(text) is not None else None
