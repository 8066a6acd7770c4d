"""Follows a log as it grows: its newest records first, then the records that are appended later, in any segment.

Nothing is verified here: lifecycle.governance.verify does that."""

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from serving.audit.segment_files import PATTERN

_BLOCK: Final = 64 * 1024


class LogLine(msgspec.Struct, frozen=True):
    """The fields of a record that a reader of many records needs. Other fields are skipped. `verdicts` has one element per row."""

    time_us: int
    receipt: str = ""
    model: str = ""
    version: str = ""
    variant: str = ""
    verdicts: list[str] = []
    latency_us: int = 0
    tenant: str = ""


_DECODER: Final = msgspec.json.Decoder(LogLine)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter of records: by model, by a verdict that at least one row has, and by the caller's tenant, which is empty for callers
    without one. None matches everything."""

    model: str | None = None
    verdict: str | None = None
    tenant: str | None = None

    def holds(self, line: LogLine) -> bool:
        """Whether the record passes the filter."""
        is_model = self.model in (None, line.model) and self.tenant in (None, line.tenant)
        return is_model and (self.verdict is None or self.verdict in line.verdicts)


@dataclass(slots=True)
class LogFollower:
    """Reads the logs of a folder and remembers how far it has read.

    wanted: which records to give. broken: how many lines so far were not records."""

    folder: Path
    wanted: Wanted = Wanted()
    broken: int = 0
    _read: dict[Path, int] = field(default_factory=dict)

    def newest(self, count: int) -> list[tuple[LogLine, bytes]]:
        """The newest `count` records that pass the filter, oldest first, each with its line. `appended` gives the lines that are written
        later."""
        backwards = []
        for path in sorted(self.folder.glob(PATTERN)):
            end = _end_of_lines(path)
            self._read[path] = end
            backwards.append(self._wanted(_lines_backwards(path, end)))
        newest_first = heapq.merge(*backwards, key=lambda found: -found[0].time_us)
        return [found for found, _ in zip(newest_first, range(count), strict=False)][::-1]

    def appended(self) -> list[tuple[LogLine, bytes]]:
        """The records that pass the filter and were appended since the last call, by time. A last line without its newline is read next
        time."""
        found: list[tuple[LogLine, bytes]] = []
        for path in sorted(self.folder.glob(PATTERN)):
            start = self._read.get(path, 0)
            try:
                with path.open("rb") as file:
                    file.seek(start)
                    data = file.read()
            except FileNotFoundError:
                continue  # retention removed it
            whole = data[: data.rfind(b"\n") + 1]
            self._read[path] = start + len(whole)
            found += self._wanted(line for line in whole.split(b"\n") if line)
        return sorted(found, key=lambda pair: pair[0].time_us)

    def _wanted(self, lines: Iterator[bytes]) -> Iterator[tuple[LogLine, bytes]]:
        for line in lines:
            try:
                record = _DECODER.decode(line)
            except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
                self.broken += 1
                continue
            if self.wanted.holds(record):
                yield record, line


def _end_of_lines(path: Path) -> int:
    """Where the last whole line ends."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


def _lines_backwards(path: Path, end: int) -> Iterator[bytes]:
    """The complete lines before `end`, last first, without their newlines."""
    with path.open("rb") as file:
        rest = b""
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            rest = file.read(end - start) + rest
            end = start
            first, *lines = rest.split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first
            if lines and end > 0:
                rest += b"\n"
        if rest.strip():
            yield rest.rstrip(b"\n")
