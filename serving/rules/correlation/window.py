"""What a window of events measures. Each measure takes events in and out, so that a sliding window costs one step an event."""

import math
from bisect import bisect_left, insort
from collections import Counter
from typing import Any, Final, Protocol

from serving.rules.correlation.values import CorrelationRule, Criterion

MeasuredValue = str | float | None
MEDIAN: Final = 50.0


class GroupItem:
    """One event in a group. at_us: event time. rules: bit i is set if it matches the correlation's rule i. event: its id. value: what is
    measured; None: it has none. kept: fields that correlations of this one need. is_anchor: the window that ends with it meets the
    condition."""

    __slots__ = ("at_us", "event", "is_anchor", "kept", "rules", "value")

    def __init__(
        self,
        at_us: int,
        rules: int,
        event: str,
        value: MeasuredValue = None,
        kept: tuple[tuple[str, str], ...] = (),
        *,
        is_anchor: bool = False,
    ) -> None:
        self.at_us, self.rules, self.event, self.value, self.kept, self.is_anchor = at_us, rules, event, value, kept, is_anchor

    def key(self) -> tuple[int, int, str]:
        """Events in the order of this key are in order of time; ties are broken the same way whenever they came."""
        return self.at_us, self.rules & -self.rules, self.event


class WindowMeasure(Protocol):
    """What the items of a window come to."""

    def add(self, item: GroupItem) -> None:
        """Take an item in."""
        ...

    def remove(self, item: GroupItem) -> None:
        """Let an item go that was taken in."""
        ...

    def value(self, item: GroupItem) -> float:
        """The measure, as seen by the window's last item. Not a number: there is nothing to measure."""
        ...


class EventsMeasure:
    """How many events; those of a correlation count once for each of its intervals."""

    def __init__(self) -> None:
        self._events: Counter[str] = Counter()

    def add(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        self._events[item.event] += 1

    def remove(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        _less(self._events, item.event)

    def value(self, item: GroupItem) -> float:
        """See WindowMeasure."""
        return len(self._events)


class DistinctMeasure:
    """How many different values; with `is_share` the share of the last item's own value among all, percent."""

    def __init__(self, *, is_share: bool = False) -> None:
        self._values: Counter[MeasuredValue] = Counter()
        self._is_share, self._all = is_share, 0

    def add(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        if item.value is not None:
            self._values[item.value] += 1
            self._all += 1

    def remove(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        if item.value is not None:
            _less(self._values, item.value)
            self._all -= 1

    def value(self, item: GroupItem) -> float:
        """See WindowMeasure."""
        if not self._is_share:
            return len(self._values)
        return 100 * self._values[item.value] / self._all if item.value is not None else float("nan")


class NumbersMeasure:
    """Sum or mean of numbers, or a percentile (nearest rank; the median is the mean of the two in the middle)."""

    def __init__(self, how: str, percentile: float | None) -> None:
        self._how, self._percentile = how, percentile
        self._sorted: list[float] = []

    def add(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        if isinstance(item.value, float):
            insort(self._sorted, item.value)

    def remove(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        if isinstance(item.value, float):
            del self._sorted[bisect_left(self._sorted, item.value)]

    def value(self, item: GroupItem) -> float:
        """See WindowMeasure."""
        numbers = self._sorted
        if not numbers:
            return float("nan")
        if self._how == "value_sum":
            return sum(numbers)
        if self._how == "value_avg":
            return sum(numbers) / len(numbers)
        if self._how == "value_median":
            return (numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2]) / 2
        rank = -(-(self._percentile or MEDIAN) * len(numbers) // 100)
        return numbers[max(int(rank), 1) - 1]


class RulesMeasure:
    """How many of the rules occur, and which."""

    def __init__(self, rules: int) -> None:
        self._counts = [0] * rules

    def add(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        for rule in bits(item.rules):
            self._counts[rule] += 1

    def remove(self, item: GroupItem) -> None:
        """See WindowMeasure."""
        for rule in bits(item.rules):
            self._counts[rule] -= 1

    def value(self, item: GroupItem) -> float:
        """See WindowMeasure."""
        return self.present().bit_count()

    def present(self) -> int:
        """Bit i is set if rule i occurs."""
        return sum(1 << rule for rule, count in enumerate(self._counts) if count)


def bits(mask: int) -> list[int]:
    """The places of the bits that are set.

    >>> bits(0b101)
    [0, 2]
    """
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def measure_of(rule: CorrelationRule) -> WindowMeasure:
    """An empty window of a correlation; temporal_ordered has one of its own (serving.rules.correlation.chain)."""
    match rule.type:
        case "event_count":
            return EventsMeasure()
        case "value_count":
            return DistinctMeasure()
        case "value_percentile" if rule.percentile is None:
            return DistinctMeasure(is_share=True)
        case "temporal" | "temporal_ordered":
            return RulesMeasure(len(rule.rules))
        case _:
            return NumbersMeasure(rule.type, rule.percentile)


def meets(rule: CorrelationRule, measure: WindowMeasure, value: float) -> bool:
    """Whether the window meets the condition."""
    if rule.expression is not None and isinstance(measure, RulesMeasure):
        return rule.expression.holds(measure.present())
    return not math.isnan(value) and all(criterion.holds(value) for criterion in rule.criteria)


def most_counted(criteria: tuple[Criterion, ...]) -> float:
    """The largest number that the criteria compare with."""
    return max((criterion.number for criterion in criteria), default=0.0)


def _less(counts: Counter[Any], key: MeasuredValue) -> None:
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1
