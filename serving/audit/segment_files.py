"""The files of a chained log: where they lie, and how to read them. A log is what one writer wrote, in numbered segments.

    FOLDER/segment-START-LOG-NUMBER.jsonl              the records, one JSON object a line
    FOLDER/chain/segment-START-LOG-NUMBER.hashes       the leaf hash of each record, 32 bytes each
    FOLDER/chain/segment-START-LOG-NUMBER.checkpoints  signed checkpoints, oldest first: {"note": TEXT} a line
    FOLDER/chain/removed.jsonl                         signed notes about segments that retention removed
    FOLDER/chain/keys.jsonl                            signed notes about keys that took the place of others

START: microseconds since the epoch, 16 digits. NUMBER: from 1, 6 digits. A leaf is the line without its newline.

Somebody else may write to the folder too. So only regular files are opened, never a link, a pipe or a device; what is read of a line that
never ends is bounded; and a name of another form is no segment."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from serving.audit.checkpoint import Checkpoint
from serving.audit.signed_note import NoteError, text_of

PATTERN: Final = "segment-*.jsonl"
MOST_NOTE_BYTES: Final = 1024 * 1024
"""A longer line is no note."""
MOST_RECORD_BYTES: Final = 256 * 1024 * 1024
"""A longer line is no record."""
_TAIL_BYTES: Final = 64 * 1024
"""Longer than most checkpoints, with all their witnesses."""
_BLOCK: Final = 1024 * 1024
_NAME: Final = re.compile(r"segment-([0-9]{16})-([^\s/]+)-(?!000000)([0-9]{6})")
_MOST_SEGMENTS: Final = 999_999
_END_OF_TIME_US: Final = 10**16
_IRREGULAR: Final = "not a regular file; every file of a log must be one"


class IrregularFile(OSError):
    """A link, a pipe, a device or a folder stands where a file of the log should be."""


class NoteLine(msgspec.Struct, frozen=True):
    """One line of a file of notes."""

    note: str


_DECODER: Final = msgspec.json.Decoder(NoteLine)


@dataclass(frozen=True, slots=True)
class SegmentFiles:
    """The files of one segment. stem: `segment-START-LOG-NUMBER`."""

    folder: Path
    stem: str
    log: str
    number: int

    @classmethod
    def of(cls, folder: Path, stem: str) -> Self:
        """Read what the name says. Raises ValueError for a name of another form."""
        match = _NAME.fullmatch(stem)
        if match is None or not _is_stem(stem):
            raise ValueError(f"{folder / stem}: not the name of a segment (segment-START-LOG-NUMBER)")
        return cls(folder, stem, match[2], int(match[3]))

    @classmethod
    def new(cls, folder: Path, start_us: int, log: str, number: int) -> Self:
        """The files of a segment that begins now. Raises OSError where START or NUMBER would have too many digits."""
        if number > _MOST_SEGMENTS or not 0 <= start_us < _END_OF_TIME_US:
            raise OSError(errno.EOVERFLOW, f"log {log} cannot have a segment {number} that begins at {start_us}", str(folder))
        return cls(folder, f"segment-{start_us:016d}-{log}-{number:06d}", log, number)

    @property
    def start_us(self) -> int:
        """When it began, microseconds since the epoch."""
        return int(self.stem.split("-")[1])

    @property
    def records(self) -> Path:
        """The records, one a line."""
        return self.folder / f"{self.stem}.jsonl"

    @property
    def hashes(self) -> Path:
        """The records' leaf hashes."""
        return self.folder / "chain" / f"{self.stem}.hashes"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints, oldest first."""
        return self.folder / "chain" / f"{self.stem}.checkpoints"


def segments_in(folder: Path) -> list[SegmentFiles]:
    """Every segment of which there are records or checkpoints, by log and number. Raises OSError for a folder that cannot be read."""
    stems = _stems_in(folder, ".jsonl") | _stems_in(folder / "chain", ".checkpoints")
    found = [SegmentFiles.of(folder, stem) for stem in stems]
    return sorted(found, key=lambda files: (files.log, files.number, files.stem))


def segments_with_records(folder: Path) -> list[SegmentFiles]:
    """Every segment of which there are records, by the time at which it began; those of one log by their numbers, whatever their names
    say of the time. Raises OSError for a folder that cannot be read."""
    latest: dict[str, int] = {}
    timed = []
    for files in sorted(
        (SegmentFiles.of(folder, stem) for stem in _stems_in(folder, ".jsonl")), key=lambda f: (f.number, f.stem)
    ):
        start_us = latest[files.log] = max(files.start_us, latest.get(files.log, 0))
        timed.append((start_us, files.log, files.number, files.stem, files))
    return [files for *_, files in sorted(timed, key=lambda one: one[:4])]


def _stems_in(folder: Path, suffix: str) -> set[str]:
    """Names of segments, of regular files in a folder; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name.endswith(suffix)]
    except FileNotFoundError:
        return set()
    stems = ((entry.name.removesuffix(suffix), entry) for entry in found)
    return {stem for stem, entry in stems if _is_stem(stem) and entry.is_file(follow_symlinks=False)}


