"""The files of an input: what is in them and when, and the rows that a unit needs. The input's content is read, never trusted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.batch.data.event_times import NO_TIME, event_times_us
from serving.batch.data.files import BatchFolder
from serving.batch.data.source import Source
from serving.batch.errors import BatchInputError
from serving.batch.plan import SECOND_US, InputFile, InputGroup, WorkUnit

FILE: Final = "__file"
ROW: Final = "__row"
AT: Final = "__at"
"""Columns that `read_unit` adds: the file's place among the unit's reads, the row's number in the file, and when it is known."""
_BATCH_ROWS: Final = 131_072
Scanned = Callable[[int, int], object]
"""Told how many files are scanned, and how many there are."""


def scan(
    place: BatchFolder, source: Source, known: dict[str, InputFile], tell: Scanned = lambda done, of: None
) -> list[InputFile]:
    """Every file of the input. known: files of an earlier scan by `path@stamp`; it is brought up to date.

    Raises BatchInputError for a file that cannot be read."""
    names, files = place.parquet_files(), []
    kept = {}
    for done, name in enumerate(names):
        tell(done, len(names))
        mark = f"{name}@{place.stamp(name)}"
        file = known.get(mark) or _scan_file(place, name, source)
        kept[mark] = file
        files.append(file)
    tell(len(names), len(names))
    known.clear()
    known.update(kept)
    return files


def is_timed(files: Sequence[InputFile]) -> bool:
    """Whether any row of the input has a time."""
    return any(file.seconds for file in files)


def read_unit(place: BatchFolder, unit: WorkUnit, source: Source) -> Any:
    """The unit's rows and their context as one Table, in order of time, with the columns FILE, ROW and AT; those of the context are
    known before `unit.from_us`. Raises BatchInputError."""
    parts = [part for number, read in enumerate(unit.reads) for part in _read_part(place, unit, number, source)]
    if not parts:
        raise BatchInputError(f"{place.url}: the rows of {unit.name} are not there any more; start again")
    table = pa.concat_tables(parts, promote_options="permissive")
    if unit.from_us is None:
        return table
    at_us = table[AT].to_numpy()
    return table if (at_us[1:] >= at_us[:-1]).all() else table.take(pa.array(np.argsort(at_us, kind="stable")))


def _scan_file(place: BatchFolder, name: str, source: Source) -> InputFile:
    try:
        with place.open(name) as stream:
            parquet = pq.ParquetFile(stream)
            names = frozenset(parquet.schema_arrow.names)
            spec = source.time_in(names | frozenset(hive_columns(name)))
            groups, found, first = [], [], 0
            for number in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(number).num_rows
                if spec is None:
                    groups.append(InputGroup(rows, first))
                else:
                    columns = [c for c in (spec.column, spec.duration) if c is not None]
                    at_us = np.concatenate(
                        [np.zeros(0, dtype=np.int64)]
                        + [event_times_us(b, spec) for b in parquet.iter_batches(_BATCH_ROWS, [number], columns)]
                    )
                    timed = at_us[at_us != NO_TIME]
                    low, high = (int(timed.min()), int(timed.max())) if len(timed) else (None, None)
                    groups.append(InputGroup(rows, first, low, high, len(at_us) - len(timed)))
                    found.append(np.unique(timed // SECOND_US, return_counts=True))
                first += rows
    except BatchInputError as problem:
        raise BatchInputError(f"{place.path(name)}: {problem}") from problem
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as problem:
        raise BatchInputError(
            f"{place.path(name)}: cannot be read as Parquet: {problem}; repair or remove the file"
        ) from problem
    seconds, counts = _merged(found)
    return InputFile(name, place.digest(name), tuple(groups), tuple(seconds.tolist()), tuple(counts.tolist()))


def _merged(found: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    seconds, places = np.unique(np.concatenate([s for s, _ in found]), return_inverse=True)
    return seconds, np.bincount(places, weights=np.concatenate([c for _, c in found])).astype(np.int64)


def _read_part(place: BatchFolder, unit: WorkUnit, number: int, source: Source) -> Iterator[Any]:
    read = unit.reads[number]
    try:
        with place.open(read.path) as stream:
            parquet = pq.ParquetFile(stream)
            inner = parquet.schema_arrow.names
            hive = {name: value for name, value in hive_columns(read.path).items() if name not in inner}
            wanted = _wanted(source, frozenset(inner) | frozenset(hive))
            columns = [name for name in inner if name in wanted]
            starts = np.cumsum([0, *(parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups))])
            for group in read.groups:
                first = int(starts[group])
                for batch in parquet.iter_batches(_BATCH_ROWS, [group], columns):
                    table = pa.Table.from_batches([batch])
                    for name in wanted & hive.keys():
                        table = table.append_column(name, pa.repeat(pa.scalar(hive[name]), table.num_rows))
                    yield from _of_unit(table, unit, number, first, source)
                    first += batch.num_rows
    except BatchInputError as problem:
        raise BatchInputError(f"{place.path(read.path)}: {problem}") from problem
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as problem:
        raise BatchInputError(f"{place.path(read.path)}: cannot be read as Parquet: {problem}; start again") from problem


def _of_unit(table: Any, unit: WorkUnit, number: int, first: int, source: Source) -> Iterator[Any]:
    """The rows of a batch that belong to the unit or its context."""
    rows = np.arange(first, first + table.num_rows, dtype=np.int64)
    spec = source.time_in(frozenset(table.schema.names))
    at_us = event_times_us(table, spec) if spec is not None else np.full(table.num_rows, NO_TIME)
    if unit.first_row is not None and unit.end_row is not None:
        mask = (rows >= unit.first_row) & (rows < unit.end_row)
    elif unit.from_us is None or unit.to_us is None:
        mask = at_us == NO_TIME
    else:
        low = unit.context_us if unit.context_us is not None else unit.from_us
        mask = (at_us >= low) & (at_us < unit.to_us)
    if not mask.any():
        return
    kept = table.filter(pa.array(mask))
    for name, values in ((FILE, np.full(kept.num_rows, number, dtype=np.int32)), (ROW, rows[mask]), (AT, at_us[mask])):
        kept = kept.append_column(name, pa.array(values))
    yield kept


def _wanted(source: Source, names: frozenset[str]) -> frozenset[str]:
    found = {column.found_in(names) for column in source.columns} - {None}
    spec = source.time_in(names)
    times = {spec.column, spec.duration} - {None} if spec is not None else set()
    return frozenset(str(name) for name in found | times)


def hive_columns(path: str) -> dict[str, str]:
    """Columns that the folders of a path name.

    >>> hive_columns("date=2011-08-18/site=prague/flows.parquet")
    {'date': '2011-08-18', 'site': 'prague'}
    """
    parts = [folder.split("=", 1) for folder in PurePosixPath(path).parts[:-1] if "=" in folder]
    return {name: value for name, value in parts if value != "__HIVE_DEFAULT_PARTITION__"}
