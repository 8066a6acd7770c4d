"""Alerts out of a file or a pipe of JSON lines, as a `StreamSource`: for tests, for one machine, and to send what a topic had."""

import json
import logging
import os
import select
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from serving.sinks.alert import MOST_BYTES
from serving.sinks.errors import SpoolError
from serving.stream.ports import Partition, Position, StreamError, StreamRecord

_log = logging.getLogger("vedette.sinks")
_CHUNK: Final = 256 * 1024


class LinesSource:
    """Port StreamSource over a file descriptor. The offset of a record is that of its first byte. A line that is too long is one record,
    of its beginning only.

    positions: file that keeps how far a regular file was read; None for a pipe, which begins where it is."""

    def __init__(self, descriptor: int, name: str, positions: Path | None = None) -> None:
        self._descriptor, self.partition, self._positions = descriptor, Partition(name, 0), positions
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._rest = b""
        self._at = 0
        self._is_at_end = False
        self._is_skipping = False
        if positions is not None and self._is_file:
            self._at = self._known().get(name, 0)
            if self._at > os.fstat(descriptor).st_size:
                _log.warning("%s is shorter than what was read of it; it is read from its beginning", name)
                self._at = 0
            os.lseek(descriptor, self._at, os.SEEK_SET)
        self._waiting: list[StreamRecord] = []

    @property
    def is_done(self) -> bool:
        """Whether everything was read."""
        return self._is_at_end and not self._waiting

    def poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        """See the port."""
        if not self._waiting and not self._is_at_end:
            self._read(wait_s)
        found, self._waiting = self._waiting[:most], self._waiting[most:]
        return found

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See the port: what is read ahead is one chunk."""

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See the port."""

    def behind(self) -> Mapping[Partition, int]:
        """See the port; records that were read and not given."""
        return {self.partition: len(self._waiting)}

    def close(self) -> None:
        """See the port. A second call does nothing."""
        if self._descriptor > 2:
            os.close(self._descriptor)
            self._descriptor = -1

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Record how far the file was read. Raises SpoolError."""
        if self._positions is None or not self._is_file or self.partition not in positions:
            return
        fresh = self._positions.with_suffix(".new")
        try:
            fresh.write_text(
                json.dumps({**self._known(), self.partition.topic: positions[self.partition].offset}), encoding="utf-8"
            )
            fresh.replace(self._positions)
        except OSError as problem:
            raise SpoolError(f"{self._positions}: cannot be written: {problem}") from problem

    def _known(self) -> dict[str, int]:
        try:
            found = json.loads((self._positions or Path()).read_text(encoding="utf-8"))
            return {str(name): int(offset) for name, offset in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as problem:
            _log.warning("%s cannot be read (%s): files are read from their beginning", self._positions, problem)
            return {}

    def _read(self, wait_s: float) -> None:
        try:
            if not self._is_file and not select.select([self._descriptor], [], [], wait_s)[0]:
                return
            chunk = os.read(self._descriptor, _CHUNK)
        except OSError as problem:
            raise StreamError(f"{self.partition.topic}: cannot be read: {problem}") from problem
        self._is_at_end = not chunk
        *lines, rest = (self._rest + chunk).split(b"\n")
        if self._is_at_end and rest:
            lines, rest = [*lines, rest], b""
        for line in lines:
            self._add(line, len(line) + 1)
        if len(rest) > MOST_BYTES:
            self._add(rest, len(rest))
            self._is_skipping, rest = True, b""
        self._rest = rest

    def _add(self, line: bytes, size: int) -> None:
        at, self._at = self._at, self._at + size
        if self._is_skipping:  # the end of a line that was too long
            self._is_skipping = False
        elif line.strip():
            self._waiting.append(StreamRecord(self.partition, at, line, headers=()))

    def after(self, record: StreamRecord) -> int:
        """The offset behind a record."""
        return record.offset + len(record.value or b"") + 1
