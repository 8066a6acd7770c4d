"""Rows of a JSON-lines or Parquet file, as the columns a model takes.

A file may have the model's own columns, or those of the source the detector was trained on; the first row decides.
A row with a missing or wrong value is set aside with its reason; the others go on."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.training.detector import parse_detector
from lifecycle.training.errors import DetectorError
from lifecycle.training.sending import Row, is_source_row, sender
from operators.cli.console import CommandError
from serving.models.manifest import Manifest
from serving.protocol.messages import DTYPES, Tensor

CHUNK_ROWS: Final = 4096


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


def count_rows(file: Path) -> int:
    """How many rows a file has. Raises CommandError for a file that cannot be read."""
    if not file.is_file():
        raise CommandError(f"{file}: no such file")
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(_parquet(pq.ParquetFile, file).metadata.num_rows)
    with file.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def read_chunks(file: Path, manifest: Manifest) -> Iterator[Chunk]:
    """The rows of a file, some at a time, in order. Raises CommandError if the model takes no columns or the file is of another kind."""
    wanted = _columns(manifest)
    keys = [k.name for k in manifest.entity_keys]
    start, send = 0, None
    for batch in _batches(file):
        if start == 0:
            send = _sender(manifest, batch)
        yield _chunk(batch if send is None else [_sent(send, row) for row in batch], start, wanted, keys, manifest)
        start += len(batch)


def _sender(manifest: Manifest, batch: Sequence[dict[str, Any] | str]) -> Callable[[Row], dict[str, Any]] | None:
    declared = manifest.lineage.detector if manifest.lineage else None
    first = next((row for row in batch if isinstance(row, dict)), None)
    if not declared or first is None:
        return None
    try:
        detector = parse_detector(dict(declared), where=f"bundle {manifest.name}")
    except DetectorError:
        return None  # a bundle made elsewhere: its own columns only
    return sender(detector) if is_source_row(detector, first) else None


def _sent(send: Callable[[Row], dict[str, Any]], row: dict[str, Any] | str) -> dict[str, Any] | str:
    if isinstance(row, str):
        return row
    try:
        return send(row)
    except ValueError as problem:
        return str(problem)


def _columns(manifest: Manifest) -> dict[str, str]:
    if manifest.assembly:
        return {f.name: f.datatype for f in (*manifest.entity_keys, *manifest.request_fields)}
    if all(len(t.shape) <= 1 or (len(t.shape) == 2 and t.shape[1] in (1, -1)) for t in manifest.inputs):
        return {t.name: t.datatype for t in manifest.inputs}
    raise CommandError(
        f"model {manifest.name!r} takes whole tensors, not one value a row; ask it over HTTP or gRPC, or build its bundle with columns"
    )


def _batches(file: Path) -> Iterable[list[dict[str, Any] | str]]:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in _parquet(pq.ParquetFile, file).iter_batches(batch_size=CHUNK_ROWS):
            yield batch.to_pylist()
    elif file.suffix in (".jsonl", ".ndjson", ".json"):
        yield from _json_batches(file)
    else:
        raise CommandError(f"{file}: expected .jsonl or .parquet")


def _json_batches(file: Path) -> Iterator[list[dict[str, Any] | str]]:
    batch: list[dict[str, Any] | str] = []
    with file.open("rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                batch.append(row if isinstance(row, dict) else f"is {type(row).__name__}, expected an object")
            except ValueError as problem:
                batch.append(f"is not JSON: {problem}")
            if len(batch) == CHUNK_ROWS:
                yield batch
                batch = []
    if batch:
        yield batch


def _parquet(opener: Any, file: Path) -> Any:
    try:
        return opener(file)
    except Exception as problem:  # pyarrow raises several kinds
        raise CommandError(f"{file}: cannot be read as Parquet: {problem}") from problem


def _chunk(
    batch: Sequence[dict[str, Any] | str], start: int, wanted: Mapping[str, str], keys: Sequence[str], manifest: Manifest
) -> Chunk:
    stamp = manifest.event_time_field
    good: list[dict[str, Any]] = []
    rows: list[int] = []
    rejected: list[tuple[int, str]] = []
    has_time = stamp is not None and any(isinstance(r, dict) and stamp in r for r in batch)
    for number, row in enumerate(batch, start):
        if isinstance(row, str):
            rejected.append((number, row))
            continue
        try:
            values = {name: _value(row.get(name), datatype, name) for name, datatype in wanted.items()}
            if has_time and stamp is not None:
                values[stamp] = _time(row.get(stamp), stamp)
        except ValueError as problem:
            rejected.append((number, str(problem)))
            continue
        good.append(values)
        rows.append(number)
    shapes = {t.name: len(t.shape) for t in manifest.inputs} if not manifest.assembly else {}
    inputs = [Tensor(name, dt, _array([g[name] for g in good], dt, shapes.get(name, 1))) for name, dt in wanted.items()]
    if has_time and stamp is not None:
        inputs.append(Tensor(stamp, "BYTES", _array([g[stamp] for g in good], "BYTES", 1)))
    return Chunk(tuple(inputs), tuple(rows), {k: [_text(g[k]) for g in good] for k in keys}, tuple(rejected))


def _value(value: Any, datatype: str, name: str) -> Any:
    if value is None:
        raise ValueError(f"column {name!r} is missing or null")
    if datatype == "BYTES":
        return value if isinstance(value, bytes) else str(value).encode()
    if datatype == "BOOL":
        if isinstance(value, bool):
            return value
        raise ValueError(f"column {name!r} is {value!r}, expected true or false")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"column {name!r} is {value!r}, expected a number")
    if datatype.startswith("FP"):
        if not np.isfinite(value):
            raise ValueError(f"column {name!r} is {value!r}, expected a finite number")
        return value
    limits = np.iinfo(DTYPES[datatype])
    if value != int(value) or not limits.min <= value <= limits.max:
        raise ValueError(f"column {name!r} is {value!r}, expected a whole number from {limits.min} to {limits.max}")
    return int(value)


def _time(value: Any, name: str) -> bytes:
    if isinstance(value, datetime):
        return value.isoformat().encode()
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError as problem:
            raise ValueError(f"column {name!r} is {value!r}, expected a time in RFC 3339") from problem
        return value.encode()
    raise ValueError(f"column {name!r} is {value!r}, expected a time")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _array(values: list[Any], datatype: str, dimensions: int) -> NDArray[Any]:
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=object)
        array[:] = values
    else:
        array = np.array(values, dtype=DTYPES[datatype])
    return array.reshape(-1, 1) if dimensions == 2 else array
