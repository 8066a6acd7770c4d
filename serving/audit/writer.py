"""The prediction log on disk: JSON lines in rotating segments, written by one thread.

`append` takes about a microsecond and never blocks or raises. Records reach the operating system within WRITE_EVERY_S; a process that
is killed loses at most those. They are synced to the disk every SYNC_EVERY_S, when a segment ends and on close; a power cut loses at
most those since. Records that cannot be kept (queue full, disk full, not encodable) are counted. Each writer has its own segments,
so replicas may share a folder. Encoding is in serving.audit.encoding, reading in serving.audit.reader."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from serving.audit.encoding import encode_record
from serving.audit.record import AuditRecord
from serving.audit.segment_files import PATTERN, SegmentFiles, has_ended
from serving.audit.segments import ChainedSegments, seal_abandoned
from serving.audit.signed_note import NoteError, Signer
from serving.audit.tombstones import remove_segment

log = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 0.05
SYNC_EVERY_S: Final = 1.0
CHUNK: Final = 16
"""Records encoded between two writes. A write lets go of the interpreter, so requests wait for at most one chunk's encoding."""
ROWS_A_RECORD: Final = 20
"""The queue is also full at this many rows for each record it may hold: one record may have a hundred thousand rows."""


class SegmentWriter:
    """A ports.AuditSink in a folder.

    segment_bytes: a new segment starts once this size is reached. segments: how many are kept in the folder, of all writers; 0
    keeps all. A segment that a living writer has open is never removed. queue: records that may wait."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        segments: int,
        queue: int,
        signer: Callable[[], Signer | None] = lambda: None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._folder = folder
        self._segments = segments
        self._queue = queue
        self._signer = signer
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._id = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = threading.Lock()
        self._pending: list[AuditRecord] = []
        self._pending_rows = 0
        self._refused = 0
        self._lost = 0
        self._written = 0
        self._log = ChainedSegments(folder, self._id, segment_bytes=segment_bytes, signer=signer, now_us=self._now_us)
        self._is_failing = False
        self._checkpoint_s = time.monotonic()
        self._closing = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def append(self, record: AuditRecord) -> None:
        """Take one record, or count it as dropped."""
        with self._lock:
            waiting, rows = len(self._pending), self._pending_rows + record.rows
            if waiting >= self._queue or (waiting and rows > self._queue * ROWS_A_RECORD) or self._closing.is_set():
                self._refused += 1
                return
            self._pending.append(record)
            self._pending_rows = rows

    @property
    def written(self) -> int:
        """Records handed to the operating system."""
        return self._written

    @property
    def dropped(self) -> int:
        """Records that were not kept."""
        return self._refused + self._lost

    def close(self, timeout_s: float = 10.0) -> None:
        """Write and sync what is waiting, then stop. Later records are dropped. Closing twice is closing once."""
        with self._lock:
            self._closing.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the prediction log in %s did not finish writing within %s s", self._folder, timeout_s)

    def _run(self) -> None:
        self._seal()
        while not self._closing.wait(WRITE_EVERY_S):
            self._drain()
            if time.monotonic() - self._checkpoint_s >= SYNC_EVERY_S:
                self._checkpoint()
        self._drain()
        self._end_segment()

    def _drain(self) -> None:
        with self._lock:
            records, self._pending, self._pending_rows = self._pending, [], 0
        for start in range(0, len(records), CHUNK):
            self._write(records[start : start + CHUNK])

    def _write(self, records: Sequence[AuditRecord]) -> None:
        lines = [line for line in map(self._encode, records) if line is not None]
        if not lines:
            return
        try:
            is_new_segment = self._log.append(lines)
        except OSError as error:
            self._lost += len(lines)
            if not self._is_failing:
                log.error("the prediction log in %s cannot be written, records are lost: %s", self._folder, error)
            self._is_failing = True
            return
        if self._is_failing:
            log.warning("the prediction log in %s is written again; %d records were lost so far", self._folder, self.dropped)
        self._is_failing = False
        self._written += len(lines)
        if is_new_segment:
            self._prune()

    def _encode(self, record: AuditRecord) -> bytes | None:
        try:
            return encode_record(record)
        except Exception:  # whatever it is, it must not end the log
            log.exception("an audit record could not be encoded; it is lost")
            self._lost += 1
            return None

    def _end_segment(self) -> None:
        try:
            self._log.end()
        except OSError as error:
            log.warning("the last segment of the prediction log in %s could not be ended: %s", self._folder, error)

    def _checkpoint(self) -> None:
        self._checkpoint_s = time.monotonic()
        try:
            self._log.checkpoint()
        except OSError as error:
            log.warning("the prediction log in %s cannot be synced: %s", self._folder, error)

    def _seal(self) -> None:
        """End what killed writers left open, so that it is protected too."""
        try:
            seal_abandoned(self._folder, self._id, self._signer(), self._now_us())
        except (OSError, NoteError) as error:
            log.warning("segments that were left open in %s could not be ended: %s", self._folder, error)

    def _prune(self) -> None:
        """Remove the oldest segments beyond the number that is kept; each leaves its tombstone."""
        past = sorted(self._folder.glob(PATTERN))[: -self._segments] if self._segments else []
        for path in past:
            files = SegmentFiles.of(self._folder, path.stem)
            reason = f"past retention: the newest {self._segments} segments are kept"
            try:
                if not has_ended(files):
                    self._seal()
                remove_segment(files, self._signer(), now_us=self._now_us(), reason=reason, by="retention")
            except (OSError, NoteError) as error:
                log.warning("%s is past its retention and could not be removed: %s", path, error)
