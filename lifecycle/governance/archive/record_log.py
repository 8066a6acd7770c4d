"""The prediction log as a whole: the live segments in its folder, and the archived ones. It reads lines and proves nothing."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.archive.parquet import read_lines
from lifecycle.governance.archive.place import SUFFIX, ArchivePlace
from serving.audit.record import REFUSED
from serving.audit.segment_files import SegmentFiles, newest_checkpoint, read_entries, segments_in


class RecordHead(msgspec.Struct, frozen=True):
    """The fields by which records are chosen."""

    time_us: int
    receipt: str
    model: str
    tenant: str = ""
    source: str = ""


_HEADS: Final = msgspec.json.Decoder(RecordHead)


def _head(line: bytes) -> RecordHead | None:
    """The fields by which a line is chosen; None if it is not a record."""
    try:
        return _HEADS.decode(line)
    except (ValueError, RecursionError):  # no JSON, no record, no UTF-8, or nested without end
        return None


@dataclass(frozen=True, slots=True)
class LogSegment:
    """One segment, live or archived. archive: where it is archived; None for a live one."""

    files: SegmentFiles
    archive: ArchivePlace | None = None

    def entries(self) -> Iterator[bytes]:
        """The lines, byte for byte, without their newline. Raises OSError, ArchiveError."""
        if self.archive is None:
            return read_entries(self.files.records)
        return read_lines(self.archive, self.files.stem + SUFFIX)

    def until_us(self) -> float:
        """The time of its final checkpoint, microseconds since the epoch: no record is later. Infinity while the segment grows."""
        newest = newest_checkpoint(self.files)
        return newest.time_us if newest is not None and newest.is_final else math.inf


@dataclass(frozen=True, slots=True)
class RecordChoice:
    """Which records: by model, by receipt, by time in microseconds since the epoch (from inclusive, to exclusive), by the caller's tenant
    (empty: of callers without one); None means any. is_answer: only answers, not what a replica wrote of a bundle that it refused."""

    model: str | None = None
    receipt: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    tenant: str | None = None
    is_answer: bool = False

    def holds(self, head: RecordHead) -> bool:
        """Whether the record is chosen."""
        is_named = (
            self.model in (None, head.model) and self.receipt in (None, head.receipt) and self.tenant in (None, head.tenant)
        )
        if self.is_answer and head.source == REFUSED:
            return False
        is_after = self.from_us is None or head.time_us >= self.from_us
        return is_named and is_after and (self.to_us is None or head.time_us < self.to_us)


@dataclass(frozen=True, slots=True)
class RecordLog:
    """The log of a folder together with its archive, if it has one."""

    folder: Path
    archive: ArchivePlace | None = None

    def segments(self) -> list[LogSegment]:
        """Every segment that has its records, by log and number. A segment that is both live and archived is read live."""
        live = {files.stem: LogSegment(files) for files in segments_in(self.folder) if files.records.exists()}
        stems = self.archive.stems() if self.archive is not None else []
        kept = {stem: LogSegment(SegmentFiles.of(self.folder, stem), self.archive) for stem in stems}
        return sorted((kept | live).values(), key=lambda segment: (segment.files.log, segment.files.number))

    def chosen(self, choice: RecordChoice) -> Iterator[bytes]:
        """The lines of the chosen records, segment by segment. Lines that are not records are skipped: verification names them."""
        for segment in self._worth_reading(choice):
            receipt = choice.receipt.encode() if choice.receipt is not None else b""
            for line in segment.entries():
                head = _head(line) if receipt in line else None
                if head is not None and choice.holds(head):
                    yield line

    def places_of(self, receipt: str) -> Iterator[tuple[SegmentFiles, int, bytes]]:
        """Every record of a receipt: (segment, number from 0, line) each. Lines that are not records are skipped."""
        key = receipt.encode()
        for segment in self.segments():
            for index, line in enumerate(segment.entries()):
                head = _head(line) if key in line else None
                if head is not None and head.receipt == receipt:
                    yield segment.files, index, line

    def newest(self, count: int, choice: RecordChoice = RecordChoice()) -> list[bytes]:  # it is frozen
        """The lines of the newest `count` chosen records, oldest first. Segments that are too old are not read."""
        newest: list[tuple[int, int, bytes]] = []
        by_end = sorted(((s.until_us(), s) for s in self._worth_reading(choice)), key=lambda pair: pair[0], reverse=True)
        order = 0
        for until_us, segment in by_end:
            if len(newest) == count and until_us < newest[0][0]:
                break
            for line in segment.entries():
                head = _head(line)
                if head is None or not choice.holds(head):
                    continue
                order += 1
                if len(newest) < count:
                    heapq.heappush(newest, (head.time_us, order, line))
                elif count and head.time_us >= newest[0][0]:
                    heapq.heapreplace(newest, (head.time_us, order, line))
        return [line for _, _, line in sorted(newest)]

    def _worth_reading(self, choice: RecordChoice) -> Sequence[LogSegment]:
        since_us = choice.from_us if choice.from_us is not None else -math.inf
        return [segment for segment in self.segments() if segment.until_us() >= since_us]
