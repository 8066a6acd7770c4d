"""The output of a job: files of verdicts, and `_vedette/` beside them, which records the unit of each file.

A unit's file appears whole, then its entry. A unit whose entry has its key is done. So a job that was killed goes on where it was: what
has no entry, or one with another key, is done again and takes the place of what was there."""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import msgspec

from serving.batch.data.files import BatchFolder
from serving.batch.errors import BatchError, OutputInUse, OutputMismatch
from serving.batch.plan import InputFile, WorkUnit

STATE: Final = "_vedette"
_UNITS: Final = f"{STATE}/units"
_FILES: Final = f"{STATE}/files.json"


class UnitDone(msgspec.Struct, frozen=True):
    """The entry of one unit. counts: rows by verdict, `rejected`, `degraded`. digest, size: of its file. reads: files of the input."""

    name: str
    key: str
    rows: int
    counts: Mapping[str, int]
    digest: str
    size: int
    model: str
    version: str
    revision: str
    reads: tuple[str, ...]
    done_us: int


class BatchOutput:
    """One output, which at most one job writes to."""

    def __init__(self, place: BatchFolder) -> None:
        self.place = place

    @contextmanager
    def locked(self, owner: str) -> Iterator[None]:
        """Hold the output's lock. owner: who, for people. Raises OutputInUse.

        On a file system the lock ends with its process; in an object store it is an object, which a killed job leaves behind."""
        path = self.place.path(f"{STATE}/lock")
        if not self.place.is_local:
            with _object_lock(self.place, owner):
                yield
            return
        import fcntl

        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = os.read(fd, 200).decode(errors="replace").strip() or "another job"
                raise OutputInUse(f"{self.place.url}: {other} writes to it; wait for its end, or name another output") from None
            os.ftruncate(fd, 0)
            os.write(fd, owner.encode())
            yield
        finally:
            os.close(fd)

    def done(self) -> dict[str, UnitDone]:
        """The entries of all units, by name. Raises BatchError for one that cannot be read."""
        found = {}
        for path in self.place.names(_UNITS):
            if path.endswith(".json") and "/." not in path:
                entry = self._entry(path)
                found[entry.name] = entry
        return found

    def clear(self, units: Sequence[WorkUnit], done: Mapping[str, UnitDone], *, replace: bool) -> None:
        """Remove what killed jobs left, and files of parts that there are no more in the partitions of these units.

        Raises OutputMismatch if a file was made from input that is not there now, unless `replace`."""
        self.place.sweep()
        partitions, names = {unit.partition for unit in units}, {unit.name for unit in units}
        inputs = {unit.partition: set[str]() for unit in units}
        for unit in units:
            inputs[unit.partition] |= {read.path for read in unit.reads}
        for entry in done.values():
            partition = entry.name.rpartition("/")[0]
            gone = sorted(set(entry.reads) - inputs.get(partition, set(entry.reads)))
            if gone and not replace:
                raise OutputMismatch(
                    f"{self.place.url}: {partition} was made from {gone[0]!r} and {len(gone) - 1} more, which this input does not have; "
                    "name the whole folder of events (--since and --until limit the hours), or --replace what is there"
                )
        for name in sorted(done):
            if name.rpartition("/")[0] in partitions and name not in names:
                self.place.remove(_entry_path(name))  # first: without an entry the file counts for nothing
                self.place.remove(file_of(name))

    def has_file(self, entry: UnitDone) -> bool:
        """Whether an entry's file is there, in its size."""
        return self.place.size(file_of(entry.name)) == entry.size

    def scanned(self) -> dict[str, InputFile]:
        """What an earlier job found in the input's files; empty if it cannot be read."""
        text = self.place.read(_FILES)
        try:
            return msgspec.json.decode(text, type=dict[str, InputFile]) if text else {}
        except msgspec.DecodeError:
            return {}

    def keep_scanned(self, files: Mapping[str, InputFile]) -> None:
        """For the next job."""
        with self.place.replacing(_FILES) as stream:
            stream.write(msgspec.json.encode(files))

    def _entry(self, path: str) -> UnitDone:
        try:
            return msgspec.json.decode(self.place.read(path) or b"", type=UnitDone)
        except msgspec.DecodeError as problem:
            raise BatchError(
                f"{self.place.path(path)}: is no entry of a unit ({problem}); remove it, and its unit is done again"
            ) from problem


def record(place: BatchFolder, entry: UnitDone) -> None:
    """Note that a unit is done; its file is there already."""
    with place.replacing(_entry_path(entry.name)) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(entry)))


def file_of(name: str) -> str:
    """The file of a unit's rows.

    >>> file_of("date=2011-08-18/hour=13/part-0000")
    'date=2011-08-18/hour=13/part-0000.parquet'
    """
    return f"{name}.parquet"


def _entry_path(name: str) -> str:
    return f"{_UNITS}/{name}.json"


class HashingStream(io.RawIOBase):
    """Passes on what is written and hashes it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._state, self.size = stream, hashlib.sha256(), 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, part: Any) -> int:
        """Write all of it."""
        self._state.update(part)
        self._stream.write(part)
        self.size += len(part)
        return len(part)

    @property
    def digest(self) -> str:
        """Of everything written so far."""
        return f"sha256:{self._state.hexdigest()}"


@contextmanager
def _object_lock(place: BatchFolder, owner: str) -> Iterator[None]:
    path = f"{STATE}/lock"
    if (other := place.read(path)) is not None:
        raise OutputInUse(
            f"{place.url}: {other.decode(errors='replace')} writes to it; wait for its end. If that job was killed, "
            f"remove {place.path(path)}"
        )
    with place.replacing(path) as stream:
        stream.write(owner.encode())
    try:
        yield
    finally:
        place.remove(path)
