"""Follows the logs of a store into the index: the prediction log with its archive, the labels and the governed acts.

It reads what was appended since it last looked, in any segment. What it has read is written in the same transaction as what it made of it,
so a process that is killed loses nothing and repeats nothing. Nothing is verified here: lifecycle.governance.verify does that."""

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.acts import LABELS, PREDICTIONS, decode_act
from lifecycle.governance.acts import LOG as ACTS
from lifecycle.governance.archive.parquet import read_lines
from lifecycle.governance.archive.place import SUFFIX, ArchiveError, ArchivePlace
from lifecycle.labels.label_log import LabelLine
from operators.console.log_index.index_file import IndexFile, is_busy, is_damage
from operators.console.log_index.index_writer import MOST_ALERTS, MOST_ANSWERS, IndexWriter
from operators.console.log_index.indexed_lines import KeysOf, NotIndexed, indexed
from serving.audit.segment_files import SegmentFiles, newest_checkpoint, open_to_read, segments_with_records
from serving.audit.signed_note import NoteError

BATCH: Final = 2_000
"""Lines of one transaction."""
BATCH_BYTES: Final = 16 * 1024 * 1024
"""No more lines come into one transaction after so many bytes: lines of batches of rows have megabytes."""
ARCHIVE_EVERY_S: Final = 30.0
_LONGEST_LINE: Final = 64 * 1024 * 1024
_LABEL: Final = msgspec.json.Decoder(LabelLine)
_Lines = Iterator[tuple[int, int, bytes | None]]
"""The number of each line, the byte behind it, and the line; None: it is longer than any record."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What one look brought. is_writer: False while another process follows the logs. alerts: new rows that are not benign."""

    is_writer: bool = True
    lines: int = 0
    alerts: int = 0
    changed: bool = False


@dataclass(slots=True)
class _Known:
    id: int
    read: int
    lines: int
    broken: int
    problem: str
    is_archived: bool


