"""Tombstones: signed notes about segments whose records were removed. One is on the disk before the records go.

    vedette-audit-removed
    segment LOG/NUMBER
    size N                   records that it had
    root B64                 their Merkle root
    checkpoint B64           SHA-256 of the text of its final checkpoint
    time_us T                when, microseconds since the epoch, UTC
    reason WORDS
    by NAME                  who removed it: a user's name, or `retention`

They are in `FOLDER/chain/removed.jsonl`. The segment's checkpoints stay, so that the log's segments still name one another; its leaf
hashes go with the records. Records that are not what their final checkpoint says are evidence, and are never removed. Whether a removal was
allowed is decided by the caller."""

import fcntl
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from serving.audit.checkpoint import Checkpoint
from serving.audit.merkle import HASH_BYTES, root_of
from serving.audit.note_files import append_note
from serving.audit.segment_files import (
    SegmentFiles,
    decode_note,
    newest_checkpoint,
    note_lines,
    open_file,
    read_leaves,
)
from serving.audit.signed_note import NoteError, Signer, text_of, unsigned, whole_number

log = logging.getLogger(__name__)

KIND: Final = "vedette-audit-removed"
"""First line of a tombstone."""


class SegmentChanged(NoteError):
    """The records of a segment are not what its final checkpoint says, so they must stay as they are."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was removed, when, why and by whom. root, checkpoint: 32 bytes. reason, by: one line each, not empty."""

    log: str
    segment: int
    size: int
    root: bytes
    checkpoint: bytes
    time_us: int
    reason: str
    by: str

    @classmethod
    def over(cls, final: Checkpoint, *, time_us: int, reason: str, by: str) -> Self:
        """The tombstone of the segment that ended with this checkpoint. Raises NoteError for words that are no one line."""
        stone = cls(final.log, final.segment, final.size, final.root, final.digest(), time_us, reason, by)
        if cls.parse(stone.text()) != stone:
            raise NoteError(f"reason and by must each be one line that is not empty, got {reason!r} and {by!r}")
        return stone

    def text(self) -> str:
        """The text that is signed."""
        lines = [KIND, f"segment {self.log}/{self.segment}", f"size {self.size}", f"root {b64encode(self.root).decode()}"]
        lines += [f"checkpoint {b64encode(self.checkpoint).decode()}", f"time_us {self.time_us}"]
        return "\n".join([*lines, f"reason {self.reason}", f"by {self.by}"]) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text. Raises NoteError."""
        try:
            kind, *rest = text.removesuffix("\n").split("\n")
            words = dict(line.split(" ", 1) for line in rest)
            name, number = words["segment"].rsplit("/", 1)
            root, digest = (b64decode(words[what], validate=True) for what in ("root", "checkpoint"))
            size, time_us = whole_number(words["size"]), whole_number(words["time_us"])
            stone = cls(name, whole_number(number), size, root, digest, time_us, words["reason"], words["by"])
        except (KeyError, ValueError) as error:
            raise NoteError(f"not a tombstone: {text[:80]!r}") from error
        is_whole = len(root) == len(digest) == HASH_BYTES and bool(stone.reason) and bool(stone.by)
        if kind != KIND or not is_whole or stone.text() != text:
            raise NoteError(f"not a tombstone in canonical form: {text[:80]!r}")
        return stone


def tombstones_file(folder: Path) -> Path:
    """Where the tombstones of a folder's logs are."""
    return folder / "chain" / "removed.jsonl"


def write_tombstone(folder: Path, stone: Tombstone, signer: Signer | None) -> str:
    """Put a tombstone on the disk; its note. It is durable when this returns. Raises OSError."""
    note = signer.sign(stone.text()) if signer is not None else unsigned(stone.text())
    append_note(tombstones_file(folder), note)
    return note


def remove_segment(
    files: SegmentFiles, signer: Signer | None, *, now_us: int, reason: str, by: str, pause: Callable[[], None] = lambda: None
) -> bool:
    """Remove a segment's records and leave its tombstone. False: a living writer holds it, it has no final checkpoint yet, or it is gone.

    Without a signer the tombstone is unsigned, as checkpoints are then. pause: called after each mebibyte that is read. Raises OSError,
    NoteError, SegmentChanged if the records are not what the final checkpoint says; then they are still there."""
    try:
        fd = open_file(files.records)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        final = newest_checkpoint(files)
        if os.fstat(fd).st_nlink == 0 or final is None or not final.is_final:
            return False
        check_records(files, final, pause)
        if not _has_tombstone(files):
            write_tombstone(files.folder, Tombstone.over(final, time_us=now_us, reason=reason, by=by), signer)
        files.records.unlink(missing_ok=True)
        files.hashes.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def check_records(files: SegmentFiles, final: Checkpoint, pause: Callable[[], None] = lambda: None) -> None:
    """Raises SegmentChanged if the records of a live segment are not what its final checkpoint says, OSError."""
    hashes, _ = read_leaves(files.records, pause)
    if len(hashes) != final.size or root_of(hashes) != final.root:
        raise SegmentChanged(
            f"{files.records}: its records do not match its final checkpoint; `vedette audit verify` says what was changed"
        )


def _has_tombstone(files: SegmentFiles) -> bool:
    """Whether there is one of this segment. Other lines, junk too, are passed over: they must not keep segments from being removed."""
    name = f"segment {files.log}/{files.number}\\n".encode()
    for line in note_lines(tombstones_file(files.folder)):
        try:
            stone = Tombstone.parse(text_of(decode_note(line))) if name in line else None
        except NoteError:
            continue
        if stone is not None and (stone.log, stone.segment) == (files.log, files.number):
            return True
    return False
