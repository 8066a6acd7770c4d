"""A member of a consumer group without state: reads a batch, processes it, then records its position.

What cannot be dealt with now is tried again, in order; nothing is passed over. A batch that was dealt with but not recorded is read again
by the next member, so what is done with it must bear repetition."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from serving.stream.ports import (
    Fenced,
    OutRecord,
    Ownership,
    Partition,
    Position,
    StreamError,
    StreamOutputs,
    StreamRecord,
    StreamSource,
)
from serving.stream.spans.batch_spans import BatchSpans, StreamSpans

MOST_TOGETHER: Final = 2000
_WAIT_S: Final = 0.25
_FIRST_PAUSE_S: Final = 0.1
_MOST_PAUSE_S: Final = 5.0
_NAP_S: Final = 0.05
_log = logging.getLogger("vedette.risk")

JoinGroup = Callable[[Ownership], tuple[StreamSource, StreamOutputs]]


class NotNow(Exception):
    """A batch cannot be dealt with now; the message says why. It is tried again."""


class RecordHandler(Protocol):
    """Deals with records."""

    def handle(self, records: Sequence[StreamRecord], traceparent: str | None = None) -> Sequence[OutRecord]:
        """Deal with these; what to write because of them. traceparent: for calls about them. Raises NotNow."""
        ...


class GroupLoop:
    """Runs a handler in the calling thread until `is_stopping`. A member whose partitions went to another one reads anew.

    spans: None: nothing is traced."""

    def __init__(
        self, connect: JoinGroup, handler: RecordHandler, is_stopping: Callable[[], bool], spans: StreamSpans | None = None
    ) -> None:
        self._connect, self._handler, self._is_stopping = connect, handler, is_stopping
        self._spans = spans or StreamSpans()
        self._positions: dict[Partition, Position] = {}
        self._owned: set[Partition] = set()
        self._outputs: StreamOutputs | None = None
        self.retries = 0

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that it reads."""
        return frozenset(self._owned)

    def run(self) -> None:
        """Work until asked to stop. Raises StreamError if the group cannot be joined at first."""
        is_first, pause_s = True, _FIRST_PAUSE_S
        while not self._is_stopping():
            source = outputs = None
            try:
                source, outputs = self._connect(self)
                self._outputs, is_first = outputs, False
                self._work(source, outputs)
            except StreamError as problem:
                if is_first and not isinstance(problem, Fenced):
                    raise
                self.retries += 1
                self._positions.clear()  # they could not be recorded just now: leaving does not wait for it once more
                _log.warning("%s; it is read anew", problem)
                self._rest(pause_s)
                pause_s = min(pause_s * 2, _MOST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S
            finally:
                self._leave(source, outputs)

    def _rest(self, pause_s: float) -> None:
        """Wait, but not on when asked to stop."""
        until = time.monotonic() + pause_s
        while (left := until - time.monotonic()) > 0 and not self._is_stopping():
            time.sleep(min(left, _NAP_S))

    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        """See Ownership: each is read from its committed position."""
        self._owned |= set(partitions)
        return {partition: None if position is None else position.offset for partition, position in partitions.items()}

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """See Ownership: what was dealt with is recorded first."""
        try:
            if self._outputs is not None and self._positions:
                self._outputs.commit(dict(self._positions))
        except StreamError as problem:
            _log.warning("%s; what was dealt with is read again by the next member", problem)
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """See Ownership."""
        self._owned -= set(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)

    def renewed(self, partition: Partition, offset: int) -> None:
        """See Ownership: the place in the old topic is none in the new one."""
        self._positions.pop(partition, None)

    def _work(self, source: StreamSource, outputs: StreamOutputs) -> None:
        while not self._is_stopping():
            records = source.poll(MOST_TOGETHER, _WAIT_S)
            if records:
                with self._spans.batch([records]) as spans:
                    self._deal_with(source, outputs, records, spans)

    def _deal_with(
        self, source: StreamSource, outputs: StreamOutputs, records: Sequence[StreamRecord], spans: BatchSpans
    ) -> None:
        written = self._patiently(source, records, spans.traceparent)
        if written is None:
            return
        if written:
            outputs.send(spans.with_trace(written))
        for record in records:
            if record.partition in self._owned:
                self._positions[record.partition] = Position(record.offset + 1)
        outputs.commit(dict(self._positions))
        self._positions.clear()

    def _patiently(
        self, source: StreamSource, records: Sequence[StreamRecord], traceparent: str | None
    ) -> Sequence[OutRecord] | None:
        """Deal with records, again and again; meanwhile nothing is read, and the group hears of this member. None: asked to stop."""
        pause_s, is_paused = _FIRST_PAUSE_S, False
        while not self._is_stopping():
            try:
                written = self._handler.handle(records, traceparent)
            except NotNow as problem:
                self.retries += 1
                if not is_paused:
                    _log.warning("%s; it is tried again", problem)
                    is_paused = True
                until = time.monotonic() + pause_s
                while time.monotonic() < until and not self._is_stopping():
                    source.pause(list(self._owned))
                    if source.poll(1, _WAIT_S / 5):
                        raise StreamError("records came from a paused partition") from problem
                pause_s = min(pause_s * 2, _MOST_PAUSE_S)
            else:
                if is_paused:
                    source.resume(list(self._owned))
                return written
        return None

    def _leave(self, source: StreamSource | None, outputs: StreamOutputs | None) -> None:
        for close in (source, outputs):
            try:
                if close is not None:
                    close.close()
            except StreamError as problem:
                _log.info("while leaving the group: %s", problem)
        self._positions.clear()
        self._owned.clear()
        self._outputs = None
