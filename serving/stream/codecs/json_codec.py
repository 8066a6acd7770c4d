"""Events in JSON (RFC 8259): one object a record. Stricter than most parsers where parsers differ: see `JsonCodec`.

orjson makes an object of a flow in 0.5 us, a typed msgspec struct takes 0.8; that no name is repeated costs another 1. So there is no
declared type, and the whole event is there for rules and alerts. Types are checked by column (`columns`)."""

import json
from collections.abc import Sequence
from typing import Any

import orjson

from serving.stream.codecs.codec import CodecLimits, DecodedEvent, Undecodable, shown, undecodable
from serving.stream.ports import StreamRecord


class JsonCodec:
    """JSON objects.

    Undecodable are: other values than an object, invalid UTF-8, lone surrogates, NaN and infinities (also `1e999`), a name twice in an
    object (readers differ in which they take, and so would a rule and the program behind it), and what is over the limits. Whole numbers
    beyond 64 bits become floats, which no column of whole numbers takes."""

    def __init__(self, limits: CodecLimits | None = None) -> None:
        self._limits = limits or CodecLimits()

    def decode(self, records: Sequence[StreamRecord]) -> list[DecodedEvent | Undecodable]:
        """See EventCodec."""
        one = self.decode_value
        return [one(record.value) for record in records]

    def decode_value(self, value: bytes | None) -> DecodedEvent | Undecodable:
        """One record's value."""
        if value is None:
            return undecodable("the record has no value (a tombstone)")
        if len(value) > self._limits.record_bytes:
            return undecodable(f"the value has {len(value)} bytes, the most is {self._limits.record_bytes}")
        try:
            event = orjson.loads(value)
        except orjson.JSONDecodeError as problem:
            return undecodable(f"the value is not JSON: {problem}")
        if type(event) is not dict:
            return undecodable(f"the value is JSON, but {_kind(event)} and not an object")
        names: int | Undecodable = len(event)
        if value.count(b"{") > 1 or b"[" in value:
            names = count_names(event, self._limits)
            if isinstance(names, Undecodable):
                return names
        # Each name has a colon behind it. As many names in the object as places in the text that may be a name's end: none is repeated.
        if value.count(b'":') == names and not _has_spaced_colon(value):
            return event
        return _repeated(value) or event


def _has_spaced_colon(value: bytes) -> bool:
    if len(value.split(None, 1)) == 1:  # no space at all, as most producers write: known at once
        return False
    return b" :" in value or b"\n:" in value or b"\t:" in value or b"\r:" in value


def count_names(event: DecodedEvent, limits: CodecLimits) -> int | Undecodable:
    """The names in an event and in the objects within it; or that it is nested too deep, or holds too many values."""
    level: list[Any] = [event]
    names, items, depth = 0, 0, 0
    while level:
        depth += 1
        if depth > limits.depth:
            return undecodable(f"the event has more than {limits.depth} levels of objects and arrays")
        below: list[Any] = []
        for holder in level:
            items += len(holder)
            if isinstance(holder, dict):
                names += len(holder)
                below += [value for value in holder.values() if isinstance(value, dict | list)]
            else:
                below += [value for value in holder if isinstance(value, dict | list)]
        if items > limits.items:
            return undecodable(f"the event has more than {limits.items} values")
        level = below
    return names


class _Repeated(Exception):
    pass


def _repeated(value: bytes) -> Undecodable | None:
    """Reads the text a second time, by Python's own parser, which tells of each name. It is as strict as the first by now."""

    def once(pairs: list[tuple[str, Any]]) -> None:
        names = set()
        for name, _ in pairs:
            if name in names:
                raise _Repeated(name)
            names.add(name)

    try:
        json.loads(value.decode(), object_pairs_hook=once, parse_int=len, parse_float=len)
    except _Repeated as problem:
        return undecodable(f"the name {shown(problem.args[0])} occurs more than once in an object")
    except (ValueError, RecursionError) as problem:
        return undecodable(f"the value is not JSON: {problem}")
    return None


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "an array", str: "text", bool: "true or false"}.get(type(value), "a number")
