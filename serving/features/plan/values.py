"""Feast's ValueProto, decoded by hand: bytes of the online store to Python values. Core.

Protobuf's own classes would mean importing Feast, which takes six seconds and 300 MB in every replica. The message is small:
one field, whose number says the type. A contract test holds this equal to Feast for every type.

What a value becomes: numbers, str, bytes and bool as they are; a timestamp its seconds since the epoch (int); UUID, decimal
and JSON their text; lists and sets a list; maps and structs a dict; null, and a list element that is a null timestamp, None."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

NULL_TIMESTAMP: Final = -(2**63)
_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1

_float32 = struct.Struct("<f").unpack_from
_float64 = struct.Struct("<d").unpack_from


class Malformed(ValueError):
    """The bytes are no ValueProto."""


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """The unsigned varint at `at`, and where it ends. Of more than 64 bits the upper ones are dropped, as protobuf does.

    Raises Malformed, or IndexError where it is cut off."""
    result = shift = 0
    while shift < 64:
        byte = raw[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _MASK, at
        shift += 7
    raise Malformed(f"a varint of more than ten bytes: {raw[:32]!r}")


def signed(value: int) -> int:
    """A varint read as int64 (int32 is written the same way)."""
    return value - (1 << 64) if value & _SIGN else value


def fields(raw: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and payload of each field: an int for varints, bytes for everything else."""
    at, end = 0, len(raw)
    while at < end:
        tag, at = varint(raw, at)
        wire = tag & 7
        if wire == 0:
            payload: Any
            payload, at = varint(raw, at)
        else:
            size, at = (8, at) if wire == 1 else (4, at) if wire == 5 else varint(raw, at)
            payload, at = raw[at : at + size], at + size
            if at > end or wire not in (1, 2, 5):
                raise Malformed(f"not a ValueProto: {raw[:32]!r}")
        yield tag >> 3, wire, payload


def decode(raw: bytes) -> Any:
    """The value of a serialised ValueProto; None if it is null. Raises Malformed."""
    try:
        for number, _, payload in fields(raw):
            return _READERS[number](payload)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"not a ValueProto: {raw[:32]!r} ({error})") from error
    return None


def seconds_and_nanos(raw: bytes) -> tuple[int, int]:
    """A serialised google.protobuf.Timestamp. Raises Malformed."""
    found = {1: 0, 2: 0}
    try:
        for number, _, payload in fields(raw):
            found[number] = signed(payload)
    except (IndexError, TypeError) as error:
        raise Malformed(f"not a timestamp: {raw[:32]!r}") from error
    return found[1], found[2]


def _text(payload: bytes) -> str:
    return payload.decode()


def _timestamp(payload: int) -> int | None:
    value = signed(payload)
    return None if value == NULL_TIMESTAMP else value


def _elements(read: Callable[[Any], Any]) -> Callable[[bytes], list[Any]]:
    """A message whose field 1 repeats; numbers may be packed into one field."""

    def read_all(payload: bytes) -> list[Any]:
        found: list[Any] = []
        for _, wire, item in fields(payload):
            if wire == 2 and read in _PACKED:
                found.extend(read(part) for part in _PACKED[read](item))
            else:
                found.append(read(item))
        return found

    return read_all


def _varints(payload: bytes) -> Iterator[int]:
    at = 0
    while at < len(payload):
        value, at = varint(payload, at)
        yield value


def _fixed(size: int) -> Callable[[bytes], Iterator[bytes]]:
    return lambda payload: (payload[at : at + size] for at in range(0, len(payload), size))


def _double(payload: bytes) -> float:
    return float(_float64(payload)[0])


def _float(payload: bytes) -> float:
    return float(_float32(payload)[0])


_PACKED: Final[dict[Callable[[Any], Any], Callable[[bytes], Iterator[Any]]]] = {
    signed: _varints,
    bool: _varints,
    _timestamp: _varints,
    _double: _fixed(8),
    _float: _fixed(4),
}


def _map(payload: bytes) -> dict[str, Any]:
    """A Map message: entries of a text key and a value."""
    found: dict[str, Any] = {}
    for _, _, entry in fields(payload):
        parts = {number: part for number, _, part in fields(entry)}
        found[parts.get(1, b"").decode()] = decode(parts.get(2, b""))
    return found


def _scalar_map(payload: bytes) -> dict[Any, Any]:
    """A ScalarMap message: entries of a typed key and a value."""
    found: dict[Any, Any] = {}
    for _, _, entry in fields(payload):
        parts = {number: part for number, _, part in fields(entry)}
        for number, _, key in fields(parts.get(1, b"")):
            found[_KEYS[number](key)] = decode(parts.get(2, b""))
    return found


def _zoned(payload: bytes) -> int | None:
    return _timestamp(next((part for number, _, part in fields(payload) if number == 1), 0))


_INTS, _DOUBLES, _FLOATS, _BOOLS = _elements(signed), _elements(_double), _elements(_float), _elements(bool)
_TEXTS, _BYTES, _TIMES, _MAPS = _elements(_text), _elements(bytes), _elements(_timestamp), _elements(_map)
_VALUES = _elements(decode)

_KEYS: Final[dict[int, Callable[[Any], Any]]] = dict(
    enumerate((signed, signed, _float, _double, bool, _timestamp, bytes, _text, _text, _text), 1)
)
_READERS: Final[dict[int, Callable[[Any], Any]]] = {
    **dict(enumerate((bytes, _text, signed, signed, _double, _float, bool, _timestamp), 1)),
    **dict(enumerate((_BYTES, _TEXTS, _INTS, _INTS, _DOUBLES, _FLOATS, _BOOLS, _TIMES), 11)),
    19: lambda _: None,
    20: _map,
    21: _MAPS,
    **dict(enumerate((_BYTES, _TEXTS, _INTS, _INTS, _DOUBLES, _FLOATS, _BOOLS, _TIMES), 22)),
    32: _text,
    33: _TEXTS,
    34: _map,
    35: _MAPS,
    **dict(enumerate((_text, _text, _TEXTS, _TEXTS, _TEXTS, _TEXTS), 36)),
    **dict(enumerate((_VALUES, _VALUES, _text, _TEXTS, _TEXTS, _scalar_map, _zoned), 42)),
}
"""Field number of ValueProto -> how its payload is read. Source: feast/types/Value.proto of Feast 0.67."""
