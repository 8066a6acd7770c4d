"""The prediction log on disk: JSON lines in rotating segments, written by one thread.

`append` takes about a microsecond and never blocks or raises. Records reach the operating system within WRITE_EVERY_S; a process that
is killed loses at most those. They are synced to the disk every SYNC_EVERY_S, when a segment ends and on close; a power cut loses at
most those since. `commit` wakes the thread: what all waiting answers have to record is written and synced together, then their loop is
told once. Records that cannot be kept (queue full, disk full, not encodable) are counted, as dropped or as refused with their answer.
Each writer has its own segments, so replicas may share a folder. Encoding is in serving.audit.encoding, reading in
serving.audit.reader, what the log says of its state in serving.audit.durability.writer_state."""

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from serving.audit.checkpoint import Witness
from serving.audit.durability.commits import Commit, tell, time_of
from serving.audit.durability.pruning import SegmentPruner
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.durability.writer_state import WriterState, why
from serving.audit.encoding import encode_record
from serving.audit.personal.redaction import redact
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord, NotRecorded
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import NoteError, Signer
from serving.errors import Internal

log = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 0.05
SYNC_EVERY_S: Final = 1.0
CHUNK: Final = 64
"""Records encoded between two writes. A write lets go of the interpreter, so requests wait for at most one chunk's encoding."""
ROWS_A_RECORD: Final = 20
"""The queue is also full at this many rows for each record it may hold: one record may have a hundred thousand rows."""
COMMIT_BYTES: Final = 4 * 1024 * 1024
"""Lines that are synced together at most, about."""
RETRY_AFTER_S: Final = 1.0


