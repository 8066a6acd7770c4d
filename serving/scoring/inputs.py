"""The inputs of a request: either all the graph's tensors, or columns (entity keys and request-time fields). Core.

The names of the inputs decide which. Everything is checked here once: names, datatypes, shapes, finiteness, rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.messages import InferRequest, Tensor
from serving.models.manifest import Manifest, TensorSpec, rows_of

EVENT_TIME: Final = "event_time"
"""Request parameter that says when the events happened."""
_MAX_SUMMED: Final = 128
"""Elements up to which Python's own sum is quicker than two passes of numpy (2 us for 20)."""
_FEW_COLUMNS: Final = 16
_ONE_ROW: Final = (1,)
_INT64: Final = np.dtype(np.int64)
_MOMENT_LIMIT_US: Final = 2**62
"""Beyond it the age of a feature does not fit 64 bits."""
_MOMENT_EXPECTED: Final = "expected RFC 3339 text or microseconds since the epoch"


class TensorRows(msgspec.Struct, frozen=True, gc=False):
    """The graph's own inputs, as sent: name -> array; BYTES as object arrays of bytes."""

    tensors: Mapping[str, NDArray[Any]]
    rows: int

    def take(self, index: NDArray[np.intp]) -> "TensorRows":
        """These rows only."""
        return TensorRows({name: tensor[index] for name, tensor in self.tensors.items()}, len(index))


class ColumnRows(msgspec.Struct, frozen=True, gc=False):
    """Columns of shape (n,): the entity's keys, the request-time fields, and the moment of each event (int64 (n,), us)."""

    keys: Mapping[str, NDArray[Any]]
    fields: Mapping[str, NDArray[Any]]
    at_us: NDArray[np.int64]
    rows: int

    def take(self, index: NDArray[np.intp]) -> "ColumnRows":
        """These rows only."""
        keys = {name: column[index] for name, column in self.keys.items()}
        fields = {name: column[index] for name, column in self.fields.items()}
        return ColumnRows(keys, fields, self.at_us[index], len(index))


