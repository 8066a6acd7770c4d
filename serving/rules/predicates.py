"""Compiles the tree of a rule to a function of an event.

The functions are closures over the values they compare with. Several texts for one field become one test."""

import math
import operator
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from serving.rules import tree
from serving.rules.events import Event, MultiValue, Value, texts_of
from serving.rules.patterns import searcher

Test = Callable[[Event], bool]
_RELATIONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def test_of(node: tree.Node) -> Test:
    """A function that returns whether the node holds for an event."""
    if isinstance(node, tree.Not):
        return _not(test_of(node.part))
    if isinstance(node, tree.AllOf):
        return _all([test_of(part) for part in node.parts])
    if isinstance(node, tree.AnyOf):
        return _any(_merged(node.parts))
    if isinstance(node, tree.Text):
        return _text(node.field, node.how, node.cased, (node.value,))
    if isinstance(node, tree.Pattern):
        return _pattern(node)
    if isinstance(node, tree.Number):
        return _number(node)
    if isinstance(node, tree.InNetwork):
        return _network(node)
    if isinstance(node, tree.Exists):
        return _exists(node.field, node.there)
    return _same_as(node)


def _not(test: Test) -> Test:
    return lambda event: not test(event)


def _all(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda event: first(event) and second(event)

    def holds(event: Event) -> bool:
        for test in tests:  # noqa: SIM110  # all() with a generator takes twice as long
            if not test(event):
                return False
        return True

    return holds


def _any(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def holds(event: Event) -> bool:
        for test in tests:  # noqa: SIM110  # see _all
            if test(event):
                return True
        return False

    return holds


def _merged(parts: tuple[tree.Node, ...]) -> list[Test]:
    """Tests of the parts. Texts for one field with the same comparison become one test, at the place of the first."""
    groups: dict[object, list[tree.Node]] = {}
    for number, part in enumerate(parts):
        key: object = (part.field, part.how, part.cased) if isinstance(part, tree.Text) else number
        groups.setdefault(key, []).append(part)
    tests = []
    for group in groups.values():
        first = group[0]
        if isinstance(first, tree.Text):
            values = tuple(part.value for part in group if isinstance(part, tree.Text))
            tests.append(_text(first.field, first.how, first.cased, values))
        else:
            tests.append(test_of(first))
    return tests


def _value_of(field: str | None, *, cased: bool) -> Callable[[Event], Value | None]:
    if field is None:
        return Event.all_values_cased if cased else Event.all_values
    name = field
    if cased:
        return lambda event: event.fields.get(name)
    return lambda event: event.lowered.get(name)


def _text(field: str | None, how: tree.How, cased: bool, texts: tuple[str, ...]) -> Test:
    """Whether a value has any of the texts. A case-insensitive field has a shorter path: matching spends most of its time there."""
    if field is not None and not cased:
        return _plain_text(field, how, texts)
    value_of, test = _value_of(field, cased=cased), _comparison(how, texts)

    def holds(event: Event) -> bool:
        value = value_of(event)
        return value is not None and test(value)

    return holds


def _plain_text(name: str, how: tree.How, texts: tuple[str, ...]) -> Test:
    if how == "ends":
        return lambda event: (value := event.lowered.get(name)) is not None and value.endswith(texts)
    if how == "starts":
        return lambda event: (value := event.lowered.get(name)) is not None and value.startswith(texts)
    if how == "contains" and len(texts) == 1:
        text = texts[0]
        return lambda event: (value := event.lowered.get(name)) is not None and text in value
    compare = _comparison(how, texts)
    return lambda event: (value := event.lowered.get(name)) is not None and compare(value)


def _comparison(how: tree.How, texts: tuple[str, ...]) -> Callable[[Value], bool]:
    if how == "ends":
        return lambda value: value.endswith(texts)
    if how == "starts":
        return lambda value: value.startswith(texts)
    if how == "is":
        known = frozenset(texts)
        return lambda value: value in known if isinstance(value, str) else not known.isdisjoint(value.values)

    def contains(value: Value) -> bool:
        for text in texts:  # noqa: SIM110  # see _all
            if text in value:
                return True
        return False

    return contains


def _pattern(node: tree.Pattern) -> Test:
    search, literals, value_of = searcher(node.expression), node.literals, _value_of(node.field, cased=node.cased)
    lowered_of = _value_of(node.field, cased=False)

    def holds(event: Event) -> bool:
        value = value_of(event)
        if value is None:
            return False
        if literals:
            lowered = lowered_of(event)
            if lowered is None or not all(text in lowered for text in literals):  # much cheaper than the expression
                return False
        if isinstance(value, str):
            return search(value) is not None
        return any(search(one) is not None for one in value.values)

    return holds


def _number(node: tree.Number) -> Test:
    name, compare, number, part = node.field, _RELATIONS[node.relation], node.number, node.part

    def holds(event: Event) -> bool:
        for text in texts_of(event.fields.get(name, MultiValue(()))):
            found = as_number(text) if part is None else part_of_moment(text, part)
            if found is not None and compare(found, number):
                return True
        return False

    return holds


def as_number(text: str) -> float | None:
    """The number a text is, decimal or 0x...; None if the text is no number."""
    try:
        number = float(int(text, 16)) if text[:2] in ("0x", "0X") else float(text)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def moment_of(text: str) -> datetime | None:
    """The moment (UTC) of ISO 8601 text, or of seconds, milli- or microseconds since the epoch; None if it is none. Text without a zone is
    UTC."""
    number = as_number(text)
    try:
        if number is not None:
            scale = 1.0 if abs(number) < 1e11 else 1e3 if abs(number) < 1e14 else 1e6
            return datetime.fromtimestamp(number / scale, UTC)
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def part_of_moment(text: str, part: str) -> float | None:
    """Minute, hour, day, week (ISO), month or year of a moment (see moment_of)."""
    moment = moment_of(text)
    if moment is None:
        return None
    return float(moment.isocalendar().week if part == "week" else getattr(moment, part))


def _network(node: tree.InNetwork) -> Test:
    name, network = node.field, node.network

    def holds(event: Event) -> bool:
        for text in texts_of(event.fields.get(name, MultiValue(()))):
            try:
                if ip_address(text.strip()) in network:
                    return True
            except ValueError:
                continue  # no address is in no network
        return False

    return holds


def _exists(name: str, there: bool) -> Test:
    return lambda event: (name in event.fields) is there


def _same_as(node: tree.SameAs) -> Test:
    name, other, how = node.field, node.other, node.how

    def holds(event: Event) -> bool:
        value, wanted = event.lowered.get(name), event.lowered.get(other)
        return value is not None and wanted is not None and _comparison(how, texts_of(wanted))(value)

    return holds