class LogFollowing:
    """Brings the index of one store up to date. advance: told how many bytes were read, of how many, after each batch."""

    def __init__(
        self,
        store: Path,
        file: IndexFile,
        archive: Callable[[], ArchivePlace | None],
        keys_of: KeysOf,
        *,
        advance: Callable[[int, int], None] = lambda done, of: None,
        most_answers: int = MOST_ANSWERS,
        most_alerts: int = MOST_ALERTS,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._file, self._archive, self._keys_of = store, file, archive, keys_of
        self._advance, self._now_s = advance, now_s
        self._most_answers, self._most_alerts = most_answers, most_alerts
        self._archive_due_s = 0.0

    def catch_up(self) -> CaughtUp:
        """Read what is new. Raises OSError, sqlite3.Error where the disk is full or cannot be used; an index that is damaged is made
        again."""
        try:
            return self._caught_up()
        except sqlite3.DatabaseError as problem:
            if is_busy(problem):
                return CaughtUp(is_writer=False)
            if not is_damage(problem):
                raise
            self._file.remove()
            self._archive_due_s = 0.0
            return self._caught_up()

    def _caught_up(self) -> CaughtUp:
        with self._file.writing() as connection:
            if connection is None:
                return CaughtUp(is_writer=False)
            return _Look(self, connection).take()


class _Look:
    """One look at the logs."""

    def __init__(self, following: LogFollowing, connection: sqlite3.Connection) -> None:
        self._of, self._connection = following, connection
        self._writer = IndexWriter(connection, most_answers=following._most_answers, most_alerts=following._most_alerts)
        self._lines = 0
        self._is_changed = False
        self._done = self._total = 0

    def take(self) -> CaughtUp:
        before = self._newest_alert()
        for log in (ACTS, LABELS):  # first, so that a record finds its label, and whether its person is erased
            self._take_live(log, self._live(log))
        live = self._live(PREDICTIONS)
        self._take_live(PREDICTIONS, live)
        if self._of._now_s() >= self._of._archive_due_s or self._lost(live):
            self._take_archive(live)
            self._of._archive_due_s = self._of._now_s() + ARCHIVE_EVERY_S
        if self._lines:
            with self._transaction():
                self._writer.prune()
        return CaughtUp(True, self._lines, self._newest_alert() - before, self._is_changed or self._lines > 0)

    def _newest_alert(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM alerts").fetchone()[0])

    def _live(self, log: str) -> list[SegmentFiles]:
        folder = self._of._store / log
        return segments_with_records(folder) if folder.is_dir() else []

    def _take_live(self, log: str, live: list[SegmentFiles]) -> None:
        known, sizes = self._known(log), {}
        for files in live:
            with suppress(FileNotFoundError):
                sizes[files.stem] = files.records.stat().st_size
        grown = [f for f in live if f.stem in sizes and sizes[f.stem] != (known[f.stem].read if f.stem in known else -1)]
        if log == PREDICTIONS:
            grown.reverse()  # the newest first: people look at these
            self._done, self._total = 0, sum(sizes[f.stem] - (known[f.stem].read if f.stem in known else 0) for f in grown)
        for files in grown:
            one = known.get(files.stem) or self._new(log, files.stem)
            if sizes[files.stem] < one.read:  # lines that could not be synced were cut off, or somebody cut it
                one = self._again(log, files.stem, one)
            self._take_file(log, files, one)

    def _take_file(self, log: str, files: SegmentFiles, one: _Known) -> None:
        if one.lines == 0 and log == PREDICTIONS and self._is_too_old(files):
            with self._transaction():
                one.read, one.problem = files.records.stat().st_size, ""
                self._keep(one)
            return
        try:
            lines = _lines_of(files.records, one.read, one.lines)
            self._take_lines(log, files, one, lines, is_live=True)
        except FileNotFoundError:
            return  # archived or removed: the next look at the archive knows
        except OSError as problem:
            self._note(one, f"cannot be read: {problem.strerror or problem}")

    def _is_too_old(self, files: SegmentFiles) -> bool:
        oldest_us = self._writer.oldest_us()
        if not oldest_us:
            return False
        try:
            newest = newest_checkpoint(files)
        except (NoteError, OSError):
            return False
        return newest is not None and newest.is_final and newest.time_us < oldest_us

    def _take_lines(self, log: str, files: SegmentFiles, one: _Known, lines: _Lines, *, is_live: bool) -> None:
        while batch := _batch_of(lines):
            start = one.read
            with self._transaction():
                self._put(log, one, batch, is_live=is_live)
                one.lines, one.read = batch[-1][0] + 1, batch[-1][1]
                one.problem = ""
                self._keep(one)
            self._lines += len(batch)
            self._done += one.read - start
            if log == PREDICTIONS and is_live:
                self._of._advance(self._done, self._total)

    def _put(self, log: str, one: _Known, batch: list[tuple[int, int, bytes | None]], *, is_live: bool) -> None:
        found = []
        for number, end, line in batch:
            try:
                if line is None:
                    raise NotIndexed("it is longer than any record")
                if log == PREDICTIONS:
                    found.append(((number, end - len(line) - 1 if is_live else -1), indexed(line, self._of._keys_of)))
                elif log == LABELS:
                    label = _LABEL.decode(line).label
                    if label is not None:
                        self._writer.add_label(one.id, label)
                else:
                    self._writer.add_act(one.id, number, decode_act(line, log), line)
            except (ValueError, NoteError, OverflowError, RecursionError):
                one.broken += 1
        if found:
            self._writer.add_answers(one.id, found)

    def _take_archive(self, live: list[SegmentFiles]) -> None:
        """After the live ones were listed: a segment is in the archive before it leaves the log."""
        known = self._known(PREDICTIONS)
        try:
            place = self._of._archive()
            stems = place.stems() if place is not None else []
        except (ArchiveError, OSError) as problem:
            self._state("archive", f"the archive cannot be read: {problem}")
            return
        self._state("archive", "")
        live_stems = {files.stem for files in live}
        for stem in sorted(set(stems) - live_stems, reverse=True):
            one = known.get(stem)
            if place is not None and (one is None or not one.is_archived or one.problem):
                self._take_archived(place, stem, one or self._new(PREDICTIONS, stem))
        for stem in set(known) - live_stems - set(stems):  # retention removed it
            with self._transaction():
                self._writer.forget_segment(known[stem].id)
                self._connection.execute("DELETE FROM segments WHERE id = ?", (known[stem].id,))
            self._is_changed = True

    def _take_archived(self, place: ArchivePlace, stem: str, one: _Known) -> None:
        """What was not read of it while it was live."""
        one.is_archived = True
        try:
            files = SegmentFiles.of(self._of._store / PREDICTIONS, stem)
            if not self._is_too_old(files):
                rest = itertools.islice(read_lines(place, stem + SUFFIX), one.lines, None)
                self._take_lines(
                    PREDICTIONS, files, one, ((n, 0, line) for n, line in enumerate(rest, one.lines)), is_live=False
                )
            with self._transaction():
                one.problem = ""
                self._keep(one)
        except (ArchiveError, OSError, ValueError) as problem:
            self._note(one, f"cannot be read from the archive: {problem}")
            with self._transaction():
                self._keep(one)

    def _lost(self, live: list[SegmentFiles]) -> bool:
        """Whether a segment that was live is not there any more."""
        stems = {files.stem for files in live}
        return any(not one.is_archived and stem not in stems for stem, one in self._known(PREDICTIONS).items())

    def _again(self, log: str, stem: str, one: _Known) -> _Known:
        with self._transaction():
            self._writer.forget_segment(one.id)
            self._connection.execute("DELETE FROM segments WHERE id = ?", (one.id,))
        self._is_changed = True
        return self._new(log, stem)

    def _known(self, log: str) -> dict[str, _Known]:
        rows: Iterable[tuple[str, int, int, int, int, str, int]] = self._connection.execute(
            "SELECT stem, id, bytes, lines, broken, problem, is_archived FROM segments WHERE log = ?", (log,)
        )
        return {
            stem: _Known(number, size, lines, broken, problem, bool(archived))
            for stem, number, size, lines, broken, problem, archived in rows
        }

    def _new(self, log: str, stem: str) -> _Known:
        made = self._connection.execute("INSERT INTO segments (log, stem) VALUES (?, ?)", (log, stem))
        return _Known(int(made.lastrowid or 0), 0, 0, 0, "", False)

    def _keep(self, one: _Known) -> None:
        self._connection.execute(
            "UPDATE segments SET bytes = ?, lines = ?, broken = ?, problem = ?, is_archived = ? WHERE id = ?",
            (one.read, one.lines, one.broken, one.problem, one.is_archived, one.id),
        )

    def _note(self, one: _Known, problem: str) -> None:
        if one.problem != problem:
            one.problem, self._is_changed = problem, True
            with self._transaction():
                self._keep(one)

    def _state(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection)


class _Transaction:
    """All or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:  # after some errors SQLite has rolled back by itself
            self._connection.execute("ROLLBACK")


def _batch_of(lines: _Lines) -> list[tuple[int, int, bytes | None]]:
    """Lines of one transaction; empty: there are no more."""
    batch, size = [], 0
    for one in itertools.islice(lines, BATCH):
        batch.append(one)
        size += len(one[2] or b"")
        if size >= BATCH_BYTES:
            break
    return batch


def _lines_of(path: Path, start: int, number: int) -> _Lines:
    """The whole lines from a byte on, the first of which has this number. A last line without its newline waits. Raises OSError."""
    with open_to_read(path) as file:
        file.seek(start)
        end = start
        while line := file.readline(_LONGEST_LINE):
            is_long = False
            while line and not line.endswith(b"\n") and (is_long or len(line) == _LONGEST_LINE):
                is_long = True
                end += len(line)
                line = file.readline(_LONGEST_LINE)
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield number, end, None if is_long else line[:-1]
            number += 1
