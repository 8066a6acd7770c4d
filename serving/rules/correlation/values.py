"""Correlation rules and their hits as values. Times are microseconds since the epoch, of events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CorrelationType = Literal[
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
]
Comparison = Literal["lt", "lte", "gt", "gte", "eq", "neq"]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A number that a measure is compared with."""

    comparison: Comparison
    number: float

    def holds(self, measure: float) -> bool:
        """Whether the measure meets it."""
        number = self.number
        match self.comparison:
            case "gte":
                return measure >= number
            case "gt":
                return measure > number
            case "lte":
                return measure <= number
            case "lt":
                return measure < number
            case "eq":
                return measure == number
            case _:
                return measure != number


@dataclass(frozen=True, slots=True)
class Expression:
    """`and`, `or` and `not` over rules that occur, or one `rule` by its place in the correlation's rules."""

    how: Literal["and", "or", "not", "rule"]
    parts: tuple["Expression", ...] = ()
    rule: int = -1

    def holds(self, present: int) -> bool:
        """present: bit i is set if rule i occurs."""
        if self.how == "rule":
            return bool(present >> self.rule & 1)
        if self.how == "not":
            return not self.parts[0].holds(present)
        return (all if self.how == "and" else any)(part.holds(present) for part in self.parts)

    @property
    def has_not(self) -> bool:
        """Whether a further event may make it false."""
        return self.how == "not" or any(part.has_not for part in self.parts)


@dataclass(frozen=True, slots=True)
class CorrelationRule:
    """One correlation. rules: ids of the rules it refers to, in its order, resolved. group_by: fields or aliases; empty: one group.
    aliases: alias -> rule id -> field. criteria: all must hold; empty where `expression` says it. fields: whose values are measured.
    percentile: of value_percentile, 0 to 100; None: the share of the event's own value, percent. generate: the rules it refers to
    count for themselves too."""

    id: str
    title: str
    level: str
    type: CorrelationType
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan_us: int
    criteria: tuple[Criterion, ...] = ()
    expression: Expression | None = None
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    percentile: float | None = None
    generate: bool = False
    techniques: tuple[str, ...] = ()
    name: str | None = None
    path: str = ""

    @property
    def is_lasting(self) -> bool:
        """Whether further events never make a window that meets the condition fail it. Its hits do not depend on the order of arrival."""
        if self.expression is not None:
            return not self.expression.has_not
        counts = self.type in ("event_count", "value_count", "temporal", "temporal_ordered")
        return counts and all(c.comparison in ("gt", "gte") for c in self.criteria)

    def field_of(self, name: str, rule: str) -> str:
        """The field that a name of `group_by` or `fields` means in events of one rule."""
        return self.aliases.get(name, {}).get(rule, name)


@dataclass(frozen=True, slots=True)
class CorrelationHit:
    """A group of events meets a correlation; once for each group and interval of the timespan.

    group: values of `group_by`. at_us: the event that completes it; interval_us: begin of the interval. measure: what was counted.
    events: ids of those in the window, the newest at most. is_partial: events of this group were forgotten before."""

    rule: CorrelationRule
    group: tuple[str, ...]
    at_us: int
    interval_us: int
    measure: float
    events: tuple[str, ...]
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class CorrelationLimits:
    """Bounds of the state. most_groups, most_items: of all correlations of one partition. most_group_items: of one group; the oldest are
    forgotten first. most_keys: groups that one event may belong to, if fields have several values."""

    most_groups: int = 100_000
    most_items: int = 500_000
    most_group_items: int = 10_000
    most_keys: int = 16