def _is_stem(stem: str) -> bool:
    return _NAME.fullmatch(stem) is not None and stem.isprintable()


def open_file(path: Path, flags: int = os.O_RDONLY, mode: int = 0o640) -> int:
    """Open a regular file of a log; its descriptor. Never waits. Raises OSError, for a link, a pipe, a device or a folder too."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link; a pipe that nobody reads
            raise IrregularFile(error.errno, _IRREGULAR, str(path)) from error
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise IrregularFile(errno.EINVAL, _IRREGULAR, str(path))


def open_to_read(path: Path) -> BinaryIO:
    """Open a regular file of a log for reading. Raises OSError as `open_file` does."""
    return os.fdopen(open_file(path), "rb")


def read_entries(path: Path, most: int = MOST_RECORD_BYTES) -> Iterator[bytes]:
    """The lines without their newline. What follows the last newline is no record yet and is left out.

    A line longer than `most` bytes is given without its end, so that it takes no more memory. Raises OSError."""
    with open_to_read(path) as lines:
        while line := lines.readline(most + 1):
            if line.endswith(b"\n"):
                yield line[:-1]
                continue
            start = line[:most]
            while line and not line.endswith(b"\n"):
                line = lines.readline(_BLOCK)
            if line:
                yield start


def read_leaves(path: Path, pause: Callable[[], None] = lambda: None) -> tuple[list[bytes], int]:
    """The leaf hash of each whole line, and how many bytes the whole lines are. Lines of any length take no memory. Raises OSError.

    pause: called after each mebibyte.

    The loop is the speed of verification: nothing is parsed, each whole line is hashed as it stands."""
    leaves: list[bytes] = []
    begun = None
    size_bytes = whole_bytes = 0
    with open_to_read(path) as file:
        while block := file.read(_BLOCK):
            *lines, rest = block.split(b"\n")
            if lines and begun is not None:
                begun.update(lines.pop(0))
                leaves.append(begun.digest())
                begun = None
            leaves += [sha256(b"\x00" + line).digest() for line in lines]
            size_bytes += len(block)
            whole_bytes = size_bytes - len(rest) if len(rest) < len(block) else whole_bytes
            if begun is not None:
                begun.update(rest)
            elif rest:
                begun = sha256(b"\x00" + rest)
            pause()
    return leaves, whole_bytes


def decode_note(line: bytes) -> str:
    """The note of one line of a file of notes. Raises NoteError for a line that holds none."""
    try:
        return _DECODER.decode(line).note
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without end
        raise NoteError(f"not a signed note ({error})") from error


def note_lines(path: Path) -> list[bytes]:
    """The whole lines of a file of notes, those longer than any note without their end; none where there is no file. Raises OSError."""
    try:
        return list(read_entries(path, MOST_NOTE_BYTES))
    except FileNotFoundError:
        return []


def read_notes(path: Path) -> list[str]:
    """The notes of a file, oldest first; a torn last line is left out. Raises NoteError, OSError."""
    notes = []
    for number, line in enumerate(read_entries(path, MOST_NOTE_BYTES), start=1):
        try:
            notes.append(decode_note(line))
        except NoteError as error:
            raise NoteError(f"{path}, line {number}: {error}") from error
    return notes


def note_line(note: str) -> bytes:
    """A note as a line of such a file, with its newline."""
    return msgspec.json.encode(NoteLine(note)) + b"\n"


def newest_note(files: SegmentFiles) -> str | None:
    """The last note of a segment's checkpoints; only the end of the file is read. None where there is none. Raises NoteError, OSError."""
    try:
        line = _last_line(files.checkpoints)
        return decode_note(line) if line is not None else None
    except FileNotFoundError:
        return None
    except NoteError as error:
        raise NoteError(f"{files.checkpoints}, last line: {error}") from error


def _last_line(path: Path) -> bytes | None:
    """The last whole line of a file of notes; None where there is none. Raises NoteError for one that is longer than any note."""
    with open_to_read(path) as file:
        size = file.seek(0, os.SEEK_END)
        for tail in (_TAIL_BYTES, 2 * MOST_NOTE_BYTES):  # a torn line may follow the last whole one
            start = max(0, size - tail)
            file.seek(start)
            *lines, _ = file.read(tail).split(b"\n")
            if len(lines) > 1 or (lines and not start):
                return lines[-1]
            if not start:
                return None
    raise NoteError("the line is longer than any signed note")


def newest_notes(folder: Path) -> list[str]:
    """The newest note of each log of a folder. Raises NoteError, OSError."""
    newest = {files.log: files for files in segments_in(folder) if files.checkpoints.exists()}
    return [note for note in map(newest_note, newest.values()) if note is not None]


def newest_checkpoint(files: SegmentFiles) -> Checkpoint | None:
    """The last checkpoint of a segment, as it says; no signature is checked. None where there is none. Raises NoteError, OSError."""
    note = newest_note(files)
    return Checkpoint.parse(text_of(note)) if note is not None else None


def has_ended(files: SegmentFiles) -> bool:
    """Whether a segment has its final checkpoint, as it says. Raises NoteError."""
    newest = newest_checkpoint(files)
    return newest is not None and newest.is_final
