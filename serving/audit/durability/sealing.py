"""Ends the segments that killed writers left open, so that their records are protected too. The signer did not write these records. The
checkpoint says so."""

import fcntl
import logging
import os
from pathlib import Path

from serving.audit.checkpoint import Checkpoint
from serving.audit.merkle import root_of
from serving.audit.segment_files import SegmentFiles, has_ended, newest_checkpoint, open_file, read_leaves, segments_in
from serving.audit.segments import write_checkpoint
from serving.audit.signed_note import NoteError, Signer

log = logging.getLogger(__name__)


def seal_abandoned(folder: Path, sealed_by: str, signer: Signer | None, now_us: int) -> list[str]:
    """End the segments whose writers ended without a final checkpoint, as a killed process does; the notes.

    The whole lines that are there become the segment's records. A segment that its writer still holds is left alone. One that cannot be
    ended, because its files are not as a writer leaves them, is logged, and left with the later ones of its log."""
    notes, before, previous = [], 0, None
    log_name = left = ""
    for files in segments_in(folder):
        if files.log == left:
            continue
        if files.log != log_name:
            log_name, before, previous = files.log, 0, None
        try:
            last = newest_checkpoint(files)
            if (last is None or not last.is_final) and files.records.exists():
                sealed = _seal(files, last, sealed_by, signer, now_us, before, previous)
                if sealed is None:
                    continue
                last, note = sealed
                notes.append(note)
        except (OSError, NoteError) as error:
            log.warning("%s was left open and could not be sealed: %s", files.records, error)
            left = files.log
            continue
        if last is not None:
            before, previous = last.before + last.size, last.digest()
    return notes


def _seal(
    files: SegmentFiles,
    last: Checkpoint | None,
    sealed_by: str,
    signer: Signer | None,
    now_us: int,
    before: int,
    previous: bytes | None,
) -> tuple[Checkpoint, str] | None:
    fd = open_file(files.records)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if has_ended(files):
            return None  # another writer was quicker
        os.fsync(fd)
        hashes, _ = read_leaves(files.records)
        if last is not None and (len(hashes) < last.size or root_of(hashes[: last.size]) != last.root):
            raise NoteError("its records do not match its last checkpoint; run `vedette audit verify`")
        _replace_hashes(files, b"".join(hashes))
        root = root_of(hashes)
        time_us = max(now_us, files.start_us, last.time_us if last is not None else 0)  # the clock may have been set back
        sealed = Checkpoint(
            files.log, files.number, len(hashes), root, time_us, before, previous, is_final=True, sealed_by=sealed_by
        )
        return sealed, write_checkpoint(files, sealed, signer)
    except BlockingIOError:
        return None  # a living writer has it open
    finally:
        os.close(fd)


def _replace_hashes(files: SegmentFiles, hashes: bytes) -> None:
    """Write the stored hashes anew, into a file of their own: what stands there may be a link. They only help to find a change."""
    try:
        files.hashes.parent.mkdir(parents=True, exist_ok=True)
        files.hashes.unlink(missing_ok=True)
        with os.fdopen(open_file(files.hashes, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(hashes)
    except OSError as error:
        log.warning("%s could not be written: %s", files.hashes, error)
