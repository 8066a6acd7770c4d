"""The spool of one sink: alerts are appended durably, read in order, and removed once the sink has taken them.

One thread appends, another reads and advances. A segment is removed when the cursor is behind it and no open fold needs it; the last
one always stays, so that repeats of the last batch are recognised after a crash. At the bound `when_full` decides: `wait` refuses
(SpoolFull: the alerts stay in the topic), `drop_oldest` removes the oldest segment and counts its alerts."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from serving.sinks.errors import SpoolError, SpoolFull
from serving.sinks.spool.frames import FOLD, MAGIC, SpoolFrame, decode_frame, encode_frame, frames
from serving.sinks.spool.segments import (
    SpoolPlace,
    append_synced,
    begin_segment,
    lock_folder,
    path_of,
    read_cursor,
    repaired,
    segment_numbers,
    write_cursor,
)

_log = logging.getLogger("vedette.sinks")
MOST_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 1024 * 1024


class Spooled(NamedTuple):
    """One alert to send. after: where the reader stands once it is delivered."""

    payload: bytes
    time_ms: int
    after: SpoolPlace


class Spool:
    """A spool in a folder. most_bytes: its bound on disk. Raises SpoolError where the folder cannot be used."""

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int = 1024**3,
        when_full: Literal["wait", "drop_oldest"] = "wait",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.folder, self.most_bytes, self._when_full, self._now_ms = folder, most_bytes, when_full, now_ms
        self._segment_bytes = max(min(MOST_SEGMENT_BYTES, most_bytes // 8), 4096)
        self._lock = threading.RLock()
        self._grown = threading.Condition(self._lock)
        self._keep_from: int | None = None
        self._is_broken = self._is_closed = False
        self.dropped = 0
        """Alerts that were removed undelivered, because the spool was full."""
        self._file = lock_folder(folder)
        try:
            self._open()
        except OSError as problem:
            os.close(self._file)  # else nobody could open the spool while this process lives
            raise SpoolError(f"{folder}: the spool cannot be opened: {problem}") from problem

    def _open(self) -> None:
        numbers = segment_numbers(self.folder)
        self.place = read_cursor(self.folder, numbers)
        self._sizes: dict[int, int] = {}
        self._alerts: dict[int, int] = {}
        self.waiting = 0
        """Alerts that are not delivered."""
        self.records = 0
        """Records that were there when it was opened."""
        for number in numbers:
            here = 0
            for frame in repaired(self.folder, number):
                self.records += 1
                here += frame.kind != FOLD and SpoolPlace(number, frame.end) > self.place
            self._sizes[number] = path_of(self.folder, number).stat().st_size
            self._alerts[number] = here
            self.waiting += here
        if numbers:
            self._number = numbers[-1]
            self._descriptor = os.open(path_of(self.folder, self._number), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        else:
            self._number = self.place.segment
            self._descriptor = begin_segment(self.folder, self._number)
            self._sizes[self._number], self._alerts[self._number] = len(MAGIC), 0
        if self.place.segment > self._number or self.place.offset > self._sizes.get(self.place.segment, self.place.offset):
            self.place = SpoolPlace(self._number, self._sizes[self._number])

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, those of delivered alerts that are not removed yet included."""
        return sum(self._sizes.values())

    def replay(self) -> Iterator[tuple[int, SpoolFrame]]:
        """Segment and record of everything that is on disk, delivered or not. To be read before anything is appended."""
        for number in list(self._sizes):
            for frame in frames(path_of(self.folder, number).read_bytes()):
                yield number, frame

    def keep_from(self, number: int | None) -> None:
        """Keep segments from this one on, though their alerts are delivered: an open fold needs them. None: none is needed."""
        self._keep_from = number

    @property
    def is_held(self) -> bool:
        """Whether segments are on disk only because `keep_from` keeps them."""
        return self._keep_from is not None and self._keep_from < self.place.segment

    def append(self, records: Sequence[tuple[int, bytes]], *, is_bounded: bool = True) -> int:
        """Append records (kind, payload), durably when it returns, into one segment; its number. Raises SpoolFull, SpoolError.

        is_bounded: whether the bound holds. It does not for summaries, which make room: there are at most as many as open folds."""
        now_ms = self._now_ms()
        data = b"".join(encode_frame(kind, now_ms, payload) for kind, payload in records)
        with self._lock:
            try:
                if is_bounded:
                    self._make_room(len(data))
                if self._is_broken or self._sizes[self._number] >= self._segment_bytes:
                    self._rotate()
                self._is_broken = True  # after a failed write or sync the file is not trusted with more
                append_synced(self._descriptor, data, self._sizes[self._number])
                self._is_broken = False
            except OSError as problem:
                raise SpoolError(f"{self.folder}: alerts cannot be spooled: {problem}") from problem
            added = sum(kind != FOLD for kind, _ in records)
            self._sizes[self._number] += len(data)
            self._alerts[self._number] += added
            self.waiting += added
            self._grown.notify_all()
            return self._number

    def read(self, most: int, most_bytes: int) -> list[Spooled]:
        """The next alerts that are not delivered, in order: at most `most`, and `most_bytes` unless a single one is larger."""
        with self._lock:
            place, end = self.place, self._number
            sizes = dict(self._sizes)
        found: list[Spooled] = []
        taken = 0
        while len(found) < most:
            if place.offset >= sizes.get(place.segment, 0):
                following = min((number for number in sizes if number > place.segment), default=None)
                if following is None or following > end:
                    break
                place = SpoolPlace(following, len(MAGIC))
                continue
            chunk = self._chunk(place, sizes[place.segment])
            at = 0
            while len(found) < most and (frame := decode_frame(chunk, at, place.offset)) is not None:
                if frame.kind != FOLD:
                    if found and taken + len(frame.payload) > most_bytes:
                        return found
                    found.append(Spooled(frame.payload, frame.time_ms, SpoolPlace(place.segment, frame.end)))
                    taken += len(frame.payload)
                at = frame.end - place.offset
            if at:
                place = SpoolPlace(place.segment, place.offset + at)
            elif found or not path_of(self.folder, place.segment).exists():
                break  # removed meanwhile (drop_oldest): the next look begins where it ends
            else:
                self._skip_damaged(place)
                return self.read(most, most_bytes)
        if not found:  # what lies between is folded: it need not be looked at again
            with self._lock:
                self.place = max(self.place, place)
        return found

    def _skip_damaged(self, place: SpoolPlace) -> None:
        """The disk lost what it held: go on with the next segment. Raises SpoolError if there is none."""
        with self._lock:
            following = min((number for number in self._sizes if number > place.segment), default=None)
            if following is None:
                raise SpoolError(f"{path_of(self.folder, place.segment)}: damaged at byte {place.offset}; restart to repair it")
            lost = self._alerts[place.segment]
            self.waiting -= lost
            self.dropped += lost
            self._alerts[place.segment] = 0
            self.place = SpoolPlace(following, len(MAGIC))
            _log.error("%s: damaged at byte %d; %d alerts are lost", path_of(self.folder, place.segment), place.offset, lost)

    def advance(self, delivered: Sequence[Spooled]) -> None:
        """These are delivered, the next ones in order; segments that nobody needs are removed. Raises SpoolError."""
        with self._lock:
            for one in delivered:
                if one.after.segment in self._alerts and one.after > self.place:  # else dropped meanwhile
                    self._alerts[one.after.segment] -= 1
                    self.waiting -= 1
            self.place = max(self.place, delivered[-1].after)
            try:
                write_cursor(self.folder, self.place)
                self._remove(before=self._unneeded_before())
            except OSError as problem:
                raise SpoolError(f"{self.folder}: the cursor cannot be written: {problem}") from problem

    def wait(self, timeout_s: float) -> bool:
        """Wait until something is to be read, or the time is over; True: there is something."""
        with self._grown:
            return self.waiting > 0 or (self._grown.wait(timeout_s) and self.waiting > 0)

    def wake(self) -> None:
        """End a `wait`."""
        with self._grown:
            self._grown.notify_all()

    def oldest_ms(self) -> int | None:
        """When the oldest alert that is not delivered was spooled; None: there is none."""
        found = self.read(1, 1) if self.waiting else []
        return found[0].time_ms if found else None

    def close(self) -> None:
        """Let go of the files; the spool stays on disk. A second call does nothing."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._descriptor)
                os.close(self._file)

    def _chunk(self, place: SpoolPlace, size: int) -> bytes:
        try:
            with path_of(self.folder, place.segment).open("rb") as file:
                file.seek(place.offset)
                chunk = file.read(min(_READ_BYTES, size - place.offset))
                if decode_frame(chunk, 0) is None:  # a record that is longer than that
                    file.seek(place.offset)
                    chunk = file.read(size - place.offset)
                return chunk
        except FileNotFoundError:
            return b""
        except OSError as problem:
            raise SpoolError(f"{self.folder}: the spool cannot be read: {problem}") from problem

    def _make_room(self, size: int) -> None:
        self._remove(before=self._unneeded_before())
        while self.size_bytes + size > self.most_bytes:
            if self._when_full == "wait" or (len(self._sizes) == 1 and self._sizes[self._number] == len(MAGIC)):
                raise SpoolFull(
                    f"{self.folder}: the spool has {self.size_bytes:,} of {self.most_bytes:,} bytes; "
                    "alerts wait in the topic until the sink takes some"
                )
            if len(self._sizes) == 1:
                self._rotate()
            oldest = min(self._sizes)
            lost = self._alerts[oldest]
            self.dropped += lost
            self.waiting -= lost
            _log.error("%s: the spool is full; %d undelivered alerts were dropped", self.folder, lost)
            self._remove(before=oldest + 1)
            self.place = max(self.place, SpoolPlace(min(self._sizes), len(MAGIC)))
            write_cursor(self.folder, self.place)

    def _rotate(self) -> None:
        fresh = begin_segment(self.folder, self._number + 1)
        os.close(self._descriptor)
        self._number, self._descriptor, self._is_broken = self._number + 1, fresh, False
        self._sizes[self._number], self._alerts[self._number] = len(MAGIC), 0

    def _unneeded_before(self) -> int:
        """The cursor's segment is needed, unless the cursor is at its end and it is not the last."""
        needed = [self.place.segment, self._number]
        if self._keep_from is not None:
            needed.append(self._keep_from)
        return min(needed)

    def _remove(self, before: int) -> None:
        for number in [number for number in self._sizes if number < before and number != self._number]:
            path_of(self.folder, number).unlink(missing_ok=True)
            del self._sizes[number], self._alerts[number]
