"""Values that come from outside, made safe for any form: valid Unicode, bounded in length and depth, encodable as JSON."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

REPLACEMENT: Final = "\ufffd"
MOST_TITLE: Final = 500
MOST_VALUE: Final = 1000
MOST_LISTED: Final = 100
"""Ids of rules, techniques or alerts that a form lists."""
MOST_DEPTH: Final = 32
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MOST_INTEGER: Final = 2**63 - 1
JsonObject = dict[str, Any]


def clean(text: str, most: int = MOST_VALUE) -> str:
    """Valid Unicode of at most `most` characters; a longer text ends with an ellipsis. Line breaks and NUL stay.

    >>> clean("abc" * 5, 5)
    'abca…'
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return _SURROGATE.sub(REPLACEMENT, cut)


def one_line(text: str, most: int = MOST_VALUE) -> str:
    """The same on one line: each run of control characters becomes a space.

    >>> one_line("a\\r\\nb")
    'a b'
    """
    return _CONTROL.sub(" ", clean(text, most)).strip()


def listed(values: Sequence[str], most: int = MOST_LISTED) -> list[str]:
    """The first values, cleaned."""
    return [one_line(value, 200) for value in values[:most]]


def json_value(value: Any, *, most: int | None = None, depth: int = 0) -> Any:
    """A copy that every JSON parser reads: valid Unicode, integers of 64 bits, finite numbers, at most 32 levels.

    most: length of its texts; None: any."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _SURROGATE.sub(REPLACEMENT, value) if most is None else clean(value, most)
    if isinstance(value, int):
        return value if abs(value) <= _MOST_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= MOST_DEPTH:
        return REPLACEMENT
    if isinstance(value, Mapping):
        return {
            _SURROGATE.sub(REPLACEMENT, str(key)): json_value(inner, most=most, depth=depth + 1) for key, inner in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [json_value(inner, most=most, depth=depth + 1) for inner in value]
    return _SURROGATE.sub(REPLACEMENT, str(value))


def percent(share: float) -> float:
    """A probability as a number from 0 to 100; what is not a number is 0.

    >>> percent(0.97), percent(float("nan"))
    (97.0, 0.0)
    """
    return round(min(max(share, 0.0), 1.0) * 100, 2) if not math.isnan(share) else 0.0


def encode_json(value: Any) -> bytes:
    """JSON in UTF-8 on one line."""
    return msgspec.json.encode(value)


def event_text(event: Mapping[str, Any], most_bytes: int) -> tuple[str, int]:
    """The event as JSON, cut to `most_bytes`, and its whole size in bytes."""
    whole = encode_json(json_value(event))
    return whole[:most_bytes].decode("utf-8", "ignore"), len(whole)


def rfc3339(time_us: int) -> str:
    """Microseconds since the epoch as text.

    >>> rfc3339(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    at = datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(microsecond=time_us % 1_000_000)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at.year >= 1000 else at.isoformat()
