"""Spans of one batch of records. It is dealt with in one trace, that of its first sampled record.

A sampled record of another trace gets a `process` span there, with a link to the batch's, so that each trace is whole. In one batch at most
MOST_APART records do; the others pass their own trace on."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec

from serving.stream.contract import TRACE_HEADER
from serving.stream.ports import OutRecord, StreamRecord
from serving.stream.spans.contexts import own_trace, sampled_trace, traces_of
from serving.telemetry.tracing.message_names import (
    COUNT,
    DESTINATION,
    GROUP,
    MESSAGES,
    OFFSET,
    OPERATION,
    OPERATION_TYPE,
    PARTITION,
    PROCESS,
    SEND,
    SYSTEM,
)
from serving.telemetry.tracing.names import Attributes
from serving.telemetry.tracing.trace import Trace
from serving.telemetry.tracing.tracer import Tracer

MOST_APART: Final = 64
_TRACE_ID: Final = slice(3, 35)


class _Apart(NamedTuple):
    span: Trace
    record: StreamRecord


class _Sending:
    def __init__(self, span: Trace, topic: str) -> None:
        self.span, self.topic, self.header, self.messages = span, topic, span.traceparent.encode(), 0


class BatchSpans:
    """Of one batch; not traced until `begin`. traceparent: the batch's trace, for calls about it, sampled or not."""

    def __init__(self) -> None:
        self.traceparent: str | None = None
        self._tracer: Tracer | None = None
        self._trace: Trace | None = None
        self._attributes: Attributes = {}
        self._topic = ""
        self._began_ns = 0
        self._apart: dict[str, _Apart] = {}
        self._sending: dict[tuple[str, str], _Sending] = {}

    @property
    def trace_of(self) -> Callable[[str, StreamRecord], bytes | None] | None:
        """What traceparent a message has, by its topic and the record that it is about; None: the record's own."""
        return self._of_message if self._trace is not None else None

    def begin(self, tracer: Tracer, batches: Sequence[Sequence[StreamRecord]], attributes: Attributes) -> None:
        """Start the span if the batch is sampled: as its records' senders decided, else by the coin."""
        self._tracer, self._began_ns, self._attributes = tracer, time.time_ns(), attributes
        self._topic = batches[0][0].partition.topic
        found = traces_of(batches)
        name = f"{PROCESS} {self._topic}"
        self._trace = tracer.begin(found.deciding, name, kind="consumer", start_ns=self._began_ns, links=found.sampled)
        self.traceparent = self._trace.traceparent if self._trace is not None else found.deciding or _unsampled()

    def counted(self) -> None:
        """The events were counted in the states."""
        if self._trace is not None:
            self._trace.span(COUNT, self._began_ns, time.time_ns())

    def _of_message(self, topic: str, record: StreamRecord) -> bytes | None:
        own = own_trace(record) if record.headers else None
        if self._trace is None:
            return own
        text = sampled_trace(own)
        if text is None:
            return own if own is not None else self._sent(topic, "", self._trace)
        if text[_TRACE_ID] == self._trace.trace_id:
            return self._sent(topic, "", self._trace)
        span = self._own_process(record, text, self._trace)
        return own if span is None else self._sent(topic, record.id, span)

    def with_trace(self, messages: Sequence[OutRecord]) -> Sequence[OutRecord]:
        """Messages that come of the whole batch, with its trace if it has one."""
        trace = self._trace
        if trace is None:
            return messages
        return [
            msgspec.structs.replace(one, headers=(*one.headers, (TRACE_HEADER, self._sent(one.topic, "", trace))))
            for one in messages
        ]

    def end(self, messages: int, error: str | None = None) -> None:
        """Everything that comes of it is written. error: why it is not."""
        for sending in self._sending.values():
            sending.span.end(
                {
                    SYSTEM: self._attributes[SYSTEM],
                    DESTINATION: sending.topic,
                    OPERATION: SEND,
                    OPERATION_TYPE: SEND,
                    MESSAGES: sending.messages,
                },
                error=error,
            )
        reading = _of_reading(self._attributes, self._topic)
        for span, record in self._apart.values():
            span.end(_of_record(reading, record), error=error)
        if self._trace is not None:
            self._trace.end({**reading, MESSAGES: messages}, error=error)

    def _own_process(self, record: StreamRecord, traceparent: str, batch: Trace) -> Trace | None:
        known = self._apart.get(record.id)
        if known is not None:
            return known.span
        if self._tracer is None or len(self._apart) == MOST_APART:
            return None
        name = f"{PROCESS} {self._topic}"
        span = self._tracer.begin(traceparent, name, kind="consumer", start_ns=self._began_ns, links=(batch.traceparent,))
        if span is not None:
            self._apart[record.id] = _Apart(span, record)
        return span

    def _sent(self, topic: str, about: str, parent: Trace) -> bytes:
        sending = self._sending.get((topic, about))
        if sending is None:
            sending = _Sending(parent.begin(f"{SEND} {topic}", kind="producer"), topic)
            self._sending[topic, about] = sending
        sending.messages += 1
        return sending.header


class StreamSpans:
    """Of one member of a group. tracer: None, or one that is off: nothing is traced. system: as the conventions call the broker."""

    def __init__(self, tracer: Tracer | None = None, system: str = "kafka", group: str = "") -> None:
        self._tracer = tracer if tracer is not None and tracer.is_on else None
        self._attributes: Attributes = {SYSTEM: system, GROUP: group}

    @contextmanager
    def batch(self, batches: Sequence[Sequence[StreamRecord]]) -> Iterator[BatchSpans]:
        """For as long as the records are dealt with; an exception is the span's error. batches: none is empty."""
        spans = BatchSpans()
        if self._tracer is not None:
            spans.begin(self._tracer, batches, self._attributes)
        messages = sum(map(len, batches))
        try:
            yield spans
        except BaseException as problem:
            spans.end(messages, error=str(problem) or type(problem).__name__)
            raise
        spans.end(messages)

    def set_aside(self, record: StreamRecord, reason: str) -> None:
        """A record that is no event, or that the model refuses: a span with the error in its own trace, if that is sampled."""
        text = sampled_trace(own_trace(record)) if self._tracer is not None and record.headers else None
        if self._tracer is None or text is None:
            return
        topic = record.partition.topic
        span = self._tracer.begin(text, f"{PROCESS} {topic}", kind="consumer")
        if span is not None:
            span.end(_of_record(_of_reading(self._attributes, topic), record), error=reason)


def _of_reading(group: Attributes, topic: str) -> Attributes:
    return {**group, DESTINATION: topic, OPERATION: PROCESS, OPERATION_TYPE: PROCESS}


def _of_record(reading: Attributes, record: StreamRecord) -> Attributes:
    return {**reading, PARTITION: str(record.partition.number), OFFSET: record.offset}


def _unsampled() -> str:
    """A trace that is not sampled. The called service then does not sample it either."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
