"""Events in the order of a correlation's rules (temporal_ordered): the longest chain that ends with an event, and when it began.

A chain is of different events, each of a later rule than the one before, none earlier than the one before. The table holds, for each rule
and length, the latest begin of such a chain; one event changes it in a step for each rule, so nothing is searched."""

from typing import Final

from serving.rules.correlation.values import CorrelationRule
from serving.rules.correlation.window import GroupItem, bits

_NEVER: Final = -(2**63)


class Chains:
    """Takes events in the order of `GroupItem.key`. rules: how many there are."""

    def __init__(self, rules: int) -> None:
        self._begins = [[_NEVER] * (rules + 1) for _ in range(rules)]
        """By rule and length, when the chain that ends with it began."""

    def add(self, item: GroupItem) -> None:
        """Take the next event in; it stands in one place of a chain only."""
        added: list[tuple[int, int, int]] = []
        for rule in bits(item.rules):
            added.append((rule, 1, item.at_us))
            for before in range(rule):
                added += [(rule, n + 1, at) for n, at in enumerate(self._begins[before]) if n and at != _NEVER]
        for rule, length, begin in added:
            self._begins[rule][length] = max(self._begins[rule][length], begin)

    def longest(self, item: GroupItem, timespan_us: int) -> int:
        """Rules of the longest chain that ends with one of this event's rules and begins in its window. After `add` of it."""
        since = item.at_us - timespan_us
        lengths = (n for rule in bits(item.rules) for n, begin in enumerate(self._begins[rule]) if begin >= since)
        return max(lengths, default=0)

    def present(self, item: GroupItem, timespan_us: int) -> int:
        """Rules that occur in the window that ends with this event; bit i is rule i."""
        since = item.at_us - timespan_us
        return sum(1 << rule for rule, begins in enumerate(self._begins) if begins[1] >= since)

    def meets(self, rule: CorrelationRule, item: GroupItem) -> float | None:
        """The number of rules in order, if the window that ends with this event meets the condition."""
        longest = self.longest(item, rule.timespan_us)
        if rule.expression is not None:
            present = self.present(item, rule.timespan_us)
            is_met = rule.expression.holds(present) and longest == present.bit_count()
        else:
            is_met = all(criterion.holds(longest) for criterion in rule.criteria)
        return longest if is_met else None
