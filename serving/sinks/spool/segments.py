"""The files of a spool: numbered segments, the cursor, the lock. One process writes a spool."""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from serving.files.folder_sync import sync_folder
from serving.sinks.errors import SpoolError
from serving.sinks.spool.frames import MAGIC, SpoolFrame, frames, is_torn

_log = logging.getLogger("vedette.sinks")
_NAME: Final = re.compile(r"(\d{12})\.spool")
_sync_data: Final = getattr(os, "fdatasync", os.fsync)
_MOST_DAMAGED: Final = 8
"""Files of damaged bytes that are kept; the oldest is removed."""


class SpoolPlace(NamedTuple):
    """Where a reader stands: the next record is at this offset of this segment."""

    segment: int
    offset: int


def path_of(folder: Path, number: int) -> Path:
    """The file of a segment."""
    return folder / f"{number:012d}.spool"


def segment_numbers(folder: Path) -> list[int]:
    """The segments that are there, in order."""
    return sorted(int(found[1]) for name in os.listdir(folder) if (found := _NAME.fullmatch(name)))


def lock_folder(folder: Path) -> int:
    """Make the folder and keep other processes out; the descriptor of the lock. Raises SpoolError."""
    try:
        make_durable(folder)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise SpoolError(f"{folder}: the spool cannot be opened: {problem}") from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(lock)
        raise SpoolError(
            f"{folder}: another process uses this spool; stop it, or give this one a spool_dir of its own"
        ) from problem
    return lock


def begin_segment(folder: Path, number: int) -> int:
    """A new segment, durable with its name; its descriptor. Raises OSError."""
    descriptor = os.open(path_of(folder, number), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, MAGIC)
        _sync_data(descriptor)
        sync_folder(folder)
    except OSError:
        os.close(descriptor)
        path_of(folder, number).unlink(missing_ok=True)
        raise
    return descriptor


def append_synced(descriptor: int, data: bytes, size: int) -> None:
    """Append to a segment of `size` bytes, durably, or leave it as it was. Raises OSError."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        _sync_data(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def make_durable(folder: Path) -> None:
    """Make a folder, and those above that are missing, with names that a power cut leaves. Raises OSError."""
    if not folder.is_dir():
        make_durable(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(folder.parent)


def repaired(folder: Path, number: int) -> Iterator[SpoolFrame]:
    """The records of a segment. What follows the last whole one is cut off; bytes that no crash explains are kept in a file beside."""
    path = path_of(folder, number)
    data = path.read_bytes()
    end = len(MAGIC) if data.startswith(MAGIC) else 0
    for frame in frames(data):
        end = frame.end
        yield frame
    rest = data[end:]
    if not rest and end:
        return
    if rest and not is_torn(rest) and not MAGIC.startswith(rest):
        path.with_suffix(f".{end}.damaged").write_bytes(rest)
        for old in sorted(folder.glob("*.damaged"))[:-_MOST_DAMAGED]:
            old.unlink()
        _log.error("%s: %d bytes are damaged; they are kept in %s.%d.damaged", path, len(rest), path.stem, end)
    elif rest:
        _log.warning("%s: cut off %d bytes that were not written to their end", path, len(rest))
    with path.open("r+b") as file:
        file.truncate(end)
        if end == 0:
            file.write(MAGIC)
        os.fsync(file.fileno())


def read_cursor(folder: Path, numbers: Sequence[int]) -> SpoolPlace:
    """Where the reader stood; the first record that is there, if that is not known."""
    start = SpoolPlace(numbers[0] if numbers else 1, len(MAGIC))
    try:
        found = json.loads((folder / "cursor").read_bytes())
        place = SpoolPlace(int(found["segment"]), int(found["offset"]))
    except FileNotFoundError:
        return start
    except (OSError, ValueError, KeyError, TypeError) as problem:
        _log.error("%s: the cursor cannot be read (%s); alerts that were delivered may be sent again", folder, problem)
        return start
    return max(place, start)


def write_cursor(folder: Path, place: SpoolPlace) -> None:
    """Record where the reader stands, in one step. Raises OSError."""
    fresh = folder / "cursor.new"
    with fresh.open("wb") as file:
        file.write(json.dumps(place._asdict()).encode())
        file.flush()
        _sync_data(file.fileno())
    fresh.replace(folder / "cursor")
