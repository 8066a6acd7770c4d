"""Which rows are scored together: units of time, each written to one file of the output. Core.

A row belongs to the partition of the hour (or day) in which its event is known. A partition with more rows than allowed is cut into
several units at whole seconds. A unit that depends on earlier events for its windows names them too, so that any worker can do it
alone, and do it again."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

SECOND_US: Final = 1_000_000
LENGTHS: Final = {"hour": 3600, "day": 86_400}
"""Seconds of a partition."""
NOWHEN: Final = "__HIVE_DEFAULT_PARTITION__"
"""Stands for the time of rows that have none, as in Hive."""


class InputGroup(msgspec.Struct, frozen=True):
    """One row group of a file. first_row: its first row's number in the file. from_us, to_us: the earliest and latest event in it, None if
    no row has a time. untimed: rows without a time."""

    rows: int
    first_row: int
    from_us: int | None = None
    to_us: int | None = None
    untimed: int = 0


class InputFile(msgspec.Struct, frozen=True):
    """A file of the input. path: within the input. digest: of its content. seconds, counts: how many events are known in each second
    (since the epoch), of those there are."""

    path: str
    digest: str
    groups: tuple[InputGroup, ...]
    seconds: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(group.rows for group in self.groups)


class Read(msgspec.Struct, frozen=True):
    """Row groups of a file that a unit reads."""

    path: str
    digest: str
    groups: tuple[int, ...]


class WorkUnit(msgspec.Struct, frozen=True):
    """Rows that are scored together. name: of its file, without the ending: `date=2011-08-18/hour=13/part-0000`.

    from_us, to_us: its rows are known from the one on and before the other; None: rows without a time. first_row, end_row: of a file
    without times, its rows. context_us: earlier events from here on are counted in windows. key: changes when its rows, or what they
    depend on, may have changed."""

    name: str
    rows: int
    reads: tuple[Read, ...]
    key: str
    from_us: int | None = None
    to_us: int | None = None
    context_us: int | None = None
    first_row: int | None = None
    end_row: int | None = None
    after: tuple[str, ...] = ()
    """Units whose files it reads beside the input; they are done before."""

    @property
    def partition(self) -> str:
        """The folder of its file."""
        return self.name.rpartition("/")[0]


def plan_units(
    files: Sequence[InputFile],
    *,
    identity: str,
    max_rows: int,
    lookback_us: int = 0,
    length: Literal["hour", "day"] = "hour",
    since_us: int | None = None,
    until_us: int | None = None,
) -> list[WorkUnit]:
    """All units, in order of time. identity: everything else that can change their rows (revision, columns, settings).

    since_us, until_us: only partitions that begin in between."""
    seconds, counts = _histogram(files)
    units: list[WorkUnit] = []
    size = LENGTHS[length]
    starts = seconds // size
    for start in np.unique(starts).tolist():
        from_us = start * size * SECOND_US
        if (since_us is not None and from_us < since_us) or (until_us is not None and from_us >= until_us):
            continue
        own = starts == start
        for part, (low, high, rows) in enumerate(_cut(seconds[own], counts[own], start * size, size, max_rows)):
            units.append(
                _timed_unit(files, f"{folder_of(from_us, length)}/part-{part:04d}", low, high, rows, lookback_us, identity)
            )
    untimed = [_read(f, [i for i, g in enumerate(f.groups) if g.untimed]) for f in files if any(g.untimed for g in f.groups)]
    if untimed and since_us is None and until_us is None:
        name = "/".join([f"date={NOWHEN}", *([f"hour={NOWHEN}"] if length == "hour" else []), "part-0000"])
        rows = sum(g.untimed for f in files for g in f.groups)
        units.append(WorkUnit(name, rows, tuple(untimed), _key(identity, name, untimed)))
    return units


def plan_windows(files: Sequence[InputFile], *, identity: str, window_s: int) -> list[WorkUnit]:
    """A unit for each window that has events, whole however many rows it has, in order of time. Windows begin at multiples of their
    length; those of less than an hour are parts of their hour's folder."""
    seconds, counts = _histogram(files)
    units = []
    for start in np.unique(seconds // window_s).tolist():
        low, high = start * window_s, (start + 1) * window_s
        rows = int(counts[(seconds >= low) & (seconds < high)].sum())
        folder = folder_of(low * SECOND_US, "hour" if window_s <= LENGTHS["hour"] else "day")
        part = (low % LENGTHS["hour"]) // window_s if window_s <= LENGTHS["hour"] else (low % LENGTHS["day"]) // window_s
        units.append(_timed_unit(files, f"{folder}/part-{part:04d}", low, high, rows, 0, identity))
    return units


def plan_files(files: Sequence[InputFile], *, identity: str, max_rows: int) -> list[WorkUnit]:
    """Units of data without times: rows of one file each, in the file's order, under the file's own folder."""
    units = []
    stems = Counter(file.path.rpartition(".")[0] for file in files)
    for file in files:
        stem = file.path.rpartition(".")[0] or "rows"
        stem = stem if stems[stem] < 2 else file.path  # a.parquet and a.pq
        for part, first in enumerate(range(0, file.rows, max_rows)):
            end = min(first + max_rows, file.rows)
            groups = [i for i, g in enumerate(file.groups) if g.first_row < end and g.first_row + g.rows > first]
            reads, name = [_read(file, groups)], f"{stem}/part-{part:04d}"
            units.append(
                WorkUnit(name, end - first, tuple(reads), _key(identity, name, reads, first, end), first_row=first, end_row=end)
            )
    return units


def folder_of(at_us: int, length: str) -> str:
    """The partition of a moment, UTC.

    >>> folder_of(1_313_674_775_000_000, "hour")
    'date=2011-08-18/hour=13'
    """
    moment = datetime.fromtimestamp(at_us // SECOND_US, UTC)
    return f"date={moment:%Y-%m-%d}/hour={moment:%H}" if length == "hour" else f"date={moment:%Y-%m-%d}"


def chains(units: Iterable[WorkUnit], most: int) -> list[list[WorkUnit]]:
    """Units in runs that follow each other in time, so that a worker that does a run reads what they share once."""
    waiting = list(units)
    length = max(1, -(-len(waiting) // max(most, 1)))
    return [waiting[at : at + length] for at in range(0, len(waiting), length)]


def _timed_unit(
    files: Sequence[InputFile], name: str, low: int, high: int, rows: int, lookback_us: int, identity: str
) -> WorkUnit:
    from_us, to_us = low * SECOND_US, high * SECOND_US
    context_us = from_us - lookback_us
    reads = []
    for file in files:
        groups = [
            i
            for i, g in enumerate(file.groups)
            if g.from_us is not None and g.to_us is not None and g.from_us < to_us and g.to_us >= context_us
        ]
        if groups:
            reads.append(_read(file, groups))
    key = _key(identity, name, reads, from_us, to_us, context_us)
    return WorkUnit(name, rows, tuple(reads), key, from_us, to_us, context_us if lookback_us else None)


def _cut(
    seconds: NDArray[np.int64], counts: NDArray[np.int64], first: int, size: int, max_rows: int
) -> list[tuple[int, int, int]]:
    """Parts of a partition as (from, to, rows), seconds. One second is never cut, however many rows it has."""
    running = np.cumsum(counts)
    cuts, done = [first], 0
    while done < running[-1]:
        at = int(np.searchsorted(running, done + max_rows, side="right"))
        at = max(at, int(np.searchsorted(running, done, side="right")) + 1)  # at least one second
        if at >= len(seconds):
            break
        cuts.append(int(seconds[at]))
        done = int(running[at - 1])
    edges = [*cuts, first + size]
    parts = [(a, b, int(counts[(seconds >= a) & (seconds < b)].sum())) for a, b in pairwise(edges)]
    return [part for part in parts if part[2]]


def _histogram(files: Sequence[InputFile]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    every = np.array([s for f in files for s in f.seconds], dtype=np.int64)
    counts = np.array([c for f in files for c in f.counts], dtype=np.int64)
    seconds, places = np.unique(every, return_inverse=True)
    return seconds, np.bincount(places, weights=counts, minlength=len(seconds)).astype(np.int64)


def _read(file: InputFile, groups: Sequence[int]) -> Read:
    return Read(file.path, file.digest, tuple(groups))


def _key(identity: str, name: str, reads: Sequence[Read], *more: int) -> str:
    content = msgspec.json.encode([identity, name, [(r.path, r.digest, r.groups) for r in reads], more])
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