class SegmentWriter:
    """A ports.AuditSink in a folder.

    segment_bytes: a new segment starts once this size is reached. segments: how many are kept in the folder, of all writers; 0
    keeps all. A segment that a living writer has open is never removed. queue: records that may wait. tell: called with the note of
    each checkpoint, in the writer's thread; it must not wait. elsewhere, beside, is_known: see ChainedSegments."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        segments: int,
        queue: int,
        signer: Callable[[], Signer | None] = lambda: None,
        now_us: Callable[[], int] | None = None,
        tell: Callable[[str], None] = lambda note: None,
        elsewhere: Callable[[], tuple[Witness, ...]] = tuple,
        beside: Callable[[], tuple[Witness, ...]] = tuple,
        is_known: Callable[[str], bool] | None = None,
        subject_keys: SubjectKeys | None = None,
    ) -> None:
        self._folder = folder
        self._queue = queue
        self._signer, self._tell = signer, tell
        self._subject_keys = subject_keys
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._id = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = threading.Lock()
        self._pending: list[AuditRecord | Commit] = []
        self._pending_rows = 0
        self._overrun = self._refused_at_once = self._cut_off = 0
        self._log = ChainedSegments(
            folder,
            self._id,
            segment_bytes=segment_bytes,
            signer=signer,
            now_us=self._now_us,
            tell=tell,
            elsewhere=elsewhere,
            beside=beside,
            is_known=is_known,
        )
        self._state = WriterState(folder)
        self._pruner = SegmentPruner(folder, segments, signer=signer, now_us=self._now_us, seal=self._seal)
        self._waking: asyncio.AbstractEventLoop | None = None
        self._unsynced_us: int | None = None
        self.durable_s = 0.0
        """When a record was last synced, seconds since the epoch; 0: not yet."""
        self._checkpoint_s = time.monotonic()
        self._closing, self._wake = threading.Event(), threading.Event()
        self._make_folder()
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def append(self, record: AuditRecord) -> None:
        """Take one record, or count it as dropped."""
        with self._lock:
            waiting, rows = len(self._pending), self._pending_rows + record.rows
            if waiting >= self._queue or (waiting and rows > self._queue * ROWS_A_RECORD) or self._closing.is_set():
                self._overrun += 1
                return
            self._pending.append(record)
            self._pending_rows = rows

    def commit(self, records: Sequence[AuditRecord]) -> "asyncio.Future[None]":
        """Take the records of one answer; done when they are on the disk. See AuditSink."""
        loop = asyncio.get_running_loop()
        commit = Commit(records, loop, loop.create_future())
        with self._lock:
            waiting, rows = len(self._pending), self._pending_rows + commit.rows
            is_full = waiting >= self._queue or (waiting and rows > self._queue * ROWS_A_RECORD)
            if not is_full and not self._closing.is_set():
                self._pending.append(commit)
                self._pending_rows = rows
                if self._waking is not loop:
                    self._waking = loop
                    loop.call_soon(self._wake_thread)  # after this turn of the loop, which may bring more
                return commit.waiting
            self._refused_at_once += len(records)
        reason = f"{self._queue} records already wait for the disk" if is_full else "the server is shutting down"
        commit.waiting.set_exception(_not_recorded(reason))
        return commit.waiting

    def _wake_thread(self) -> None:
        self._waking = None
        self._wake.set()

    @property
    def written(self) -> int:
        """Records handed to the operating system."""
        return self._state.written

    @property
    def dropped(self) -> int:
        """Records that were not kept, of answers that were given."""
        return self._overrun + self._state.lost

    @property
    def refused(self) -> int:
        """Records that were not kept, of answers that were refused therefore."""
        return self._refused_at_once + self._state.refused

    @property
    def is_failing(self) -> bool:
        """Whether records cannot be written or synced now."""
        return self._state.problem is not None

    @property
    def waiting(self) -> int:
        """Records and answers in the queue."""
        return len(self._pending)

    def lag_s(self) -> float:
        """Age of the oldest record that is not on the disk yet; 0 if there is none. From any thread."""
        with self._lock:
            oldest_us = self._unsynced_us
            if oldest_us is None and self._pending:
                oldest_us = time_of(self._pending[0])
        return 0.0 if oldest_us is None else max(0.0, (self._now_us() - oldest_us) / 1e6)

    def degraded(self) -> tuple[str, ...]:
        """What is out, and what happens instead; empty if all is well."""
        problem = self._state.problem
        if problem is None:
            return ()
        return (
            f"audit: the prediction log {problem}; async answers continue ({self.dropped} records lost so far), strict ones are refused",
        )

    def close(self, timeout_s: float = 10.0) -> None:
        """Write and sync what is waiting, then stop. Later records are dropped. Closing twice is closing once."""
        with self._lock:
            self._closing.set()
            self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the prediction log in %s did not finish writing within %s s", self._folder, timeout_s)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError("the folder is read-only")
        except OSError as error:
            self._state.failed(f"cannot be written: {why(error)}")

    def _run(self) -> None:
        self._seal()
        while not self._closing.is_set():
            self._wake.wait(WRITE_EVERY_S)
            self._wake.clear()  # before the queue is taken: what comes after is seen now or wakes the thread again
            with self._state.busy():
                self._drain()
                if time.monotonic() - self._checkpoint_s >= SYNC_EVERY_S:
                    self._checkpoint()
        self._drain()
        self._end_segment()
        self._pruner.close()

    def _drain(self) -> None:
        with self._lock:
            pending, self._pending, self._pending_rows = self._pending, [], 0
            if pending and self._unsynced_us is None:
                self._unsynced_us = time_of(pending[0])
        self._state.note_overrun(self._overrun, self._queue)
        commits = [item for item in pending if isinstance(item, Commit)]
        if commits:
            self._commit(commits)
            pending = [item for item in pending if not isinstance(item, Commit)]
        for start in range(0, len(pending), CHUNK):
            self._write([item for item in pending[start : start + CHUNK] if isinstance(item, AuditRecord)])

    def _write(self, records: Sequence[AuditRecord]) -> None:
        lines = [line for line in map(self._encode, records) if line is not None]
        if not lines:
            return
        try:
            is_new_segment = self._log.append(lines)
        except OSError as error:
            self._failed(f"cannot be written: {why(error)}", lost=len(lines))
            return
        self._state.written += len(lines)
        self._count_cut_off()
        if is_new_segment:
            self._pruner.ask()

    def _commit(self, commits: Sequence[Commit]) -> None:
        """Write and sync what the answers have to record, COMMIT_BYTES at a time, and let each group go when it is on the disk."""
        group, lines, size_bytes = list[Commit](), list[bytes](), 0
        for commit in commits:
            encoded = None if commit.waiting.cancelled() else self._encode_commit(commit)
            if encoded is None:
                continue
            group.append(commit)
            lines += encoded
            size_bytes += sum(map(len, encoded))
            if size_bytes >= COMMIT_BYTES:
                self._commit_group(group, lines)
                group, lines, size_bytes = [], [], 0
        if group:
            self._commit_group(group, lines)

    def _commit_group(self, group: Sequence[Commit], lines: Sequence[bytes]) -> None:
        """One write and one sync, so that no segment ends in between: all of the group is durable, or all of it is refused."""
        appended, is_new_segment = 0, False
        try:
            is_new_segment = self._log.append(lines)
            appended = len(lines)
            problem = None if self._log.sync() else "its segment was removed"
        except OSError as error:
            problem = why(error)
        if problem is not None:
            self._count_cut_off(appended)
            self._state.failed(f"cannot be written: {problem}", refused=len(lines))
            tell(group, _not_recorded(problem))
            return
        self._state.written += len(lines)
        self._count_cut_off()
        self._state.recovered(self.dropped)
        self.durable_s = self._now_us() / 1e6
        tell(group, None)
        if is_new_segment:
            self._pruner.ask()

    def _failed(self, problem: str, *, lost: int = 0) -> None:
        """Count what was not kept. lost: lines that never were in the segment."""
        self._count_cut_off()
        self._state.failed(problem, lost=lost)

    def _count_cut_off(self, refused: int = 0) -> None:
        """Lines that were cut off and are not those of refused answers were counted as written before."""
        cut_off, self._cut_off = self._log.cut_off - self._cut_off, self._log.cut_off
        lost = max(0, cut_off - refused)
        self._state.written -= lost
        self._state.lost += lost

    def _line_of(self, record: AuditRecord) -> bytes:
        """The record's line; what is personal is redacted before, and a record that cannot be redacted is not written."""
        return encode_record(redact(record, self._subject_keys) if record.personal else record)

    def _encode(self, record: AuditRecord) -> bytes | None:
        try:
            return self._line_of(record)
        except Exception:  # whatever it is, it must not end the log
            log.exception("an audit record could not be encoded; it is lost")
            self._state.lost += 1
            return None

    def _encode_commit(self, commit: Commit) -> list[bytes] | None:
        try:
            return [self._line_of(record) for record in commit.records]
        except Exception:  # as above
            log.exception("an audit record could not be encoded; its answer is refused")
            self._state.refused += len(commit.records)
            tell(
                [commit],
                Internal(
                    "the answer could not be encoded for the prediction log, so it was not sent; the server's log has the trace"
                ),
            )
            return None

    def _end_segment(self) -> None:
        try:
            self._log.end()
            self._count_cut_off()
            self._state.recovered(self.dropped)
        except OSError as error:
            self._failed(f"cannot be synced: {why(error)}")

    def _checkpoint(self) -> None:
        self._checkpoint_s = time.monotonic()
        try:
            if self._log.checkpoint() is not None:
                self._state.recovered(self.dropped)
                self.durable_s = self._now_us() / 1e6
            self._unsynced_us = None
            self._count_cut_off()
        except OSError as error:
            self._failed(f"cannot be synced: {why(error)}")

    def _seal(self) -> None:
        """End what killed writers left open, so that it is protected too."""
        try:
            for note in seal_abandoned(self._folder, self._id, self._signer(), self._now_us()):
                self._tell(note)
        except (OSError, NoteError) as error:
            log.warning("segments that were left open in %s could not be sealed: %s", self._folder, error)


def _not_recorded(reason: str) -> NotRecorded:
    return NotRecorded(
        f"the answer's record cannot be stored ({reason}), so the answer was not sent; send the request again later",
        retry_after_s=RETRY_AFTER_S,
    )
