"""Events held back until the watermark reaches them, so that events that come out of order are counted and scored in order. Pure.

The watermark of a partition is its newest event time less the disorder that is allowed. What comes behind it is late: it is released at
once, and counted in windows if it is not later than allowed. Nothing is dropped."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.stream.events import StreamEvents, joined

_LONG_AGO: Final = -(2**62)
_MANY_CHUNKS: Final = 64


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """Microseconds of event time that events may be out of order, and late; and how many events are held at most."""

    disorder_us: int
    lateness_us: int
    max_held: int


class HeldEvents:
    """The events of one partition that wait. newest_us: newest event time seen. floor_us: up to here events were released early, because
    the partition was idle or held too many; the watermark does not go behind it."""

    def __init__(self, limits: HoldLimits, newest_us: int = _LONG_AGO, floor_us: int = _LONG_AGO) -> None:
        self._limits = limits
        self._chunks: list[StreamEvents] = []
        self.newest_us, self.floor_us = newest_us, floor_us
        self.count = 0

    @property
    def watermark_us(self) -> int | None:
        """Events before it are late; None before the first event."""
        if self.newest_us == _LONG_AGO:
            return None
        return max(self.newest_us - self._limits.disorder_us, self.floor_us)

    def add(self, events: StreamEvents) -> None:
        """Hold these, in order of arrival; says of each whether it is late."""
        times, limits = events.times_us, self._limits
        before = np.empty(len(times), np.int64)
        before[0] = self.newest_us
        np.maximum.accumulate(times[:-1], out=before[1:])
        np.maximum(before, self.newest_us, out=before)
        before = np.maximum(np.maximum(before, _LONG_AGO + limits.disorder_us) - limits.disorder_us, self.floor_us)
        is_late = times < before
        is_counted = events.is_counted
        if is_late.any():
            is_counted = is_counted & (times >= before - limits.lateness_us)
        self._chunks.append(events.flagged(is_late, is_counted))
        self.count += len(times)
        self.newest_us = max(self.newest_us, int(times.max()))

    def release(self) -> StreamEvents | None:
        """The events that wait no longer. In order of event time, then of offset; without disorder in order of arrival."""
        if not self._chunks:
            return None
        if not self._limits.disorder_us:
            return self._all()
        if self.count > self._limits.max_held:
            times = np.concatenate([chunk.times_us for chunk in self._chunks])
            at = self.count - self._limits.max_held - 1
            self.floor_us = max(self.floor_us, int(np.partition(times, at)[at]))
        return self._until(self.watermark_us or 0)

    def release_all(self) -> StreamEvents | None:
        """Everything that is held, because the partition is idle."""
        if not self._chunks:
            return None
        self.floor_us = max(self.floor_us, self.newest_us)
        return self._until(self.newest_us)

    def offsets(self) -> NDArray[np.int64]:
        """Offsets of what is held, sorted."""
        return np.sort(np.array([r.offset for chunk in self._chunks for r in chunk.records], np.int64))

    def _all(self) -> StreamEvents:
        events = joined(self._chunks)
        self._chunks, self.count = [], 0
        return events

    def _until(self, watermark_us: int) -> StreamEvents | None:
        out: list[StreamEvents] = []
        kept: list[StreamEvents] = []
        for chunk in self._chunks:
            is_due = chunk.times_us <= watermark_us
            if is_due.all():
                out.append(chunk)
            elif is_due.any():
                out.append(chunk.take(np.flatnonzero(is_due)))
                kept.append(chunk.take(np.flatnonzero(~is_due)))
            else:
                kept.append(chunk)
        self._chunks = kept if len(kept) <= _MANY_CHUNKS else [joined(kept)]
        if not out:
            return None
        events = joined(out)
        self.count -= len(events)
        offsets = np.array([r.offset for r in events.records], np.int64)
        order = np.lexsort((offsets, events.times_us))
        return events if (order[1:] > order[:-1]).all() else events.take(order)
