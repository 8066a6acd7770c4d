"""Events to the columns of a request: the entity's keys, the request-time fields, typed as the manifest says; and when events happened.

A whole column is checked by the set of its types, then made into an array at once: 0.6 us an event of nine columns. Only where that
fails each value is looked at, so that a row says what is wrong with it and the others stay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.messages import DTYPES, Tensor
from serving.models.manifest import FieldSpec, Manifest
from serving.scoring.inputs import parse_time_us
from serving.stream.codecs.codec import DecodedEvent, Undecodable, shown, undecodable

_MOMENT_LIMIT_US: Final = 2**62
_EXACT_FLOAT: Final = 2**53
"""Whole numbers up to it are the same as a float."""
_MISSING: Final = object()


class ColumnBatch(msgspec.Struct, frozen=True, gc=False):
    """Columns of n events. tensors: each of shape (n,). rejected: row -> why; its values stand for nothing, leave it out."""

    tensors: tuple[Tensor, ...]
    rejected: Mapping[int, Undecodable]

    def take(self, index: NDArray[np.intp]) -> tuple[Tensor, ...]:
        """The columns of these rows."""
        return tuple(tensor.take(index) for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Which columns a model takes out of events, worked out once."""

    columns: tuple[FieldSpec, ...]
    """Keys first, then request fields."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Stands in where an event lacks the field, or has null in it."""
    event_field: str | None = None
    """The column that takes the whole event as JSON, for the rules of a bundle; an event that has such a field of text keeps it."""
    allow_nonfinite: bool = False

    @classmethod
    def of(cls, manifest: Manifest, defaults: Mapping[str, Any] | None = None) -> "EventColumns":
        """The columns of a bundle. Raises ValueError for one that takes tensors only: events have fields."""
        if not manifest.assembly:
            raise ValueError(
                f"model {manifest.name!r} takes tensors, and events have fields; "
                "a stream needs a bundle whose manifest has an `assembly` of columns"
            )
        event_field = manifest.rules.event_field if manifest.rules else None
        columns = (*manifest.entity_keys, *manifest.request_fields)
        return cls(columns, dict(defaults or {}), event_field, manifest.allow_nonfinite)

    def read(self, events: Sequence[DecodedEvent]) -> ColumnBatch:
        """The columns of these events, and which events lack a field or have a value that does not fit."""
        rejected: dict[int, Undecodable] = {}
        with np.errstate(over="ignore"):  # what overflows a narrow float is found as infinite
            tensors = tuple(
                Tensor(spec.name, spec.datatype, self._column(spec, events, rejected), is_finite=not self.allow_nonfinite)
                for spec in self.columns
            )
        return ColumnBatch(tensors, rejected)

    def _column(self, spec: FieldSpec, events: Sequence[DecodedEvent], rejected: dict[int, Undecodable]) -> NDArray[Any]:
        name, dtype = spec.name, DTYPES[spec.datatype]
        if name == self.event_field:
            return objects([_event_text(event, name) for event in events])
        try:
            return self._at_once([event[name] for event in events], dtype)
        except (KeyError, TypeError, ValueError, OverflowError):
            return self._each(name, dtype, events, rejected)

    def _at_once(self, values: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A column of values that all fit. Raises ValueError or OverflowError if one might not."""
        kinds = set(map(type, values))
        if dtype.kind == "O" and kinds <= {str}:
            return objects([value.encode() for value in values])
        if (
            (dtype.kind in "iu" and kinds <= {int})
            or (dtype.kind == "b" and kinds <= {bool})
            or (dtype.kind == "f" and kinds <= {int, float})
        ):
            column = np.array(values, dtype)
            if dtype.kind != "f" or self.allow_nonfinite or np.isfinite(column).all():
                return column
        raise ValueError(dtype)

    def _each(
        self, name: str, dtype: np.dtype[Any], events: Sequence[DecodedEvent], rejected: dict[int, Undecodable]
    ) -> NDArray[Any]:
        convert = _CONVERTERS[dtype.kind]
        column = np.zeros(len(events), dtype)
        if dtype.kind == "O":
            column.fill(b"")
        for row, event in enumerate(events):
            value = event.get(name)
            if value is None:
                value = self.defaults.get(name, _MISSING)
            try:
                if value is _MISSING:
                    raise ValueError("null" if name in event else "missing")
                column[row] = fitting = convert(value, dtype)
                if dtype.kind == "f" and not self.allow_nonfinite and not isfinite(column[row]):
                    raise ValueError(f"{shown(fitting)}, expected a finite number of {dtype.itemsize * 8} bits")
            except (ValueError, OverflowError) as problem:
                rejected.setdefault(row, undecodable(f"the event's field {name!r} is {problem}"))
                column[row] = b"" if dtype.kind == "O" else 0
        return column


def objects(values: list[bytes]) -> NDArray[Any]:
    """A tensor of BYTES, shape (n,)."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _event_text(event: DecodedEvent, name: str) -> bytes:
    own = event.get(name)
    if isinstance(own, str):
        return own.encode()
    return own if isinstance(own, bytes) else msgspec.json.encode(event)


def _whole(value: object, dtype: np.dtype[Any]) -> int:
    if type(value) is float and abs(value) <= _EXACT_FLOAT and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise ValueError(f"{shown(value)}, expected a whole number")
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(f"{shown(value)}, expected a whole number from {limits.min} to {limits.max}")
    return value


def _number(value: object, dtype: np.dtype[Any]) -> float:
    if type(value) is int:
        return float(value)  # OverflowError beyond 1.8e308
    if type(value) is not float:
        raise ValueError(f"{shown(value)}, expected a number")
    return value


def _bool(value: object, dtype: np.dtype[Any]) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{shown(value)}, expected true or false")
    return value


def _text(value: object, dtype: np.dtype[Any]) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if type(value) is not bytes:
        raise ValueError(f"{shown(value)}, expected text")
    return value


_CONVERTERS: Final[Mapping[str, Callable[[Any, np.dtype[Any]], Any]]] = {
    "i": _whole,
    "u": _whole,
    "f": _number,
    "b": _bool,
    "O": _text,
}


def event_time_us(value: object, name: str) -> int | Undecodable:
    """When an event happened, in microseconds since the epoch: from RFC 3339 text or a datetime (without an offset: UTC), or from whole
    microseconds."""
    if type(value) is int and abs(value) < _MOMENT_LIMIT_US:
        return value
    try:
        if isinstance(value, str | bytes):
            return parse_time_us(value, f"the event's field {name!r}")
        if isinstance(value, datetime):
            return parse_time_us(value.isoformat(), f"the event's field {name!r}")
    except BadRequest:
        pass
    return undecodable(
        f"the event's field {name!r} is {shown(value)}, expected a time in RFC 3339, e.g. 2011-08-18T15:47:57Z, "
        "or microseconds since the epoch"
    )
