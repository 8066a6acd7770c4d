"""The state of correlations as bytes (MessagePack): what changed since the last time, and the whole in parts.

A correlation is known by its id and a digest of what it counts, so state survives a new title and is dropped with a changed definition.
Items are kept with their times, so it does not matter in which order changes of different groups come."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from serving.rules.correlation.engine import Correlator, GroupChange, GroupKey
from serving.rules.correlation.group import EventGroup
from serving.rules.correlation.values import CorrelationRule
from serving.rules.correlation.window import GroupItem, MeasuredValue

PART_ITEMS: Final = 4_000
"""Items of one part: it stays below half a megabyte with ids and values of usual length."""
_VERSION: Final = 1
_Item = tuple[int, int, str, MeasuredValue, tuple[tuple[str, str], ...], bool]
_Entry = tuple[int, tuple[str, ...], _Item | int | None]
_Whole = tuple[int, tuple[str, ...], int, tuple[int, ...], tuple[_Item, ...]]


class _Delta(msgspec.Struct, array_like=True):
    version: int
    rules: list[str]
    newest_us: int
    forgotten: int
    entries: list[_Entry]


class _Part(msgspec.Struct, array_like=True):
    version: int
    rules: list[str]
    newest_us: int
    forgotten: int
    groups: list[_Whole]


_Stored = TypeVar("_Stored", _Delta, _Part)


def definition_of(rule: CorrelationRule) -> str:
    """The rule's id and a digest of what it counts.

    Two rules with the same definition have the same state."""
    counted = (
        rule.type, rule.rules, rule.group_by, rule.timespan_us, rule.criteria, rule.expression, rule.fields, rule.percentile,
        sorted((alias, sorted(fields.items())) for alias, fields in rule.aliases.items()),
    )  # fmt: skip
    return f"{rule.id}/{hashlib.sha256(repr(counted).encode()).hexdigest()[:16]}"


def encode_delta(correlator: Correlator, changes: Iterable[GroupChange]) -> bytes:
    """What happened since the last time."""
    entries = [
        (key[0], key[1], _packed(change, is_judged=False) if isinstance(change, GroupItem) else change)
        for key, change in changes
    ]
    names = [definition_of(rule) for rule in correlator.rules]
    return msgspec.msgpack.encode(_Delta(_VERSION, names, correlator.newest_us, correlator.forgotten, entries))


def apply_delta(correlator: Correlator, content: bytes) -> None:
    """Do again what happened. Raises ValueError for what cannot be read."""
    delta = _decoded(content, _Delta)
    places = _places(correlator, delta.rules)
    correlator.newest_us = max(correlator.newest_us, delta.newest_us)
    for number, values, change in delta.entries:
        place = places[number] if 0 <= number < len(places) else None
        if place is None:
            continue
        key: GroupKey = (place, tuple(values))
        if change is None:
            correlator.drop(key)
        elif isinstance(change, int):
            correlator.fire(key, change)
        else:
            correlator.put(key, _unpacked(change))
    correlator.bound()
    correlator.forgotten = delta.forgotten


def encode_snapshot(correlator: Correlator) -> Iterator[bytes]:
    """The whole, in parts. A group with many items is in several."""
    correlator.expire()
    names = [definition_of(rule) for rule in correlator.rules]
    groups: list[_Whole] = []
    count = 0

    def part() -> bytes:
        return msgspec.msgpack.encode(_Part(_VERSION, names, correlator.newest_us, correlator.forgotten, groups))

    for (number, values), group in correlator.groups.items():
        for first in range(0, len(group.items) or 1, PART_ITEMS):
            items = tuple(_packed(item) for item in group.items[first : first + PART_ITEMS])
            if count and count + len(items) + 1 > PART_ITEMS:
                yield part()
                groups, count = [], 0
            groups.append((number, values, group.dropped, tuple(sorted(group.fired)), items))
            count += len(items) + 1
    yield part()


def restore_part(correlator: Correlator, content: bytes) -> None:
    """Take in one part of the whole. Raises ValueError for what cannot be read."""
    found = _decoded(content, _Part)
    places = _places(correlator, found.rules)
    correlator.newest_us = max(correlator.newest_us, found.newest_us)
    correlator.forgotten = found.forgotten
    for number, values, dropped, fired, items in found.groups:
        place = places[number] if 0 <= number < len(places) else None
        if place is not None:
            group = correlator.groups.setdefault((place, tuple(values)), EventGroup())
            group.extend([_unpacked(item) for item in items], fired, dropped)
            correlator.items += len(items)


def _places(correlator: Correlator, names: list[str]) -> list[int | None]:
    own = {definition_of(rule): place for place, rule in enumerate(correlator.rules)}
    return [own.get(name) for name in names]


def _packed(item: GroupItem, *, is_judged: bool = True) -> _Item:
    """is_judged: False for an item that `put` will judge again."""
    return item.at_us, item.rules, item.event, item.value, item.kept, item.is_anchor and is_judged


def _unpacked(item: _Item) -> GroupItem:
    at_us, rules, event, value, kept, is_anchor = item
    return GroupItem(at_us, rules, event, value, tuple(kept), is_anchor=is_anchor)


def _decoded(content: bytes, kind: type[_Stored]) -> _Stored:
    try:
        found = msgspec.msgpack.decode(content, type=kind)
    except msgspec.MsgspecError as problem:
        raise ValueError(f"the state of correlations is not readable: {problem}") from problem
    if found.version != _VERSION:
        raise ValueError(f"the state of correlations has version {found.version}, expected {_VERSION}")
    return found