@dataclass(frozen=True, slots=True)
class InputPlan:
    """The inputs that one bundle takes, worked out once when it is loaded."""

    tensors: Mapping[str, TensorSpec]
    keys: Mapping[str, str]
    fields: Mapping[str, str]
    event_time: str | None
    takes_columns: bool
    allow_nonfinite: bool
    single_tensor: tuple[str, str, tuple[int, ...]] | None = None
    """Name, datatype and the dimensions after the rows, of a model that takes one tensor with a free number of rows."""
    non_row_inputs: frozenset[str] = frozenset()
    """Tensors whose free first dimension is not the rows'."""
    single_columns: tuple[tuple[str, str], ...] = ()
    """Name and datatype of each column, for requests of one row; empty where such requests need a closer look."""

    @classmethod
    def of(cls, manifest: Manifest, non_row_inputs: frozenset[str] = frozenset()) -> "InputPlan":
        """Work out the plan of a bundle. apart: see the field."""
        keys = {k.name: k.datatype for k in manifest.entity_keys} if manifest.assembly else {}
        fields = {f.name: f.datatype for f in manifest.request_fields} if manifest.assembly else {}
        return cls(
            tensors={t.name: t for t in manifest.inputs},
            keys=keys,
            fields=fields,
            event_time=manifest.event_time_field,
            takes_columns=bool(manifest.assembly),
            allow_nonfinite=manifest.allow_nonfinite,
            single_tensor=_single_tensor(manifest.inputs),
            non_row_inputs=non_row_inputs,
            single_columns=_single_columns(manifest, keys, fields),
        )

    def read(self, request: InferRequest, now_us: int, max_rows: int) -> TensorRows | ColumnRows:
        """Check a request's inputs; returns them as tensors or columns. Raises BadRequest."""
        if (
            self.single_tensor is not None and len(request.inputs) == 1
        ):  # the usual request, without a loop; any other takes the slower path
            (tensor,), (name, datatype, rest) = request.inputs, self.single_tensor
            shape = tensor.data.shape
            if tensor.name == name and tensor.datatype == datatype and shape and shape[1:] == rest:
                self._check_values(tensor, datatype)
                _check_rows(shape[0], max_rows)
                return TensorRows({name: tensor.data}, shape[0])
        if self.single_columns:
            row = self._one_row(request.inputs)
            if row is not None:
                return row
        sent = {t.name: t for t in request.inputs}
        if len(sent) != len(request.inputs):
            raise BadRequest(f"inputs {repeated(t.name for t in request.inputs)} are sent more than once; send each input once")
        if sent.keys() == self.tensors.keys():
            return self._tensor_rows(sent, max_rows)
        if self.takes_columns:
            return self._column_rows(sent, request, now_us, max_rows)
        raise BadRequest(_names_problem(sent, list(self.tensors), request.model))

    def _one_row(self, inputs: tuple[Tensor, ...]) -> ColumnRows | None:
        """The usual request with features: every column and the time, each [1], nothing odd about them. None for any other, valid or not.
        It accepts nothing that `_column_rows` refuses, and gives the same; a property test holds it to that."""
        columns, event_time, time = self.single_columns, self.event_time, None
        if len(inputs) != len(columns) + 1:
            return None
        data: dict[str, NDArray[Any]] = {}
        for tensor in inputs:
            values = tensor.data
            if values.shape != _ONE_ROW:
                return None
            if tensor.name == event_time:
                if values.dtype is not _INT64 or not -_MOMENT_LIMIT_US < values.item() < _MOMENT_LIMIT_US:
                    return None
                time = values
            else:
                data[tensor.name] = values
                if not (tensor.is_finite or self.allow_nonfinite or values.dtype.kind != "f"):
                    return None
                if (tensor.name, tensor.datatype) not in columns:
                    return None
        if time is None or len(data) != len(columns):
            return None
        if len(columns) == 1 and not self.fields:
            return ColumnRows(data, {}, time, 1)
        return ColumnRows({k: data[k] for k in self.keys}, {f: data[f] for f in self.fields}, time, 1)

    def _tensor_rows(self, sent: Mapping[str, Tensor], max_rows: int) -> TensorRows:
        for name, spec in self.tensors.items():
            tensor = sent[name]
            self._check_values(tensor, spec.datatype)
            shape = tensor.shape
            if len(shape) != len(spec.shape) or any(e not in (-1, s) for s, e in zip(shape, spec.shape, strict=True)):
                raise BadRequest(f"input {name!r} has shape {list(shape)}, expected {list(spec.shape)} (-1: any size)")
        try:
            rows = rows_of(
                tuple(self.tensors.values()), {name: tensor.shape for name, tensor in sent.items()}, self.non_row_inputs
            )
        except ValueError as problem:
            raise BadRequest(str(problem)) from problem
        _check_rows(rows, max_rows)
        for name in self.non_row_inputs:
            if sent[name].shape[0] > max_rows:
                raise BadRequest(
                    f"input {name!r} has a first dimension of {sent[name].shape[0]}, at most {max_rows} is accepted"
                )
        return TensorRows({name: sent[name].data for name in self.tensors}, rows)

    def _column_rows(self, sent: Mapping[str, Tensor], request: InferRequest, now_us: int, max_rows: int) -> ColumnRows:
        needed = {**self.keys, **self.fields}
        extra = sent.keys() - needed.keys() - ({self.event_time} if self.event_time else set())
        if extra or not needed.keys() <= sent.keys():
            raise BadRequest(_names_problem(sent, list(needed), request.model, tensors=list(self.tensors)))
        columns = {name: self._column(sent[name], datatype) for name, datatype in needed.items()}
        rows = len(next(iter(columns.values())))
        for name, column in columns.items():
            if len(column) != rows:
                raise BadRequest(
                    f"input {name!r} has {len(column)} rows, the others have {rows}; send one value per row in each"
                )
        _check_rows(rows, max_rows)
        stamp = sent.get(self.event_time) if self.event_time and self.event_time not in needed else None
        if stamp is None and self.event_time in columns:
            at_us = _times(columns[str(self.event_time)], str(self.event_time))
        elif stamp is not None:
            at_us = _times(_flat(stamp), stamp.name)
        else:
            at_us = np.full(rows, _moment(request.parameters.get(EVENT_TIME), now_us), dtype=np.int64)
        if len(at_us) != rows:
            raise BadRequest(
                f"input {self.event_time!r} has {len(at_us)} rows, the others have {rows}; send one value per row in each"
            )
        return ColumnRows({k: columns[k] for k in self.keys}, {f: columns[f] for f in self.fields}, at_us, rows)

    def _column(self, tensor: Tensor, datatype: str) -> NDArray[Any]:
        self._check_values(tensor, datatype)
        return _flat(tensor)

    def _check_values(self, tensor: Tensor, datatype: str) -> None:
        if tensor.datatype != datatype:
            raise BadRequest(f"input {tensor.name!r} has datatype {tensor.datatype}, expected {datatype}")
        if tensor.is_finite or self.allow_nonfinite or tensor.data.dtype.kind != "f":
            return
        if not _is_finite(tensor.data):
            raise BadRequest(f"input {tensor.name!r} holds NaN or infinity; send finite numbers")


