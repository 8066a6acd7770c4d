"""The values of one column as their declared type, and the values that are not of that type. Training and data checks parse with this
code alone."""

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.transforms import parse_port
from lifecycle.errors import DataError

FP32: Final = float(np.finfo(np.float32).max)
LONGEST_S: Final = 1e9
"""Seconds that a record may last: 31 years."""
_OFFSET: Final = re.compile(r":\d\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$|[Tt ]\d+[Zz]$")
_INT64: Final = 2**63
_HOLDERS: Final = (list, dict, tuple, np.ndarray)
_WITHOUT_NULLS: Final = {"float": np.float64, "int": np.int64, "port": np.int64, "bool": np.bool_}
_TRUE_FALSE: Final = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """One column. values: a pandas Series, null where a value is missing or none of the type. Masks have shape (n,).

    of_no_type: the value is there and none of the type. odd_offset: a time with an offset among times without one, or the reverse."""

    values: Any
    of_no_type: NDArray[np.bool_]
    odd_offset: NDArray[np.bool_]
    has_offset: bool = False
    """Whether most times of the column have an offset."""


def typed(values: Any, kind: str, where: str) -> TypedColumn:
    """A column's values as their type. Raises DataError if the column as a whole cannot be of it; where: begins the message."""
    odd, has_offset = np.zeros(len(values), dtype=np.bool_), False
    match kind:
        case "string":
            found = values.map(_text, na_action="ignore").astype(object)
        case "timestamp":
            found = values
            if values.dtype == object:
                found, odd, has_offset = _times(values)
            if not pd.api.types.is_datetime64_any_dtype(found):
                raise DataError(f"{where} is {found.dtype}, expected timestamp (ISO 8601 text or a timestamp column)")
        case "port":
            found = pd.Series([_port(v) for v in values], index=values.index, dtype=object)
        case "bool":
            found = (
                values if values.dtype == bool else values.map(lambda v: _TRUE_FALSE.get(str(v).lower()), na_action="ignore")
            )
        case _:
            found = _numbers(values, kind, where)
    bad = np.asarray(found.isna() & (values.notna() | (kind == "port"))) & ~odd
    if kind == "int":
        whole = found.fillna(0)
        bad |= np.asarray((whole != np.floor(whole)) | (np.abs(whole) >= _INT64))
        found = found.mask(bad) if bad.any() else found
    dtype = _WITHOUT_NULLS.get(kind)
    if kind == "float" or (dtype is not None and not found.isna().any()):
        found = found.astype(dtype)
    return TypedColumn(found, bad, odd, has_offset)


def _numbers(values: Any, kind: str, where: str) -> Any:
    """Values as numbers, null where there is none. Raises DataError for times and durations: pandas would count their nanoseconds."""
    if values.dtype.kind in "mM" or isinstance(values.dtype, pd.DatetimeTZDtype):
        raise DataError(f"{where} is {values.dtype}, expected {kind}; write it as a number, or declare it as a timestamp")
    try:
        found = pd.to_numeric(values, errors="coerce")
    except OverflowError:  # of a whole number that no float holds
        found = pd.to_numeric(values.map(_as_float), errors="coerce")
    if isinstance(found.dtype, np.dtype) and found.dtype.kind in "bf":
        found = found.astype(np.int64 if found.dtype.kind == "b" else np.float64)
    return found


def _as_float(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, int) else value
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _times(values: Any) -> tuple[Any, NDArray[np.bool_], bool]:
    """ISO 8601 text as times; NaT for what is none, or has an offset where most have none, or none where most have one.

    Times with offsets become UTC."""
    is_aware = np.array([_has_offset(v) for v in values], dtype=np.bool_)
    if not is_aware.any():
        return _parsed(values, aware=False), is_aware, False
    is_time = _parses(values, is_aware)
    of_times = is_aware[is_time]
    share = float(of_times.mean()) if len(of_times) else 1.0
    usual = bool(of_times[0]) if share == 0.5 else share > 0.5
    return _parsed(values.mask(is_aware != usual), aware=usual), is_time & (is_aware != usual), usual


def _parses(values: Any, is_aware: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which values are times, those with an offset and those without judged apart: pandas takes one kind at a time."""
    naive, aware = (_parsed(values.mask(is_aware != kind), aware=kind) for kind in (False, True))
    return np.asarray(naive.notna() | aware.notna(), dtype=np.bool_)


def _parsed(values: Any, *, aware: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas 3 raises where pandas 2 gives objects
        return pd.to_datetime(values, errors="coerce", format="ISO8601", utc=aware)


def _has_offset(value: Any) -> bool:
    return bool(_OFFSET.search(value)) if isinstance(value, str) else getattr(value, "tzinfo", None) is not None


def _text(value: Any) -> str | None:
    """The value as text; None for a list or object, and for text that is not UTF-8: other bytes, half a surrogate pair."""
    if isinstance(value, _HOLDERS):
        return None
    try:
        text = value if isinstance(value, str) else value.decode("utf-8") if isinstance(value, bytes) else str(value)
        return text if text.isascii() or text.encode() else None
    except UnicodeError:
        return None


def _port(value: Any) -> int | None:
    """A port as flow records write it; None for any other value: a list, or a number with too many digits."""
    if isinstance(value, _HOLDERS):
        return None
    port = parse_port(None if pd.isna(value) else str(value))
    return port if -_INT64 <= port < _INT64 else None
