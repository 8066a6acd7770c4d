"""A chained log on disk: lines in numbered segments, the Merkle tree of each, and signed checkpoints. One log has one writer, one thread.

Lines are appended whole or not at all. A checkpoint is made only of lines that are synced, so that after a power cut no checkpoint
speaks of more than the disk holds. A segment begins with a signed checkpoint over no record, before the first one: a segment without one
of its own writer's was put there by somebody else. A sync that fails is not tried again, because the next one may report success for
pages that the kernel has dropped: the lines since the last good sync are cut off, and the log goes on in another segment. Used by the
prediction log (serving.audit.writer) and by the log of governed acts (lifecycle.governance). The files are described in
serving.audit.segment_files."""

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from serving.audit.checkpoint import Checkpoint, Witness
from serving.audit.merkle import HASH_BYTES, TreeBuilder, leaf_hash, root_of, tree_of
from serving.audit.note_files import append_note
from serving.audit.segment_files import SegmentFiles, newest_checkpoint, open_file, read_leaves, segments_in
from serving.audit.signed_note import NoteError, Signer, signers_of, unsigned
from serving.audit.witnesses import WITNESS_EVERY_US, newest_of_others
from serving.files.folder_sync import sync_folder

log = logging.getLogger(__name__)

_NOBODY: Final[tuple[tuple[Witness, ...], ...]] = ((), (), ())
_sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""The bytes and the size, without the times; macOS has no such call."""


class ChainedSegments:
    """Appends lines to the log `name` in a folder.

    segment_bytes: a new segment starts once this size is reached. signer: the key of the next checkpoint, None where none can be
    had: then checkpoints are made without a signature, and the chain goes on. now_us: microseconds since the epoch; where that clock
    is set back, names and checkpoints keep the latest time they had. tell: called with the note of each checkpoint but the first of a
    segment. elsewhere: what logs of other folders said of themselves last. beside: the same of the other folder of this store.
    is_known: whether a checkpoint of another log may be witnessed; unset: whether the key of this log signed it."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        segment_bytes: int,
        signer: Callable[[], Signer | None],
        now_us: Callable[[], int],
        tell: Callable[[str], None] = lambda note: None,
        elsewhere: Callable[[], tuple[Witness, ...]] = tuple,
        beside: Callable[[], tuple[Witness, ...]] = tuple,
        is_known: Callable[[str], bool] | None = None,
    ) -> None:
        self.folder, self.name, self._tell, self._elsewhere, self._beside = folder, name, tell, elsewhere, beside
        self._is_known = is_known or self._is_ours
        self._segment_bytes, self._signer, self._now_us = segment_bytes, signer, now_us
        self._segment: _OpenSegment | None = None
        self._number = 0
        self._before = 0
        self._previous: bytes | None = None
        self._latest_us = 0
        self._is_behind = False
        self._witnessed: set[Witness] = set()
        self._witnessed_us = 0
        self.cut_off = 0
        """Lines that were appended and then cut off again, because they could not be synced."""

    def resume(self) -> None:
        """Go on where an earlier writer of this log stopped. The caller holds a lock that keeps other writers of the log out.

        Raises OSError, and NoteError if the last segment does not hold what its checkpoint says."""
        for files in segments_in(self.folder):
            if files.log != self.name:
                continue
            last = newest_checkpoint(files)
            self._number = files.number
            self._latest_us = max(self._latest_us, files.start_us, last.time_us if last is not None else 0)
            if self._segment is not None:  # a disk that was full kept no final checkpoint of it
                self._leave(self._segment)
            if last is not None and last.is_final:
                self._before, self._previous = last.before + last.size, last.digest()
            else:
                self._segment = _OpenSegment.resume(files, last)

    def leave_open(self) -> None:
        """Close the files; the last segment stays open for the writer that resumes the log."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def append(self, lines: Sequence[bytes]) -> bool:
        """Append lines, each with its newline; all of them or none. True if a new segment was begun. Raises OSError."""
        segment = self._segment
        if segment is not None and segment.size_bytes < self._segment_bytes:
            segment.write(lines)
            return False
        self.end()
        self._begin().write(lines)
        return True

    def sync(self) -> bool:
        """Put what was appended on the disk. False: the segment's file is no longer in its folder, and the segment is given up.

        Raises OSError; then the lines since the last sync are cut off, as far as the disk allows, and the segment is ended."""
        segment = self._segment
        if segment is None:
            return True
        unsynced = segment.unsynced
        try:
            is_there = segment.sync()
        except OSError:
            if segment.cut_to_synced():
                self.cut_off += unsynced
            self._end_after_failure(segment)
            raise
        if is_there:
            return True
        log.warning("a segment of the log was removed while it was being written: %s", segment.files.records)
        self.cut_off += unsynced
        self._leave(segment)
        return False

    def checkpoint(self) -> str | None:
        """Sync, and make a checkpoint if lines were appended since the last one; its note. Raises OSError."""
        if self._segment is None or not self._segment.is_ahead or not self.sync():
            return None
        return self._write_checkpoint(self._segment, is_final=False)

    def end(self) -> str | None:
        """End the open segment with its final checkpoint; the note. Raises OSError if the disk refuses it; the segment is left even so."""
        segment, note = self._segment, None
        if segment is None:
            return None
        try:
            if self.sync():
                note = self._write_checkpoint(segment, is_final=True)
        finally:
            if self._segment is segment:
                self._leave(segment)
        return note

    def _end_after_failure(self, segment: "_OpenSegment") -> None:
        """What was synced before is a whole segment; without its final checkpoint a later writer ends it."""
        try:
            if not segment.unsynced:
                self._write_checkpoint(segment, is_final=True)
        except OSError as error:
            log.warning("%s could not be sealed: %s", segment.files.records, error)
        finally:
            self._leave(segment)

    def _time_us(self) -> int:
        now_us = self._now_us()
        behind_s = (self._latest_us - now_us) / 1e6
        if behind_s > 1 and not self._is_behind:
            log.warning("the clock was set back by %.0f s; the log in %s keeps its latest time", behind_s, self.folder)
        self._is_behind = behind_s > 1
        self._latest_us = max(self._latest_us, now_us)
        return self._latest_us

    def _begin(self) -> "_OpenSegment":
        (self.folder / "chain").mkdir(parents=True, exist_ok=True)
        segment = self._segment = _OpenSegment(SegmentFiles.new(self.folder, self._time_us(), self.name, self._number + 1))
        self._number += 1
        try:
            self._write_checkpoint(segment, is_opening=True)
        except OSError as error:  # a disk that is full: the records may find room, and the next checkpoint too
            log.warning("the first checkpoint of %s could not be written: %s", segment.files.records, error)
        return segment

    def _is_ours(self, note: str) -> bool:
        signer = self._signer()
        try:
            return signer is None or bool(signers_of(note, [signer.verifier]))
        except NoteError:
            return False

    def _leave(self, segment: "_OpenSegment") -> None:
        self._segment = None
        self._before += segment.tree.size
        self._previous = segment.last.digest() if segment.last is not None else self._previous
        segment.close()

    def _write_checkpoint(self, segment: "_OpenSegment", *, is_final: bool = False, is_opening: bool = False) -> str:
        now_us = self._time_us()
        here, elsewhere, beside = _NOBODY if is_opening else self._witnesses(now_us, is_whole=is_final or not segment.protected)
        checkpoint = Checkpoint(
            self.name,
            segment.files.number,
            segment.tree.size,
            segment.tree.root(),
            now_us,
            self._before,
            self._previous,
            is_final,
            witnesses=here,
            elsewhere=elsewhere,
            beside=beside,
        )
        note = segment.record(checkpoint, self._signer())
        if not is_opening:
            self._tell(note)
        return note

    def _witnesses(self, now_us: int, *, is_whole: bool) -> tuple[tuple[Witness, ...], ...]:
        """What a checkpoint says of logs of this folder, of other folders, and of the other folder of this store.

        is_whole: of all of them; else of those that changed, at intervals."""
        if not is_whole and now_us - self._witnessed_us < WITNESS_EVERY_US:
            return _NOBODY
        here, beside = newest_of_others(self.folder, self.name, self._is_known), self._beside()
        known = {self.name, *(witness.log for witness in (*here, *beside))}
        elsewhere = tuple(witness for witness in self._elsewhere() if witness.log not in known)
        before, self._witnessed, self._witnessed_us = self._witnessed, {*here, *elsewhere, *beside}, now_us
        new = self._witnessed if is_whole else self._witnessed - before
        return tuple(tuple(witness for witness in group if witness in new) for group in (here, elsewhere, beside))


class _OpenSegment:
    """The files of one open segment. The records' file is locked while its writer lives, so that nobody else removes or seals it."""

    def __init__(self, files: SegmentFiles, last: Checkpoint | None = None, *, is_new: bool = True) -> None:
        self.files = files
        self.tree = TreeBuilder()
        self.size_bytes = 0
        self.last = last
        self._synced = (self.size_bytes, self.tree.copy())
        self._is_in_folder = False
        self._unwritten_hashes = bytearray()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._fd = open_file(files.records, flags | (os.O_EXCL if is_new else 0))
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._hashes = open_file(files.hashes, flags)
        except OSError:  # a file system without locks, a full disk
            os.close(self._fd)
            if is_new:
                files.records.unlink(missing_ok=True)
            raise

    @classmethod
    def resume(cls, files: SegmentFiles, last: Checkpoint | None) -> "_OpenSegment":
        """Open a segment that was left open; a torn last line is cut off. Raises OSError, NoteError."""
        hashes, size_bytes = read_leaves(files.records)
        if last is not None and (len(hashes) < last.size or root_of(hashes[: last.size]) != last.root):
            raise NoteError(f"{files.records}: its records do not match its last checkpoint; run `vedette audit verify`")
        segment = cls(files, last, is_new=False)
        segment.tree = tree_of(hashes)
        segment.size_bytes = size_bytes
        try:
            os.ftruncate(segment._fd, size_bytes)
            os.ftruncate(segment._hashes, 0)
            segment._unwritten_hashes += b"".join(hashes)
            segment.sync()
        except OSError:
            segment.close()
            raise
        return segment

    @property
    def protected(self) -> int:
        """Records that a checkpoint speaks of."""
        return self.last.size if self.last is not None else 0

    @property
    def is_ahead(self) -> bool:
        """Whether there are records that no checkpoint speaks of."""
        return self.tree.size > self.protected

    def write(self, lines: Sequence[bytes]) -> None:
        """Write whole lines or nothing: on an error the part that got through is cut off again."""
        data = b"".join(lines)
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:] if done else data)
        except OSError:
            if done:
                self._cut()
            raise
        self.size_bytes += len(data)
        hashes = [leaf_hash(line[:-1]) for line in lines]
        self.tree.extend(hashes)
        self._unwritten_hashes += b"".join(hashes)

    def _write_hashes(self) -> None:
        """The hashes only help to find a change, so they wait for the next checkpoint. What finds no room then waits for the one after."""
        unwritten, self._unwritten_hashes = self._unwritten_hashes, bytearray()
        try:
            del unwritten[: os.write(self._hashes, unwritten) if unwritten else 0]
        except OSError as error:
            log.warning("%s could not be written: %s", self.files.hashes, error)
        self._unwritten_hashes = unwritten

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self.size_bytes)
        except OSError:
            self.size_bytes = sys.maxsize  # a torn segment is over: the next line goes into another

    @property
    def unsynced(self) -> int:
        """Lines since the last sync."""
        return self.tree.size - self._synced[1].size

    def sync(self) -> bool:
        """Sync if there is anything new. False: the file is no longer in its folder."""
        if self.unsynced:
            _sync_data(self._fd)
            if not self._is_in_folder:
                sync_folder(self.files.folder)
                sync_folder(self.files.folder.parent)
                self._is_in_folder = True
            self._synced = (self.size_bytes, self.tree.copy())
        return os.fstat(self._fd).st_nlink > 0

    def cut_to_synced(self) -> bool:
        """Take back the lines since the last sync. False: the disk refuses that too, and they stay."""
        size_bytes, tree = self._synced
        unsynced_hashes = HASH_BYTES * self.unsynced
        try:
            os.ftruncate(self._fd, size_bytes)
        except OSError:
            return False
        del self._unwritten_hashes[
            len(self._unwritten_hashes) - unsynced_hashes :
        ]  # a checkpoint, which writes them, syncs first
        self.size_bytes, self.tree = size_bytes, tree.copy()
        return True

    def record(self, checkpoint: Checkpoint, signer: Signer | None) -> str:
        """Append a checkpoint to the segment's file of them; its note."""
        self._write_hashes()
        note = write_checkpoint(self.files, checkpoint, signer)
        self.last = checkpoint
        return note

    def close(self) -> None:
        self._write_hashes()
        os.close(self._hashes)
        os.close(self._fd)


def write_checkpoint(files: SegmentFiles, checkpoint: Checkpoint, signer: Signer | None) -> str:
    """Sign a checkpoint and append it to its segment's file; its note. Raises OSError."""
    text = checkpoint.text()
    note = signer.sign(text) if signer is not None else unsigned(text)
    append_note(files.checkpoints, note, must_sync=checkpoint.is_final or not checkpoint.size)
    return note
