"""Columns of one numeric type, decoded together: serialised values of many features in, one array out. Core.

Reading one value at a time costs more than the network; values of fixed size are joined and read as one array instead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.definitions import Default, Feature
from serving.features.plan.errors import RegistryError
from serving.features.plan.values import Malformed, decode, signed, varint

Cell = Any
"""What a store gives for one feature of one key: serialised bytes (or a value, from a store that decodes), None if absent."""

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "FLOAT": np.dtype(np.float32),
    "DOUBLE": np.dtype(np.float64),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
    "UNIX_TIMESTAMP": np.dtype(np.int64),
    "ZONED_TIMESTAMP": np.dtype(np.int64),
}
"""Feast type -> numpy dtype of its column; every other type is an object column."""

DATATYPES: Final = {
    "FLOAT": "FP32",
    "DOUBLE": "FP64",
    "INT32": "INT32",
    "INT64": "INT64",
    "BOOL": "BOOL",
    "UNIX_TIMESTAMP": "INT64",
    "ZONED_TIMESTAMP": "INT64",
}
"""Feast type -> the protocol's datatype; every other type is BYTES."""

OBJECT: Final[np.dtype[Any]] = np.dtype(object)
_NOTHING: Final[tuple[int, ...]] = ()
_MOST_TAGS: Final = 100_000
"""Cells that are checked together; more are read one by one."""
_FIXED: Final = {"FLOAT": (0x35, 5), "DOUBLE": (0x29, 9)}
_VARINT: Final = {"INT32": 0x18, "INT64": 0x20, "BOOL": 0x38, "UNIX_TIMESTAMP": 0x40}


def zero(type_name: str) -> Any:
    """What stands in for a feature of this type that declares no default."""
    if type_name in DTYPES:
        return DTYPES[type_name].type(0).item()
    if type_name.endswith(("_LIST", "_SET")):
        return []
    if type_name in ("MAP", "SCALAR_MAP", "STRUCT"):
        return {}
    return b"" if type_name == "BYTES" else ""


def default_of(feature: Feature) -> Any:
    """A feature's default as a value of its type. Raises RegistryError if the type cannot hold it."""
    default: Default | None = feature.default
    if default is None:
        return zero(feature.type)
    if feature.type in DTYPES:
        try:
            return DTYPES[feature.type].type(default).item()
        except (ValueError, OverflowError, TypeError) as error:
            raise RegistryError(f"feature {feature.name!r}: its default {default!r} is no {feature.type}: {error}") from error
    return default.encode() if feature.type == "BYTES" and isinstance(default, str) else default


BlockDecoder = Callable[[Sequence[Cell], Sequence[Any]], tuple[NDArray[Any], Sequence[int]]]
"""Cells of n rows, one row after the other, and the defaults of one row -> a table of shape (n, defaults), which may be read-only,
and the places among the cells where the default stands in."""


@dataclass(frozen=True, slots=True)
class Block:
    """Features of one type of one group of views: one table of what is read.

    places: of their cells in a row of the group; take: picks them from a row. decode: gets these defaults."""

    names: tuple[str, ...]
    views: tuple[int, ...]
    places: tuple[int, ...]
    take: Callable[[Sequence[Cell]], Sequence[Cell]]
    defaults: tuple[Any, ...]
    decode: BlockDecoder


def decoder(type_name: str, *, is_raw: bool) -> BlockDecoder:
    """How cells of one type become an array; is_raw says whether the store gives serialised bytes."""
    dtype = DTYPES.get(type_name, OBJECT)
    if not is_raw:
        return lambda cells, defaults: _gather(cells, defaults, dtype, lambda cell: cell)
    if type_name in _FIXED:
        return _fixed(*_FIXED[type_name], dtype)
    if type_name in _VARINT:
        return _varints(_VARINT[type_name], dtype)
    return lambda cells, defaults: _gather(cells, defaults, dtype, decode)


def _fixed(tag: int, size: int, dtype: np.dtype[Any]) -> BlockDecoder:
    stored = dtype.newbyteorder("<")
    tags = bytes((tag,)) * _MOST_TAGS

    def read(cells: Sequence[Cell], defaults: Sequence[Any]) -> tuple[NDArray[Any], Sequence[int]]:
        try:
            joined, count, width = b"".join(cells), len(cells), len(defaults)
            # A value with this tag has this size, so the next cell begins where the next tag is looked for: all or none.
            if len(joined) == count * size and tags.startswith(joined[::size]):
                return np.ndarray((count // width, width), stored, joined, 1, (width * size, size)), _NOTHING
        except TypeError:
            pass  # an absent cell is None
        return _gather(cells, defaults, dtype, decode)

    return read


def _varints(tag: int, dtype: np.dtype[Any]) -> BlockDecoder:
    def one(cell: bytes) -> Any:
        if cell[0] != tag:
            return decode(cell)
        return cell[1] if len(cell) == 2 else signed(varint(cell, 1)[0])

    return lambda cells, defaults: _gather(cells, defaults, dtype, one)


def _gather(
    cells: Sequence[Cell], defaults: Sequence[Any], dtype: np.dtype[Any], read: Callable[[Any], Any]
) -> tuple[NDArray[Any], Sequence[int]]:
    """One by one: absent, null and unreadable cells take the default (`defaults` repeats over the cells)."""
    values: list[Any] = []
    missing: list[int] = []
    width = len(defaults)
    for place, cell in enumerate(cells):
        value = None
        if cell is not None and cell != b"":
            try:
                value = _fit(read(cell), dtype)
            except (Malformed, IndexError, ValueError, TypeError, OverflowError):
                value = None
        if value is None:
            missing.append(place)
            value = defaults[place % width]
        values.append(value)
    if dtype != OBJECT:
        return np.array(values, dtype=dtype).reshape(-1, width), missing
    column = np.empty(len(values), dtype=OBJECT)
    for place, value in enumerate(values):  # not column[:] = values: numpy would take lists for further dimensions
        column[place] = value
    return column.reshape(-1, width), missing


_PYTHON: Final[dict[str, Any]] = {"f": float, "i": int, "b": bool}
_INT32: Final = np.dtype(np.int32)


def _fit(value: Any, dtype: np.dtype[Any]) -> Any:
    """A value as the column's type holds it, None if it cannot: a feature may have been stored before its type was changed."""
    if value is None or dtype == OBJECT:
        return value
    if type(value) is _PYTHON[dtype.kind] and (dtype != _INT32 or abs(value) < 2**31):
        return value
    if isinstance(value, (int, float)):
        fitted = dtype.type(value).item()  # OverflowError if it is too large
        return fitted if fitted == value or dtype.kind == "f" else None
    return None
