"""Rows of a JSON-lines or Parquet file, as the columns a model takes.

A row may have the model's own columns, or those of the source the detector was trained on; each row decides for itself. A row that
cannot be read, or has a missing or wrong value, is rejected with its reason; the others are scored. row_values checks the values."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.declarations import detector_of
from lifecycle.training.client_rows import is_source_row, sender
from operators.cli.console import CommandError
from operators.cli.models.row_values import now_text, time_of, value_of
from serving.messages import DTYPES, Tensor
from serving.models.manifest import Manifest

CHUNK_ROWS: Final = 4096
RawRow = dict[str, Any] | str
"""A row as it was read, or why it could not be."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows. inputs: columns of the good ones. rows: their numbers in the file. keys: their entity keys, as text.

    rejected: (number, reason) of the others."""

    inputs: tuple[Tensor, ...]
    rows: tuple[int, ...]
    keys: Mapping[str, Sequence[str]]
    rejected: tuple[tuple[int, str], ...]

    @property
    def size(self) -> int:
        """Rows read."""
        return len(self.rows) + len(self.rejected)

    def halves(self) -> tuple["Chunk", "Chunk"]:
        """The good rows in two parts."""
        middle = len(self.rows) // 2
        return self._part(0, middle), self._part(middle, len(self.rows))

    def _part(self, first: int, end: int) -> "Chunk":
        index = np.arange(first, end)
        keys = {name: values[first:end] for name, values in self.keys.items()}
        return Chunk(tuple(t.take(index) for t in self.inputs), self.rows[first:end], keys, ())


def count_rows(file: Path) -> int:
    """How many rows a file has. Raises CommandError for a file that cannot be read."""
    if not file.is_file():
        raise CommandError(f"{file}: no such file")
    if file.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        return int(_parquet(pq.ParquetFile, file).metadata.num_rows)
    with file.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def read_chunks(file: Path, manifest: Manifest, *, most_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """The rows of a file, some at a time, in order. Raises CommandError if the model takes no columns or the file is of another kind."""
    reader = _Reader(manifest)
    start = 0
    for batch in _batches(file, min(most_rows, CHUNK_ROWS)):
        yield reader.chunk(batch, start)
        start += len(batch)


class _Reader:
    """Makes one bundle's columns of rows."""

    def __init__(self, manifest: Manifest) -> None:
        self._datatypes = _columns(manifest)
        self._checked = _narrowed(self._datatypes, manifest)
        self._keys = [k.name for k in manifest.entity_keys if k.name in self._datatypes]
        self._stamp = manifest.event_time_field if manifest.event_time_field not in self._datatypes else None
        self._allow_nonfinite = manifest.allow_nonfinite
        self._dimensions = {t.name: len(t.shape) for t in manifest.inputs} if not manifest.assembly else {}
        self._detector = detector_of(manifest)
        self._send: Callable[[Mapping[str, Any]], dict[str, Any]] = dict if self._detector is None else sender(self._detector)

    def chunk(self, batch: Sequence[RawRow], start: int) -> Chunk:
        good: list[dict[str, Any]] = []
        rows: list[int] = []
        rejected: list[tuple[int, str]] = []
        for number, row in enumerate(batch, start):
            try:
                good.append(self._values(row))
                rows.append(number)
            except (ValueError, OverflowError) as problem:
                rejected.append((number, str(problem)))
        inputs = [self._tensor(name, datatype, good) for name, datatype in self._datatypes.items()]
        if self._stamp is not None and any(self._stamp in g for g in good):
            now = now_text()  # of a row that does not say when, as at any door
            times = [g.get(self._stamp, now) for g in good]
            inputs.append(Tensor(self._stamp, "BYTES", _array(times, "BYTES", 1)))
        keys = {k: [_key_text(g[k]) for g in good] for k in self._keys}
        return Chunk(tuple(inputs), tuple(rows), keys, tuple(rejected))

    def _values(self, row: RawRow) -> dict[str, Any]:
        """Raises ValueError, OverflowError."""
        if isinstance(row, str):
            raise ValueError(row)
        if self._detector is not None and is_source_row(self._detector, row):
            row = self._send(row)
        values = {
            name: value_of(row.get(name), datatype, name, allow_nonfinite=self._allow_nonfinite)
            for name, datatype in self._checked.items()
        }
        if self._stamp is not None and self._stamp in row:
            values[self._stamp] = time_of(row[self._stamp], self._stamp)
        return values

    def _tensor(self, name: str, datatype: str, good: Sequence[Mapping[str, Any]]) -> Tensor:
        return Tensor(name, datatype, _array([g[name] for g in good], datatype, self._dimensions.get(name, 1)))


