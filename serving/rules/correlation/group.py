"""The events of one correlation and group, in order of time, and which of them complete it."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Final

from serving.rules.correlation.chain import Chains
from serving.rules.correlation.values import CorrelationRule
from serving.rules.correlation.window import GroupItem, WindowMeasure, measure_of, meets

_TRIM: Final = 64
"""Expired items are let go in lots of at least this many, or all at once."""


class EventGroup:
    """Items within reach of a window, in the order of their keys. fired: begins of the intervals with a hit. dropped: how many items were
    forgotten although they were within reach."""

    __slots__ = ("_first", "_is_current", "_measure", "dropped", "fired", "items")

    def __init__(self) -> None:
        self.items: list[GroupItem] = []
        self.fired: set[int] = set()
        self.dropped = 0
        self._measure: WindowMeasure | Chains | None = None
        self._first = 0
        self._is_current = False

    def insert(self, rule: CorrelationRule, item: GroupItem) -> list[tuple[GroupItem, float]]:
        """Take an item in. Returns the items that complete the correlation now and did not before, with the measure."""
        items = self.items
        if not items or item.key() > items[-1].key():
            items.append(item)
            return self._judge_newest(rule, item)
        is_tie = item.at_us == items[-1].at_us
        insort(items, item, key=GroupItem.key)
        if is_tie and rule.type != "temporal_ordered":
            return self._judge_newest(rule, item)
        self._is_current = False
        return self._judge_all(rule, item.at_us)

    def keep(self, item: GroupItem) -> None:
        """Take an item in without judging the windows that it is in."""
        if not self.items or item.key() > self.items[-1].key():
            self.items.append(item)
        else:
            insort(self.items, item, key=GroupItem.key)
        self._is_current = False

    def has_told(self, at_us: int, timespan_us: int) -> bool:
        """Whether every interval in which a window with an item of this time may end had a hit."""
        newest_us = max(at_us, self.items[-1].at_us) if self.items else at_us
        last_us = min(at_us + timespan_us, newest_us)
        return at_us // timespan_us * timespan_us in self.fired and last_us // timespan_us * timespan_us in self.fired

    def expire(self, before_us: int, at_least: int = _TRIM) -> int:
        """Let items before this time go, if they are so many; returns how many."""
        if not self.items or self.items[0].at_us >= before_us:
            return 0
        count = bisect_left(self.items, before_us, key=lambda item: item.at_us)
        if count < at_least and count < len(self.items):
            return 0
        self._let_go(count)
        return count

    def forget(self, count: int) -> None:
        """Let the oldest items go although they may be needed."""
        self.dropped += count
        self._let_go(count)

    def extend(self, items: Sequence[GroupItem], fired: Iterable[int], dropped: int) -> None:
        """Take stored items in, which were judged before."""
        self.items = sorted([*self.items, *items], key=GroupItem.key)
        self.fired.update(fired)
        self.dropped = max(self.dropped, dropped)
        self._is_current = False

    def window(self, at_us: int, timespan_us: int) -> list[GroupItem]:
        """The items of the window that ends at this time; both ends belong to it."""
        first = bisect_left(self.items, at_us - timespan_us, key=lambda item: item.at_us)
        end = bisect_left(self.items, at_us + 1, key=lambda item: item.at_us)
        return self.items[first:end]

    def _let_go(self, count: int) -> None:
        measure = self._measure
        if self._is_current and measure is not None and not isinstance(measure, Chains):
            for item in self.items[self._first : count]:
                measure.remove(item)
            self._first = max(self._first - count, 0)
        del self.items[:count]

    def _judge_newest(self, rule: CorrelationRule, item: GroupItem) -> list[tuple[GroupItem, float]]:
        """No item is later: the window moves on by one step. Items of the same moment are judged with it."""
        if not self._is_current:
            self._rebuild(rule, item)
        measure = self._measure
        if isinstance(measure, Chains):
            measure.add(item)
            return _anchored(item, measure.meets(rule, item))
        if measure is None:
            return []
        since = item.at_us - rule.timespan_us
        while self.items[self._first].at_us < since:
            measure.remove(self.items[self._first])
            self._first += 1
        measure.add(item)
        found: list[tuple[GroupItem, float]] = []
        for tie in reversed(self.items):
            if tie.at_us < item.at_us or (tie.is_anchor and rule.is_lasting):
                break
            value = _value(rule, measure, tie)
            if value is None and rule.is_lasting:
                break
            found += _anchored(tie, value)
        return found

    def _rebuild(self, rule: CorrelationRule, without: GroupItem) -> None:
        """The window as it was before this item came."""
        self._first = 0
        self._measure = taken = Chains(len(rule.rules)) if rule.type == "temporal_ordered" else measure_of(rule)
        for item in self.items:
            if item is not without:
                taken.add(item)
        self._is_current = True

    def _judge_all(self, rule: CorrelationRule, since_us: int) -> list[tuple[GroupItem, float]]:
        """An item came late: judge every window that it is in, anew."""
        found: list[tuple[GroupItem, float]] = []
        ends = self.window(since_us + rule.timespan_us, rule.timespan_us)
        within = self.window(since_us + rule.timespan_us, 2 * rule.timespan_us)
        if rule.type == "temporal_ordered":
            chains = Chains(len(rule.rules))
            for item in within:
                chains.add(item)
                if item.at_us >= since_us:
                    found += _anchored(item, chains.meets(rule, item))
            return found
        measure, first, end = measure_of(rule), 0, 0
        for item in ends:
            while end < len(within) and within[end].at_us <= item.at_us:
                measure.add(within[end])
                end += 1
            while within[first].at_us < item.at_us - rule.timespan_us:
                measure.remove(within[first])
                first += 1
            found += _anchored(item, _value(rule, measure, item))
        return found


def _value(rule: CorrelationRule, measure: WindowMeasure, item: GroupItem) -> float | None:
    value = measure.value(item)
    return value if meets(rule, measure, value) else None


def _anchored(item: GroupItem, value: float | None) -> list[tuple[GroupItem, float]]:
    """The item, if it completes the correlation for the first time."""
    if value is None or item.is_anchor:
        return []
    item.is_anchor = True
    return [(item, value)]
