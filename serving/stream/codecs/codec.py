"""The port of the codecs: records in, events or reasons out."""

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec

from serving.stream.ports import StreamError, StreamRecord

DecodedEvent = dict[str, Any]
"""One event as it was decoded: field -> value. Values are what JSON has (text, numbers, bool, None, lists, objects), whatever the format,
so that rules, columns and alerts read every format alike; Avro and Protobuf add bytes. Times are RFC 3339 text."""

_MOST_REASON: Final = 500
"""Characters of a reason; it goes into a header."""
_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
_MOST_SHOWN: Final = 60
"""Characters of a value that a reason quotes: events hold what is personal."""


class CodecLimits(msgspec.Struct, frozen=True):
    """What a record may cost. A record over a limit is undecodable."""

    record_bytes: int = 1_048_576
    """Longest value. Kafka's own default for a message is the same."""
    depth: int = 32
    """Objects and arrays within one another."""
    items: int = 100_000
    """Elements of all arrays and maps of one event; a block of Avro nulls takes no bytes, whatever its count says."""


class Undecodable(msgspec.Struct, frozen=True):
    """Stands for a record that is no event, or an event that does not fit the model. reason: for the dead letter."""

    reason: str


class SchemasUnreachable(StreamError):
    """The schema registry gave no answer. The records may be good: wait, and decode them again."""


class EventCodec(Protocol):
    """Turns records into events."""

    def decode(self, records: Sequence[StreamRecord]) -> list[DecodedEvent | Undecodable]:
        """One event, or the reason why there is none, for each record, in order. Raises SchemasUnreachable, and nothing else."""
        ...


def plain(value: Any) -> Any:
    """A value as JSON has it: times as RFC 3339, decimals as numbers, UUIDs as text. Bytes stay.

    >>> plain({"at": datetime(2011, 8, 18, 15, 47, tzinfo=UTC), "sums": [Decimal("1.25")]})
    {'at': '2011-08-18T15:47:00Z', 'sums': [1.25]}
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {name: inner if type(inner) in _PLAIN else plain(inner) for name, inner in value.items()}
    if kind is list:
        return [inner if type(inner) in _PLAIN else plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def undecodable(reason: str) -> Undecodable:
    """A reason of bounded length, in one line.

    >>> undecodable("line one\\nline two").reason
    'line one line two'
    """
    line = " ".join(reason.split())
    return Undecodable(line if len(line) <= _MOST_REASON else line[: _MOST_REASON - 3] + "...")


def shown(value: object) -> str:
    """A value as a reason quotes it: short.

    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    if isinstance(value, str | bytes | list | dict):
        value = value[:_MOST_SHOWN] if isinstance(value, str | bytes) else f"{type(value).__name__} of {len(value)}"
    elif isinstance(value, int) and abs(value) >= 10**_MOST_SHOWN:
        value = "a whole number of more than 60 digits"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