def _is_finite(values: NDArray[Any]) -> bool:
    """No NaN, no infinity. A sum is finite only if every number is, and of a short tensor takes a third of the time to know."""
    if values.size <= _MAX_SUMMED and isfinite(sum(values.reshape(-1).tolist())):
        return True
    return bool(np.isfinite(values).all())


def _single_tensor(inputs: Sequence[TensorSpec]) -> tuple[str, str, tuple[int, ...]] | None:
    if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] != -1 or -1 in inputs[0].shape[1:]:
        return None
    return inputs[0].name, inputs[0].datatype, inputs[0].shape[1:]


def _single_columns(manifest: Manifest, keys: Mapping[str, str], fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """See InputPlan.single_columns: of bundles with a field for the event's time, and few columns, each of one meaning."""
    columns, time = (*keys.items(), *fields.items()), manifest.event_time_field
    names = {name for name, _ in columns} | {time}
    is_plain = time is not None and 0 < len(columns) <= _FEW_COLUMNS and len(names) == len(columns) + 1
    return columns if is_plain and names != {t.name for t in manifest.inputs} else ()


def _flat(tensor: Tensor) -> NDArray[Any]:
    shape = tensor.shape
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return tensor.data.reshape(shape[0])
    raise BadRequest(f"input {tensor.name!r} has shape {list(shape)}, expected [n] or [n, 1]: one value per row")


def _check_rows(rows: int, max_rows: int) -> None:
    if rows == 0:
        raise BadRequest("the inputs have no rows; send at least one")
    if rows > max_rows:
        raise BadRequest(f"the inputs have {rows} rows, the most in one request is {max_rows}; send several requests")


def repeated(names: Iterable[str]) -> list[str]:
    """Names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _names_problem(sent: Mapping[str, Tensor], needed: list[str], model: str, tensors: list[str] | None = None) -> str:
    missing, extra = [n for n in needed if n not in sent], sorted(sent.keys() - set(needed))
    problems = [*([f"lacks the inputs {missing}"] if missing else []), *([f"has the unknown inputs {extra}"] if extra else [])]
    either = f", or all the tensors {tensors}" if tensors else ""
    return f"the request {' and '.join(problems)}; model {model!r} takes {needed}{either}"


def _times(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    if values.dtype == np.int64:
        if len(values) and not (values.min() > -_MOMENT_LIMIT_US and values.max() < _MOMENT_LIMIT_US):
            raise BadRequest(f"input {name!r} holds a time out of range, {_MOMENT_EXPECTED}")
        return values
    if values.dtype != object:
        raise BadRequest(
            f"input {name!r} has dtype {values.dtype}, expected INT64 microseconds since the epoch or BYTES in RFC 3339"
        )
    return np.array([parse_time_us(v, f"input {name!r}") for v in values.tolist()], dtype=np.int64)


def _moment(value: object, now_us: int) -> int:
    if value is None:
        return now_us
    if isinstance(value, str):
        return parse_time_us(value, f"parameter {EVENT_TIME!r}")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOMENT_LIMIT_US:
        return value
    raise BadRequest(f"parameter {EVENT_TIME!r} is {value!r}, {_MOMENT_EXPECTED}")


def parse_time_us(text: str | bytes, where: str) -> int:
    """RFC 3339 to microseconds since the epoch; a time without an offset is UTC. Raises BadRequest."""
    try:
        moment = datetime.fromisoformat(text.decode() if isinstance(text, bytes) else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    except (ValueError, UnicodeDecodeError, OverflowError) as problem:
        raise BadRequest(f"{where} is {text!r}, expected a time in RFC 3339, e.g. 2011-08-18T15:47:57Z") from problem


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
