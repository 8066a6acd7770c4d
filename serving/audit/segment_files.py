"""Where the files of a chained log lie, and how they are read. A log is what one writer wrote, in numbered segments.

    FOLDER/segment-START-LOG-NUMBER.jsonl              the records, one JSON object a line
    FOLDER/chain/segment-START-LOG-NUMBER.hashes       the leaf hash of each record, 32 bytes each
    FOLDER/chain/segment-START-LOG-NUMBER.checkpoints  signed checkpoints, oldest first: {"note": TEXT} a line
    FOLDER/chain/removed.jsonl                         signed notes about segments that retention removed
    FOLDER/chain/keys.jsonl                            signed notes about keys that took the place of others

START: microseconds since the epoch, 16 digits. NUMBER: from 1, 6 digits. A leaf is the line without its newline."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from serving.audit.checkpoint import Checkpoint
from serving.audit.signed_note import NoteError, text_of

PATTERN: Final = "segment-*.jsonl"
_TAIL_BYTES: Final = 64 * 1024
"""Longer than the longest checkpoint, with all its witnesses."""
_NAME: Final = re.compile(r"^segment-(\d{16})-(.+)-(\d{6})$")


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
        match = _NAME.match(stem)
        if match is None:
            raise ValueError(f"{folder / stem}: not the name of a segment (segment-START-LOG-NUMBER)")
        return cls(folder, stem, match[2], int(match[3]))

    @classmethod
    def new(cls, folder: Path, start_us: int, log: str, number: int) -> Self:
        """The files of a segment that begins now."""
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
    """Every segment of which there are records or checkpoints, by log and number."""
    stems = {path.stem for path in folder.glob(PATTERN)} | {
        path.stem for path in (folder / "chain").glob("segment-*.checkpoints")
    }
    found = [SegmentFiles.of(folder, stem) for stem in stems if _NAME.match(stem)]
    return sorted(found, key=lambda files: (files.log, files.number))


def read_entries(path: Path) -> Iterator[bytes]:
    """The lines without their newline. What follows the last newline is no record yet and is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield line[:-1]


def read_notes(path: Path) -> list[str]:
    """The notes of a file, oldest first; a torn last line is left out. Raises NoteError, OSError."""
    notes = []
    for number, line in enumerate(read_entries(path), start=1):
        try:
            notes.append(_DECODER.decode(line).note)
        except msgspec.DecodeError as error:
            raise NoteError(f"{path}, line {number}: not a signed note ({error})") from error
    return notes


def note_line(note: str) -> bytes:
    """A note as a line of such a file, with its newline."""
    return msgspec.json.encode(NoteLine(note)) + b"\n"


def newest_note(files: SegmentFiles) -> str | None:
    """The last note of a segment's checkpoints; only the end of the file is read. None where there is none. Raises NoteError, OSError."""
    try:
        with files.checkpoints.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(start)
            *lines, _ = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    if start and len(lines) < 2:  # a line longer than the tail
        notes = read_notes(files.checkpoints)
        return notes[-1] if notes else None
    try:
        return _DECODER.decode(lines[-1]).note if lines else None
    except msgspec.DecodeError as error:
        raise NoteError(f"{files.checkpoints}, last line: not a signed note ({error})") from error


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
