"""Columns of an Arrow table as the model takes them, vectorised. A row with a wrong value gets a reason and does not affect other rows.

The same values as `vedette score` reads row by row (a test holds the two equal)."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.transforms import parse_port
from serving.batch.data.source import Source, SourceColumn
from serving.batch.errors import BatchInputError

DATATYPES: Final = {"string": "BYTES", "float": "FP64", "int": "INT64", "port": "INT64", "bool": "BOOL"}
"""Kind of a column -> its datatype in requests."""
NO_PORT: Final = -1
FP32: Final = (2 - 2**-24) * 2.0**127
"""The least number that FP32 rounds to infinity."""


@dataclass(frozen=True, slots=True)
class Typed:
    """One column of n rows. values: (n,); text as an object array of bytes. codes: of text and ports, the number of each value among
    the distinct ones, -1 for none or empty; None for other kinds. words: of text, the distinct ones in the order of their codes."""

    values: NDArray[Any]
    codes: NDArray[np.int64] | None = None
    words: tuple[bytes, ...] = ()

    def numbered(self) -> tuple[NDArray[np.int64], dict[Any, int]]:
        """A code >= 0 for each row, and the code of each value."""
        if self.words and self.codes is not None:
            codes = {word: code for code, word in enumerate(self.words)}
            blank = codes.setdefault(b"", len(self.words))
            return np.where(self.codes < 0, blank, self.codes), codes
        distinct, places = np.unique(self.values, return_inverse=True)
        return places.astype(np.int64), {value: code for code, value in enumerate(distinct.tolist())}


@dataclass(slots=True)
class TypedRows:
    """Columns of n rows by name. why: by row, what is wrong with it."""

    columns: dict[str, Typed] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)

    def reject(self, rows: NDArray[np.bool_], reason: Any) -> None:
        """Note what is wrong with these rows, unless something was already. reason: of a row's number."""
        for row in np.flatnonzero(rows).tolist():
            self.why.setdefault(row, reason(row))


def read_columns(table: Any, source: Source, *, allow_nonfinite: bool = False) -> TypedRows:
    """All columns of the source. Raises BatchInputError for one that is missing or of another type."""
    names, rows = frozenset(table.schema.names), TypedRows()
    for spec in source.columns:
        found = spec.found_in(names)
        if found is None:
            other = f" (or {spec.source!r})" if spec.source else ""
            raise BatchInputError(f"the data has no column {spec.name!r}{other}; it has {sorted(names)}")
        rows.columns[spec.name] = _typed(table[found], spec, found, rows, allow_nonfinite=allow_nonfinite)
    return rows


def _typed(column: Any, spec: SourceColumn, name: str, rows: TypedRows, *, allow_nonfinite: bool) -> Typed:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if spec.default is not None and spec.kind != "string" and column.null_count:
        column = column.fill_null(pa.scalar(spec.default).cast(column.type))
    if spec.kind == "string":
        return _text(column, spec, name, rows)
    if spec.kind == "port":
        return _ports(column, name)
    limit = FP32 if spec.is_narrow else np.inf
    return Typed(_numbers(column, spec.kind, name, rows, limit=limit, allow_nonfinite=allow_nonfinite))


def _text(column: Any, spec: SourceColumn, name: str, rows: TypedRows) -> Typed:
    codes, distinct = _dictionary(column, name)
    words: list[Any] = [value.encode(errors="surrogatepass") if isinstance(value, str) else value for value in distinct]
    words = [str(word).encode() if not isinstance(word, bytes) else word for word in words]
    default = None if spec.default is None else str(spec.default).encode()
    rows.reject((codes < 0) & (default is None), lambda _: f"column {name!r} is missing or null")
    table = np.empty(len(words) + 1, dtype=object)
    table[: len(words)], table[-1] = words, default if default is not None else b""
    is_blank = np.array([word == b"" for word in words] + [True])
    return Typed(table[codes], np.where(is_blank[codes], -1, codes), tuple(words))


def _ports(column: Any, name: str) -> Typed:
    if pa.types.is_integer(column.type):
        values = np.asarray(column.cast(pa.int64()).fill_null(NO_PORT).to_numpy(), dtype=np.int64)
        return Typed(values, values)
    codes, distinct = _dictionary(column, name)
    table = np.array([parse_port(None if v is None else str(v)) for v in (*distinct, None)], dtype=np.int64)
    return Typed(table[codes], table[codes])


def _dictionary(column: Any, name: str) -> tuple[NDArray[np.int64], list[Any]]:
    """Codes (-1: null) and distinct values."""
    if pa.types.is_nested(column.type):
        raise BatchInputError(f"column {name!r} is {column.type}, expected text")
    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    codes: NDArray[np.int64] = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary.to_pylist()


def _numbers(column: Any, kind: str, name: str, rows: TypedRows, *, limit: float, allow_nonfinite: bool) -> NDArray[Any]:
    is_null = column.is_null().to_numpy(zero_copy_only=False)
    rows.reject(is_null, lambda _: f"column {name!r} is missing or null")
    if kind == "bool":
        if not pa.types.is_boolean(column.type):
            raise BatchInputError(f"column {name!r} is {column.type}, expected true or false")
        return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise BatchInputError(f"column {name!r} is {column.type}, expected numbers")
    if kind == "int" and pa.types.is_integer(column.type) and column.type != pa.uint64():
        return np.asarray(column.fill_null(0).cast(pa.int64()).to_numpy(), dtype=np.int64)
    numbers = np.asarray(column.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(), dtype=np.float64)
    if kind == "float":
        is_wrong = ~(np.abs(numbers) < limit)
        if allow_nonfinite:
            is_wrong &= np.isfinite(numbers)
        rows.reject(is_wrong, lambda row: f"column {name!r} is {numbers[row]}, expected a finite number below {limit:.3g}")
        return np.where(is_wrong, 0.0, numbers)
    is_wrong = ~(np.abs(numbers) < 2.0**63) | (numbers != np.floor(numbers))
    rows.reject(is_wrong, lambda row: f"column {name!r} is {numbers[row]:.17g}, expected a whole number")
    return np.where(is_wrong, 0, numbers).astype(np.int64)
