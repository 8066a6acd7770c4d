"""Events held back until the watermark reaches them, so that events that come out of order are counted and scored in order. Pure.

The watermark of a partition is its newest event time less the disorder that is allowed. What comes behind it is late: it is released at
once, and counted in windows if it is not later than allowed. Nothing is dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

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


class _Chunk(NamedTuple):
    """Events that came together. offsets: shape (n,), of their records."""

    events: StreamEvents
    offsets: NDArray[np.int64]

    def take(self, index: NDArray[np.intp]) -> "_Chunk":
        """Some of them."""
        return _Chunk(self.events.take(index), self.offsets[index])


class HeldEvents:
    """The events of one partition that wait. newest_us: newest event time seen. floor_us: up to here events were released early, because
    the partition was idle or held too many; the watermark does not go behind it."""

    def __init__(self, limits: HoldLimits, newest_us: int = _LONG_AGO, floor_us: int = _LONG_AGO) -> None:
        self._limits = limits
        self._chunks: list[_Chunk] = []
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
        offsets = np.array([record.offset for record in events.records], np.int64)
        self._chunks.append(_Chunk(events.flagged(is_late, is_counted), offsets))
        self.count += len(times)
        self.newest_us = max(self.newest_us, int(times.max()))

    def release(self) -> StreamEvents | None:
        """The events that wait no longer. In order of event time, then of offset; without disorder in order of arrival."""
        if not self._chunks:
            return None
        if not self._limits.disorder_us:
            return self._all()
        if self.count > self._limits.max_held:
            times = np.concatenate([chunk.events.times_us for chunk in self._chunks])
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
        return np.sort(_offsets(self._chunks))

    def _all(self) -> StreamEvents:
        chunks, self._chunks, self.count = self._chunks, [], 0
        return joined([chunk.events for chunk in chunks])

    def _until(self, watermark_us: int) -> StreamEvents | None:
        out: list[_Chunk] = []
        kept: list[_Chunk] = []
        for chunk in self._chunks:
            is_due = chunk.events.times_us <= watermark_us
            if is_due.all():
                out.append(chunk)
            elif is_due.any():
                out.append(chunk.take(np.flatnonzero(is_due)))
                kept.append(chunk.take(np.flatnonzero(~is_due)))
            else:
                kept.append(chunk)
        self._chunks = kept if len(kept) <= _MANY_CHUNKS else [_joined(kept)]
        if not out:
            return None
        events, offsets = _joined(out)
        self.count -= len(events)
        order = np.lexsort((offsets, events.times_us))
        return events if (order[1:] > order[:-1]).all() else events.take(order)


def _joined(chunks: Sequence[_Chunk]) -> _Chunk:
    return _Chunk(joined([chunk.events for chunk in chunks]), _offsets(chunks))


def _offsets(chunks: Sequence[_Chunk]) -> NDArray[np.int64]:
    return np.concatenate([chunk.offsets for chunk in chunks]) if chunks else np.zeros(0, np.int64)