def _columns(manifest: Manifest) -> dict[str, str]:
    if manifest.assembly:
        return {f.name: f.datatype for f in (*manifest.entity_keys, *manifest.request_fields)}
    if all(len(t.shape) <= 1 or (len(t.shape) == 2 and t.shape[1] in (1, -1)) for t in manifest.inputs):
        return {t.name: t.datatype for t in manifest.inputs}
    raise CommandError(
        f"model {manifest.name!r} takes whole tensors, not one value per row; ask it over HTTP or gRPC, or build its bundle with columns"
    )


def _narrowed(columns: Mapping[str, str], manifest: Manifest) -> dict[str, str]:
    """What a value has to fit: a real number also the tensor that it comes into, which is often of fewer bits than its column."""
    tensors = {t.name: t.datatype for t in manifest.inputs}
    into = {column: tensors[part.tensor] for part in manifest.assembly for column in part.columns}
    narrow = {name: min(datatype, into.get(name, datatype)) for name, datatype in columns.items() if datatype.startswith("FP")}
    return {**columns, **{name: datatype for name, datatype in narrow.items() if datatype.startswith("FP")}}


def _batches(file: Path, most_rows: int) -> Iterable[list[RawRow]]:
    if file.suffix.lower() == ".parquet":
        yield from _parquet_batches(file, most_rows)
    elif file.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        yield from _json_batches(file, most_rows)
    else:
        raise CommandError(f"{file}: expected .jsonl or .parquet")


def _json_batches(file: Path, most_rows: int) -> Iterator[list[RawRow]]:
    batch: list[RawRow] = []
    with file.open("rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            batch.append(_json_row(line))
            if len(batch) == most_rows:
                yield batch
                batch = []
    if batch:
        yield batch


def _json_row(line: bytes) -> RawRow:
    try:
        row = json.loads(line)
    except ValueError as problem:
        return f"is not JSON: {problem}"
    except RecursionError:
        return "is not JSON that can be read: it is nested too deeply"
    return row if isinstance(row, dict) else f"is {type(row).__name__}, expected an object"


def _parquet_batches(file: Path, most_rows: int) -> Iterator[list[RawRow]]:
    import pyarrow.parquet as pq

    batches = _parquet(pq.ParquetFile, file).iter_batches(batch_size=most_rows)
    read = 0
    while True:
        try:
            batch = next(batches, None)
        except Exception as problem:  # pyarrow raises several kinds
            raise CommandError(f"{file}: cannot be read as Parquet after row {read}: {problem}; repair the file") from problem
        if batch is None:
            return
        read += batch.num_rows
        yield _parquet_rows(batch)


def _parquet_rows(batch: Any) -> list[RawRow]:
    try:
        return list(batch.to_pylist())
    except Exception:  # a text that is not UTF-8, a time that Python has not: the rows one by one say which
        return [_parquet_row(batch, number) for number in range(batch.num_rows)]


def _parquet_row(batch: Any, number: int) -> RawRow:
    row: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = column[number].as_py()
        except Exception as problem:  # as above
            return f"column {name!r} cannot be read: {problem}"
    return row


def _parquet(opener: Any, file: Path) -> Any:
    try:
        return opener(file)
    except Exception as problem:  # pyarrow raises several kinds
        raise CommandError(f"{file}: cannot be read as Parquet: {problem}") from problem


def _key_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _array(values: list[Any], datatype: str, dimensions: int) -> NDArray[Any]:
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=object)
        array[:] = values
    else:
        array = np.array(values, dtype=DTYPES[datatype])
    if dimensions == 0 and len(values) == 1:
        return array.reshape(())
    return array.reshape(-1, 1) if dimensions == 2 else array
