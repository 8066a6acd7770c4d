"""One value of a file as one of the protocol's datatypes. Pure.

A value that is not of the datatype, or is larger than it holds, is a ValueError with the reason: nothing is rounded to infinity, cut
or wrapped round."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from serving.errors import BadRequest
from serving.messages import DTYPES
from serving.scoring.inputs import parse_time_us

_LARGEST: Final = {"FP16": 65520.0, "FP32": (2 - 2**-24) * 2.0**127, "FP64": math.inf}
"""The least number that the datatype rounds to infinity."""
_SHOWN: Final = 60


def value_of(value: Any, datatype: str, name: str, *, allow_nonfinite: bool = False) -> Any:
    """The value for a numpy array of the datatype; BYTES as bytes. Raises ValueError."""
    if value is None:
        raise ValueError(f"column {name!r} is missing or null")
    if datatype == "BYTES":
        return _text(value, name)
    if datatype == "BOOL":
        if isinstance(value, bool):
            return value
        raise ValueError(f"column {name!r} is {shown(value)}, expected true or false")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"column {name!r} is {shown(value)}, expected a number")
    if datatype.startswith("FP"):
        return _real(value, datatype, name, allow_nonfinite=allow_nonfinite)
    return _whole(value, datatype, name)


def time_of(value: Any, name: str) -> bytes:
    """A moment as RFC 3339 text. Raises ValueError."""
    text = value.isoformat() if isinstance(value, datetime) else value
    if not isinstance(text, str):
        raise ValueError(f"column {name!r} is {shown(value)}, expected a time in RFC 3339")
    try:
        parse_time_us(text, name)
    except BadRequest as problem:
        raise ValueError(f"column {name!r} is {shown(value)}, expected a time in RFC 3339") from problem
    return text.encode()


def now_text() -> bytes:
    """This moment as RFC 3339 text."""
    return datetime.now(UTC).isoformat().encode()


def shown(value: Any) -> str:
    """A value in a message, shortened: a row may hold anything."""
    if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value if not isinstance(value, str | bytes) else value[:_SHOWN])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _text(value: Any, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict | list | tuple):
        raise ValueError(f"column {name!r} is {shown(value)}, expected text")
    try:
        return str(value).encode()
    except UnicodeEncodeError as problem:
        raise ValueError(f"column {name!r} is {shown(value)}, half a surrogate pair, expected text") from problem


def _real(value: int | float | Decimal, datatype: str, name: str, *, allow_nonfinite: bool) -> float:
    try:
        number = float(value)
    except OverflowError as problem:
        raise ValueError(f"column {name!r} is {shown(value)}, more than {datatype} holds") from problem
    if not math.isfinite(number):
        if allow_nonfinite:
            return number
        raise ValueError(f"column {name!r} is {shown(value)}, expected a finite number")
    if abs(number) >= _LARGEST[datatype]:
        raise ValueError(f"column {name!r} is {shown(value)}, more than {datatype} holds")
    return number


def _whole(value: int | float | Decimal, datatype: str, name: str) -> int:
    limits = np.iinfo(DTYPES[datatype])
    is_whole = math.isfinite(value) if not isinstance(value, int) else True
    if not is_whole or value != int(value) or not limits.min <= value <= limits.max:
        raise ValueError(f"column {name!r} is {shown(value)}, expected a whole number from {limits.min} to {limits.max}")
    return int(value)
