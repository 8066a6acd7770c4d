"""Evaluates correlations: takes events with the rules that they match, gives the correlations that they complete.

State is kept by correlation and group. An item is needed as long as a window may still end on or after it: for the timespan, and for the
lateness that events are allowed. Whatever is bounded forgets the oldest first, and says so in the hits of that group."""

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from serving.rules.correlation.group import EventGroup
from serving.rules.correlation.values import CorrelationHit, CorrelationLimits, CorrelationRule
from serving.rules.correlation.window import GroupItem, MeasuredValue
from serving.rules.events import Fields, texts_of
from serving.rules.predicates import as_number

GroupKey = tuple[int, tuple[str, ...]]
"""A correlation's place among the rules, and the values of its group."""
GroupChange = tuple[GroupKey, GroupItem | int | None]
"""What happened to a group: an item was put in, an interval had a hit, or (None) it was forgotten."""
MOST_REPORTED: Final = 100
"""Events that a hit names."""
MOST_LETTERS: Final = 256
"""Longer values of a group or a count are cut; the rest of them is told apart by its hash."""
_EXPIRE_EVERY: Final = 10_000
_NUMBERS: Final = ("value_sum", "value_avg", "value_median")
_JOIN: Final = "\x1f"


class Correlator:
    """The correlations of one partition. rules: each after those that it refers to (see resolve). lateness_us: how late an event may be
    and still complete a window. Hits of `hidden` rules are not given; they count only for the rules that refer to them."""

    def __init__(
        self,
        rules: Sequence[CorrelationRule],
        *,
        lateness_us: int = 0,
        limits: CorrelationLimits | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.rules = tuple(rules)
        self.limits = limits or CorrelationLimits()
        self.newest_us, self.forgotten = 0, 0
        self.groups: OrderedDict[GroupKey, EventGroup] = OrderedDict()
        self.items = 0
        self._lateness_us, self._hidden = lateness_us, hidden
        self._places = {rule.id: number for number, rule in enumerate(rules)}
        self._by_rule: dict[str, list[tuple[int, int]]] = {}
        for number, rule in enumerate(rules):
            for place, referred in enumerate(rule.rules):
                self._by_rule.setdefault(referred, []).append((number, place))
        self._needed = [self._needed_of(rule) for rule in rules]
        self._is_told_once = [rule.is_lasting and rule.id not in self._by_rule for rule in rules]
        """Of which rules nothing more is asked once an interval had a hit: that keeps a hot group cheap."""
        self._changes: list[GroupChange] | None = None
        self._unexpired = 0

    def observe(self, at_us: int, matched: Sequence[str], fields: Fields, event: str) -> list[CorrelationHit]:
        """Take one event in. at_us: its time. matched: ids of the rules that it matches. event: its id, different for each event."""
        self.newest_us = max(self.newest_us, at_us)
        hits = self._take(at_us, [rule for rule in matched if rule in self._by_rule], fields, event) if matched else []
        self.bound()
        return hits

    def record(self, changes: "list[GroupChange] | None") -> None:
        """From now on append to this list what changes; None: to none."""
        self._changes = changes

    def put(self, key: GroupKey, item: GroupItem) -> list[tuple[GroupItem, float]]:
        """Put an item into a group. Returns the items that complete the correlation now."""
        rule, group = self.rules[key[0]], self.groups.get(key)
        if group is None:
            group = self.groups[key] = EventGroup()
        self.groups.move_to_end(key)
        self.items -= group.expire(self._horizon_us(rule))
        if self._changes is not None:
            self._changes.append((key, item))
        if self._is_told_once[key[0]] and group.has_told(item.at_us, rule.timespan_us):
            found = []
            group.keep(item)
        else:
            found = group.insert(rule, item)
        self.items += 1
        over = len(group.items) - self.limits.most_group_items
        if over > 0:
            group.forget(over)
            self.items -= over
            self.forgotten += over
        return found

    def bound(self) -> None:
        """Keep to the limits. Now and then let everything go that no window reaches any more."""
        self._unexpired += 1
        if self.items > self.limits.most_items or len(self.groups) > self.limits.most_groups:
            self._forget()
        elif self._unexpired > max(_EXPIRE_EVERY, 2 * len(self.groups)):
            self.expire()

    def expire(self) -> None:
        """Let everything go that no window reaches any more."""
        self._unexpired = 0
        gone: list[GroupKey] = []
        for key, group in self.groups.items():
            rule = self.rules[key[0]]
            horizon_us = self._horizon_us(rule)
            self.items -= group.expire(horizon_us, at_least=1)
            group.fired = {begin for begin in group.fired if begin + rule.timespan_us >= horizon_us}
            if not group.items and not group.fired:
                gone.append(key)
        for key in gone:
            del self.groups[key]

    def _take(self, at_us: int, matched: Sequence[str], fields: Fields, event: str) -> list[CorrelationHit]:
        hits: list[CorrelationHit] = []
        places: dict[int, list[int]] = {}
        for identity in matched:
            for number, place in self._by_rule[identity]:
                places.setdefault(number, []).append(place)
        waiting = [(number, self._items_of(number, of_rule, at_us, fields, event)) for number, of_rule in places.items()]
        pending: dict[int, list[tuple[tuple[str, ...], GroupItem]]] = {number: list(items) for number, items in waiting}
        for number in range(len(self.rules)):  # each after those that it refers to
            for group_values, item in pending.pop(number, ()):
                for anchor, value in self.put((number, group_values), item):
                    hits += self._completed(number, group_values, anchor, value, pending)
        return hits

    def _completed(
        self,
        number: int,
        values: tuple[str, ...],
        anchor: GroupItem,
        measure: float,
        pending: dict[int, list[tuple[tuple[str, ...], GroupItem]]],
    ) -> Iterator[CorrelationHit]:
        """The window that ends with this item meets the condition: tell the correlations that refer to it, and give the hit if it is the
        first of its interval."""
        rule, group = self.rules[number], self.groups[(number, values)]
        interval_us = anchor.at_us // rule.timespan_us * rule.timespan_us
        for outer, place in self._by_rule.get(rule.id, ()):
            found = self._items_of(
                outer, [place], anchor.at_us, dict(anchor.kept), _JOIN.join((rule.id, *values, str(interval_us)))
            )
            pending.setdefault(outer, []).extend(found)
        if interval_us in group.fired:
            return
        self.fire((number, values), interval_us)
        if rule.id not in self._hidden:
            window = group.window(anchor.at_us, rule.timespan_us)
            events = tuple(item.event for item in window[-MOST_REPORTED:] if _JOIN not in item.event)
            yield CorrelationHit(rule, values, anchor.at_us, interval_us, measure, events, group.dropped > 0)

    def _items_of(
        self, number: int, places: Sequence[int], at_us: int, fields: Mapping[str, object], event: str
    ) -> Iterator[tuple[tuple[str, ...], GroupItem]]:
        """The groups of a correlation that an event belongs to, with the item for each; none if it lacks one of the fields."""
        rule, by_group = self.rules[number], dict[tuple[str, ...], tuple[int, list[MeasuredValue]]]()
        for place in places:
            names = [rule.field_of(name, rule.rules[place]) for name in rule.group_by]
            measured = _measured(rule, [rule.field_of(name, rule.rules[place]) for name in rule.fields], fields)
            if rule.fields and not measured:
                continue
            for values in itertools.islice(itertools.product(*(_texts(fields, name) for name in names)), self.limits.most_keys):
                mask, found = by_group.get(values, (0, []))
                by_group[values] = (mask | 1 << place, found or measured)
        kept = tuple((name, text) for name in self._needed[number] for text in _texts(fields, name)[:1])
        for values, (mask, found) in by_group.items():
            for count, value in enumerate(found[: self.limits.most_keys] or [None]):
                yield values, GroupItem(at_us, mask, event if count == 0 else f"{event}#{count}", value, kept)

    def _needed_of(self, rule: CorrelationRule) -> tuple[str, ...]:
        """Fields that the correlations of this one take from the event that completes it."""
        names: dict[str, None] = {}
        for number, _ in self._by_rule.get(rule.id, ()):
            outer = self.rules[number]
            names.update(dict.fromkeys(outer.field_of(name, rule.id) for name in (*outer.group_by, *outer.fields)))
            names.update(dict.fromkeys(self._needed_of(outer)))
        return tuple(names)

    def _horizon_us(self, rule: CorrelationRule) -> int:
        return self.newest_us - self._lateness_us - rule.timespan_us

    def _forget(self) -> None:
        """Make room: first what no window reaches, then the groups that had no event for longest."""
        self.expire()
        most_items, most_groups = self.limits.most_items * 9 // 10, self.limits.most_groups * 9 // 10
        while self.groups and (self.items > most_items or len(self.groups) > most_groups):
            self.drop(next(iter(self.groups)))

    def drop(self, key: GroupKey) -> None:
        """Forget a group."""
        group = self.groups.pop(key, None)
        if group is not None:
            self.items -= len(group.items)
            self.forgotten += len(group.items)
            if self._changes is not None:
                self._changes.append((key, None))

    def fire(self, key: GroupKey, interval_us: int) -> None:
        """Remember that a group had a hit in this interval."""
        group = self.groups.get(key)
        if group is not None:
            group.fired.add(interval_us)
            if self._changes is not None:
                self._changes.append((key, interval_us))


def _texts(fields: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = fields.get(name)
    return () if value is None else tuple([_short(text) for text in texts_of(value)])  # type: ignore[arg-type]  # str or MultiValue


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}~{_digest(text)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=12).hexdigest()


def _measured(rule: CorrelationRule, names: Sequence[str], fields: Mapping[str, object]) -> list[MeasuredValue]:
    """What an event adds to the measure; empty if it lacks a field, or has no number where one is needed."""
    values = [_JOIN.join(texts) for texts in itertools.islice(itertools.product(*(_texts(fields, name) for name in names)), 64)]
    if not names or (rule.type not in _NUMBERS and rule.percentile is None):
        return list(values) if names else []
    numbers = [as_number(value) for value in values]
    return [number for number in numbers if number is not None]
