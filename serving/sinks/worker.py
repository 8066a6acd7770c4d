"""The process that feeds the sinks: reads alerts, has every sink spool them durably, then records the position in the topic.

An alert that a sink's spool has not is not recorded, so whatever ends this process loses none. While a spool is full (`wait`) nothing is
read, for any sink; the worker stays in its group meanwhile."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from serving.sinks.alert import SinkAlert, WrongAlert, read_alert
from serving.sinks.errors import SpoolError
from serving.sinks.opening import OpenSink
from serving.sinks.pipeline import SinkPipeline
from serving.sinks.spool.dead_letters import DeadLetters
from serving.stream.ports import Fenced, Partition, Position, StreamError, StreamRecord, StreamSource
from serving.stream.spans.contexts import own_trace, sampled_trace

_log = logging.getLogger("vedette.sinks")
_MOST: Final = 500
_POLL_S: Final = 0.2
_HOLD_S: Final = 0.1
STANDS_STILL_S: Final = 120.0
"""A loop that did not turn for so long stands still. Flushing a slow disk may take a while."""


class OwnedPartitions:
    """Port Ownership of the sinks: nothing is kept for a partition."""

    def __init__(self) -> None:
        self.now: set[Partition] = set()

    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        """See the port."""
        self.now |= partitions.keys()
        return dict.fromkeys(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """See the port."""
        self.now -= set(partitions)

    lost = revoked

    def renewed(self, partition: Partition, offset: int) -> None:
        """See the port."""


@dataclass(slots=True)
class SinkWorker:
    """Feeds sinks from a source. commit: records positions. after: the offset behind a record, as the source counts. is_done: whether the
    source has ended; then the worker ends once everything is delivered."""

    source: StreamSource
    commit: Callable[[Mapping[Partition, Position]], None]
    sinks: Sequence[OpenSink]
    dead: DeadLetters
    owned: OwnedPartitions
    after: Callable[[StreamRecord], int] = lambda record: record.offset + 1
    is_done: Callable[[], bool] = lambda: False
    clock_s: Callable[[], float] = time.monotonic
    stopped: threading.Event = field(default_factory=threading.Event)
    read: int = 0
    """Alerts that were read."""
    has_polled: bool = False
    behind: int = 0
    """Records of the source that were not read yet, as far as it knows."""
    is_held: bool = False
    """Whether alerts wait because a spool is full or cannot be written."""
    _ahead: list[StreamRecord] = field(default_factory=list)
    _turned_s: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)
    _said: str = ""

    def run(self) -> None:
        """Work until `stopped` is set, or the source has ended and all is delivered. Raises StreamError if the source cannot be read."""
        self._turned_s = self.clock_s()
        for sink in self.sinks:
            thread = threading.Thread(target=sink.delivery.run, name=f"sink-{sink.name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            while not self.stopped.is_set():
                self._turned_s = self.clock_s()
                records = self._ahead or self.source.poll(_MOST, _POLL_S)
                self._ahead = []
                self.has_polled = True
                if records and not self._take(records):
                    break
                self.behind = sum(self.source.behind().values())
                self._tick()
                if not records and self.is_done() and self._is_delivered():
                    break
        finally:
            self._end()

    def is_ready(self) -> bool:
        """Whether alerts are read and can be spooled."""
        return self.has_polled and not self.is_held

    def is_alive(self) -> bool:
        """Whether the loop turns, and each sink's thread is there."""
        return self.clock_s() - self._turned_s < STANDS_STILL_S and all(thread.is_alive() for thread in self._threads)

    def _take(self, records: Sequence[StreamRecord]) -> bool:
        """Have every sink spool a batch, then record the place; False: told to stop before that."""
        alerts: list[SinkAlert] = []
        wrong: list[tuple[StreamRecord, str]] = []
        for record in records:
            try:
                alert = read_alert(record.value)
                traced = sampled_trace(own_trace(record)) if record.headers else None
                alerts.append(alert if traced is None else msgspec.structs.replace(alert, traceparent=traced))
            except WrongAlert as problem:
                wrong.append((record, str(problem)))
        now_s = self.clock_s()
        left: list[Callable[[], None]] = [self._setting_aside(wrong)] if wrong else []
        left += [_taking(sink.pipeline, alerts, now_s) for sink in self.sinks]
        while left := [one for one in left if not self._has_done(one)]:
            if self.stopped.is_set():
                return False
            self._hold()
        if self.is_held:
            self.is_held, self._said = False, ""
            self.source.resume(sorted(self.owned.now))
        self.read += len(alerts)
        return self._record_place(records)

    def _has_done(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except SpoolError as problem:
            self._say(str(problem))
            return False
        return True

    def _hold(self) -> None:
        """Wait for room, and stay in the group. What comes all the same waits its turn."""
        self.is_held = True
        self.source.pause(sorted(self.owned.now))
        self._ahead += self.source.poll(1, _HOLD_S)
        self._turned_s = self.clock_s()
        self.stopped.wait(_HOLD_S)

    def _record_place(self, records: Sequence[StreamRecord]) -> bool:
        positions: dict[Partition, Position] = {}
        for record in records:
            if record.partition in self.owned.now:
                positions[record.partition] = Position(self.after(record))
        try:
            if positions:
                self.commit(positions)
        except Fenced as problem:
            self._say(f"{problem}; what was read of it comes again elsewhere")
        except (StreamError, SpoolError) as problem:
            self._say(f"the place in the topic could not be recorded, so alerts are read again after a restart: {problem}")
        for sink in self.sinks:
            sink.pipeline.committed()
        return True

    def _setting_aside(self, wrong: Sequence[tuple[StreamRecord, str]]) -> Callable[[], None]:
        rest = list(wrong)

        def act() -> None:
            while rest:
                record, reason = rest[0]
                self.dead.put(record.value or b"", reason, time.time_ns() // 1000, record.id)
                _log.warning("%s is set aside in %s: %s", record.id, self.dead.path, reason)
                del rest[0]

        return act

    def _tick(self) -> None:
        is_last = self.is_done()
        for sink in self.sinks:
            self._has_done(lambda sink=sink: sink.pipeline.tick(self.clock_s(), is_last=is_last))  # type: ignore[misc]

    def _is_delivered(self) -> bool:
        return all(sink.spool.waiting == 0 for sink in self.sinks)

    def _end(self) -> None:
        for sink in self.sinks:
            sink.delivery.stopped.set()
            sink.spool.wake()
        for thread in self._threads:
            thread.join()
        self.source.close()
        for sink in self.sinks:
            sink.spool.close()

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            _log.warning("%s", words)


def _taking(pipeline: SinkPipeline, alerts: Sequence[SinkAlert], now_s: float) -> Callable[[], None]:
    """The first call decides and spools; further ones spool what could not be spooled."""
    is_first = True

    def act() -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            pipeline.take(alerts, now_s)
        else:
            pipeline.flush()

    return act
