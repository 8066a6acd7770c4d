"""The requests to send: real events if there are any, shaped by the inputs in the model's metadata.

The first of these that there is: the file that is named (JSON lines of whole requests or of events, or Parquet); events of a shipped
detector (captures.py); captures in the data folder whose columns are the model's inputs; values made up from the inputs' types. users.py
sends the requests."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loadtests.captures import KEPT, Event, events_of, parquet_columns, parquet_rows
from loadtests.stubs import messages

Value = bool | int | float | str

_CONTENTS: Final = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the model. shape: -1 is a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Values in one row."""
        return int(np.prod([max(d, 1) for d in self.shape[1:]], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a request. data: its elements, flat and row-major."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """One request, for either door."""

    inputs: tuple[Tensor, ...]
    parameters: Mapping[str, Value]

    def as_json(self) -> bytes:
        """The HTTP body."""
        inputs = [{"name": t.name, "datatype": t.datatype, "shape": t.shape, "data": t.data} for t in self.inputs]
        return orjson.dumps({"parameters": dict(self.parameters), "inputs": inputs} if self.parameters else {"inputs": inputs})

    def as_message(self, model: str) -> Any:
        """The gRPC request, with typed contents."""
        request = messages.ModelInferRequest(model_name=model)
        for t in self.inputs:
            tensor = request.inputs.add(name=t.name, datatype=t.datatype, shape=t.shape)
            data = [str(v).encode() for v in t.data] if t.datatype == "BYTES" else t.data
            getattr(tensor.contents, _CONTENTS[t.datatype]).extend(data)
        for name, value in self.parameters.items():
            kind = {bool: "bool_param", int: "int64_param", str: "string_param"}.get(type(value))
            if kind is None:
                raise ValueError(f"parameter {name!r} is {value!r}; over gRPC a parameter is a bool, an integer or a string")
            setattr(request.parameters[name], kind, value)
        return request


def read_inputs(metadata: bytes) -> tuple[Input, ...]:
    """The model's inputs, from the body of GET /v2/models/NAME. Raises ValueError for a body that is not JSON."""
    return tuple(Input(i["name"], i["datatype"], tuple(i["shape"])) for i in orjson.loads(metadata)["inputs"])


def read_event_time(metadata: bytes) -> tuple[Input, ...]:
    """The optional input with the time of an event, if the model has one: Vedette names it in the metadata's parameters."""
    name = orjson.loads(metadata).get("parameters", {}).get("event_time_field")
    return (Input(name, "BYTES", (-1,)),) if isinstance(name, str) else ()


def load(metadata: bytes, *, model: str, file: Path | None, data_dir: Path | None, rows: int) -> tuple[str, list[Payload]]:
    """Where the payloads for a model come from, and the payloads. Raises ValueError if the named file does not fit the model."""
    inputs = read_inputs(metadata)
    if file is not None:
        return str(file), list(_from_file(file, inputs, rows))
    shipped = events_of(model, data_dir)
    if shipped is not None and shipped[1] and fits(inputs, shipped[1][0]):
        source, events = shipped
        timed = tuple(i for i in read_event_time(metadata) if i.name in events[0])
        return source, list(from_events((*inputs, *timed), events, rows))
    for capture in sorted(data_dir.glob("*/*.parquet")) if data_dir else ():
        if fits(inputs, parquet_columns(capture)):
            return str(capture), list(from_events(inputs, parquet_rows(capture), rows))
    return "made-up values", made_up(inputs, rows=rows)


def fits(inputs: Sequence[Input], columns: Iterable[str]) -> bool:
    """Whether events with these columns can be sent: each input is one of them and takes one value a row."""
    return {i.name for i in inputs} <= set(columns) and all(i.width == 1 for i in inputs)


def from_events(inputs: Sequence[Input], events: Iterable[Event], rows: int) -> Iterator[Payload]:
    """Requests of `rows` events each. A value that an event lacks is empty text or zero. An incomplete last request is left out."""
    source = iter(events)
    while len(batch := list(islice(source, rows))) == rows:
        yield Payload(tuple(_column(i, [e.get(i.name) for e in batch]) for i in inputs), {})


def made_up(inputs: Sequence[Input], *, rows: int, count: int = 200, seed: int = 1) -> list[Payload]:
    """Valid requests with random values; the same seed gives the same requests."""
    rng = np.random.default_rng(seed)

    def values(i: Input) -> list[Value]:
        n = rows * i.width
        if i.datatype == "BYTES":
            return [f"{i.name}-{v}" for v in rng.integers(0, 50, n)]
        if i.datatype.startswith("FP"):
            return [float(v) for v in rng.standard_normal(n).astype(np.float32)]
        return [bool(v) if i.datatype == "BOOL" else int(v) for v in rng.integers(0, 2 if i.datatype == "BOOL" else 100, n)]

    return [Payload(tuple(_tensor(i, rows, values(i)) for i in inputs), {}) for _ in range(count)]


def _column(i: Input, values: Sequence[Any]) -> Tensor:
    return _tensor(i, len(values), [_cast(i.datatype, v) for v in values])


def _tensor(i: Input, rows: int, values: Sequence[Value]) -> Tensor:
    shape = (rows, *(max(d, 1) for d in i.shape[1:])) if i.shape else ()
    return Tensor(i.name, i.datatype, shape, tuple(values))


def _cast(datatype: str, value: Any) -> Value:
    if isinstance(value, float) and math.isnan(value):  # as Parquet has it for a number that is missing
        value = None
    if datatype == "BYTES":
        return "" if value is None else str(value)
    if datatype.startswith("FP"):
        return 0.0 if value is None else float(value)
    return bool(value) if datatype == "BOOL" else int(value or 0)


def _from_file(file: Path, inputs: Sequence[Input], rows: int) -> Iterator[Payload]:
    if file.suffix == ".parquet":
        if not fits(inputs, parquet_columns(file)):
            raise ValueError(f"{file}: its columns are not the model's inputs {[i.name for i in inputs]}")
        yield from from_events(inputs, parquet_rows(file), rows)
        return
    with file.open("rb") as stream:
        lines = [_object(file, number, line) for number, line in enumerate(islice(stream, KEPT), 1) if line.strip()]
    if lines and "inputs" in lines[0]:
        for number, line in enumerate(lines, 1):
            try:
                yield _request(line)
            except (KeyError, TypeError, ValueError) as problem:
                raise ValueError(f"{file}: request {number} is none: {problem!r}") from problem
        return
    if not lines or not fits(inputs, lines[0]):
        raise ValueError(f"{file}: neither requests (with `inputs`) nor events with the fields {[i.name for i in inputs]}")
    yield from from_events(inputs, lines, rows)


def _object(file: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(line)
    except ValueError as problem:
        raise ValueError(f"{file}, line {number}: {problem}") from problem
    if not isinstance(found, dict):
        raise ValueError(f"{file}, line {number}: expected a JSON object")
    return found


def _request(line: Mapping[str, Any]) -> Payload:
    tensors = (Tensor(t["name"], t["datatype"], tuple(t["shape"]), tuple(np.ravel(t["data"]).tolist())) for t in line["inputs"])
    return Payload(tuple(tensors), line.get("parameters", {}))
