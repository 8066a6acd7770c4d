"""Scores one unit after the other, with a Scorer composed as behind the doors: rows read, windows counted, requests asked, rows written.

One request has some thousand rows. One that is refused is asked again in halves, down to the rows at fault; these are written with
the reason in place of a verdict."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.audit.record import NotRecorded
from serving.batch.data.columns import TypedRows, read_columns
from serving.batch.data.event_times import NO_TIME
from serving.batch.data.inputs import AT, FILE, ROW, read_unit
from serving.batch.errors import BatchError
from serving.batch.job import BatchJob
from serving.batch.output import HashingStream, UnitDone, file_of, record
from serving.batch.plan import WorkUnit
from serving.batch.scoring.composed import REQUEST_ROWS, ComposedScorer
from serving.batch.scoring.stored_rows import StoredRows
from serving.batch.scoring.verdict_rows import answered, rejected, schema_of
from serving.batch.scoring.windows import count_windows
from serving.errors import ServingError
from serving.messages import DTYPES, InferAnswer, Tensor

MOST_STORED_US: Final = 7 * 86_400 * 1_000_000
"""How far before a unit stored rows are looked for."""


class UnitScorer:
    """One worker's Scorer. Not for several threads."""

    def __init__(self, job: BatchJob, scorer: ComposedScorer) -> None:
        self._job, self._scorer, self._manifest = job, scorer, scorer.bundle.manifest
        fields = (
            (*self._manifest.entity_keys, *self._manifest.request_fields) if self._manifest.assembly else self._manifest.inputs
        )
        self._datatypes = {field.name: field.datatype for field in fields}
        self._stored = StoredRows({view: stored.path for view, stored in job.offline.items()}, scorer.reader.keys_of_views())

    def close(self) -> None:
        """Release everything."""
        self._scorer.close()

    def run(self, unit: WorkUnit, tell: Callable[[int], object] = lambda rows: None) -> UnitDone:
        """Score a unit and commit its file. tell: gets the number of rows after each request.

        Raises BatchError, ServingError for what another attempt may cure."""
        table = read_unit(self._scorer.input, unit, self._job.source)
        rows = read_columns(table, self._job.source, allow_nonfinite=self._manifest.allow_nonfinite)
        at_us = table[AT].to_numpy()
        own = np.ones(len(at_us), dtype=np.bool_) if unit.from_us is None else at_us >= unit.from_us
        if self._job.source.times and unit.first_row is None:
            rows.reject(at_us == NO_TIME, lambda _: "the time of the event is missing or cannot be read")
        self._use_history(unit, rows, at_us)
        counts: Counter[str] = Counter()
        with self._scorer.output.replacing(file_of(unit.name)) as file:
            stream = HashingStream(file)
            with pq.ParquetWriter(stream, schema_of(self._manifest), compression="zstd", compression_level=1) as writer:
                for part in self._tables(table, rows, at_us, np.flatnonzero(own), unit):
                    writer.write_table(part)
                    _count(part, counts)
                    tell(part.num_rows)
        entry = self._scorer.entry(unit, int(own.sum()), counts, stream)
        if entry.rows != unit.rows:
            raise BatchError(
                f"{unit.name}: {entry.rows} rows were found where {unit.rows} were planned; the input changed, start again"
            )
        record(self._scorer.output, entry)
        return entry

    def _tables(
        self, table: Any, rows: TypedRows, at_us: NDArray[np.int64], own: NDArray[np.intp], unit: WorkUnit
    ) -> Iterator[Any]:
        """The output's rows, some thousand at a time."""
        paths, places = pa.array([read.path for read in unit.reads]), table.select([FILE, ROW])
        for first in range(0, len(own), REQUEST_ROWS):
            index = own[first : first + REQUEST_ROWS]
            taken = places.take(pa.array(index))
            place = {
                "source_file": pa.DictionaryArray.from_arrays(taken[FILE].combine_chunks(), paths),
                "source_row": taken[ROW].to_numpy(),
                "event_time": at_us[index],
                **{key: rows.columns[key].values[index] for key in self._job.source.keys},
            }
            yield from self._answers(index, place, rows, at_us)

    def _answers(
        self, index: NDArray[np.intp], place: Mapping[str, Any], rows: TypedRows, at_us: NDArray[np.int64]
    ) -> Iterator[Any]:
        is_bad = np.fromiter((row in rows.why for row in index.tolist()), np.bool_, len(index)) if rows.why else None
        if is_bad is not None and is_bad.any():
            why = [rows.why[row] for row in index[is_bad].tolist()]
            yield rejected(why, self._manifest, _part(place, np.flatnonzero(is_bad)))
            good = np.flatnonzero(~is_bad)
            index, place = index[good], _part(place, good)
        waiting = [(index, place)] if len(index) else []
        while waiting:
            index, place = waiting.pop()
            try:
                yield answered(self._ask(index, rows, at_us), self._manifest, place)
            except NotRecorded:
                raise  # halves would not be recorded either
            except ServingError as problem:
                if problem.can_retry:
                    raise
                if len(index) == 1:
                    yield rejected([problem.message], self._manifest, place)
                else:
                    halves = np.array_split(np.arange(len(index)), 2)
                    waiting += [(index[half], _part(place, half)) for half in reversed(halves)]

    def _ask(self, index: NDArray[np.intp], rows: TypedRows, at_us: NDArray[np.int64]) -> InferAnswer:
        inputs = [
            Tensor(name, datatype, rows.columns[name].values[index].astype(DTYPES[datatype], copy=False))
            for name, datatype in self._datatypes.items()
        ]
        stamp = self._manifest.event_time_field
        if stamp is not None and stamp not in self._datatypes and (at_us[index] != NO_TIME).all():
            inputs.append(Tensor(stamp, "INT64", at_us[index]))
        return self._scorer.ask(tuple(inputs))

    def _use_history(self, unit: WorkUnit, rows: TypedRows, at_us: NDArray[np.int64]) -> None:
        """Features as of the unit's rows: counted over the data, or stored."""
        views = self._stored.between(unit.from_us - MOST_STORED_US, unit.to_us) if unit.from_us and unit.to_us else {}
        windows = self._job.source.windows
        if windows is not None:
            is_good = at_us != NO_TIME
            is_good[list(rows.why)] = False
            after_us = None if unit.from_us is None else unit.from_us - windows.ttl_s * 1_000_000 - 1_000_000
            counted = count_windows(rows, at_us, windows, is_good, after_us)
            views = {**views, **dict.fromkeys(windows.views, counted)}
        self._scorer.reader.use(views)


def _part(place: Mapping[str, Any], index: NDArray[np.intp]) -> dict[str, Any]:
    return {
        name: values.take(pa.array(index)) if isinstance(values, pa.Array) else values[index] for name, values in place.items()
    }


def _count(part: Any, counts: Counter[str]) -> None:
    """Add up an output table's rows: by verdict, rejected, degraded."""
    missing = part.num_rows - part["error"].null_count
    counts["rejected"] += missing
    if "verdict" in part.schema.names:
        for found in part["verdict"].drop_null().value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
        counts["degraded"] += pc.sum(part["degraded"]).as_py() or 0
    else:
        counts["answered"] += part.num_rows - missing
