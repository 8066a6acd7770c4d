"""What a stream needs for a bundle's rules: the rules to match, the correlations to evaluate, and the groups that may lie in several
partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from serving.rules.correlation.values import CorrelationRule
from serving.rules.events import Fields, fields_of, fields_of_json
from serving.rules.logsources import EventSource, LogSources
from serving.rules.matcher import Matcher
from serving.rules.ruleset import CODES, EventPlace, RuleSet
from serving.stream.contract import Level, Word

Choice = Literal["all", "whole", "off"]
_WORDS: Final[Mapping[int, Word | None]] = {0: None, 1: "investigate", 2: "alert"}


@dataclass(frozen=True, slots=True)
class CorrelationPlan:
    """matcher: the rules for single events that count in a correlation. rules: each after those that it refers to. partial: titles of those
    whose groups lie in several partitions. raises: whether a hit raises the verdict of its event."""

    matcher: Matcher
    rules: tuple[CorrelationRule, ...]
    hidden: frozenset[str]
    place: EventPlace
    raises: bool
    partial: tuple[str, ...] = ()

    def match(self, body: Mapping[str, Any]) -> tuple[Fields, list[str]]:
        """An event's fields, and the ids of the rules that it matches. Raises RuleError for one that cannot be read."""
        document: Mapping[str, Any] = body
        if self.place.column is not None:
            content = body.get(self.place.column)
            if isinstance(content, dict):
                document, fields = content, fields_of(content)
            else:
                fields, document = fields_of_json(content if isinstance(content, bytes) else str(content).encode())
        else:
            fields = fields_of(document)
        named = document.get("logsource")
        declared = named if isinstance(named, dict) else dict(self.place.source) or None
        source: EventSource = self.matcher.sources.of(fields, declared)
        return fields, [rule.id for rule in self.matcher.match(fields, source)]

    def word(self, rule: CorrelationRule) -> Word | None:
        """What the verdict on an event becomes at least; None: the hit is only named."""
        return _WORDS[CODES[rule.level]] if self.raises else None


def plan_of(rules: RuleSet, keys: Sequence[str], choice: Choice) -> CorrelationPlan | None:
    """What these rules ask; None if there is no correlation to evaluate. keys: fields that the topic is partitioned by. choice: which
    correlations are evaluated: all, those whose groups lie in one partition, or none."""
    if rules.sigma is None or choice == "off":
        return None
    found = rules.sigma.correlations
    own_names = _own_names(rules.sigma.sources)
    torn = {rule.id: rule for rule in found.rules if not _is_whole(rule, keys, own_names)}
    kept: dict[str, CorrelationRule] = {}
    ids = {rule.id for rule in found.rules}
    for rule in found.rules:
        refers_to_left = any(referred in ids and referred not in kept for referred in rule.rules)
        if choice == "all" or (rule.id not in torn and not refers_to_left):
            kept[rule.id] = rule
    if not kept:
        return None
    base = {referred for rule in kept.values() for referred in rule.rules} - ids
    matcher = Matcher([rule for rule in rules.sigma.rules if rule.id in base], (), rules.sigma.sources)
    partial = tuple(rule.title or rule.id for rule in torn.values())
    return CorrelationPlan(matcher, tuple(kept.values()), found.hidden, rules.place, rules.use == "verdict", partial)


def _is_whole(rule: CorrelationRule, keys: Sequence[str], own_names: Mapping[str, frozenset[str]]) -> bool:
    """Whether all events of a group are in one partition: the group contains the key, under each rule's names for it."""
    for referred in rule.rules:
        names = {rule.field_of(name, referred) for name in rule.group_by}
        names = names.union(*(own_names.get(name, frozenset()) for name in names))
        if not names.issuperset(keys):
            return False
    return True


def _own_names(sources: LogSources) -> dict[str, frozenset[str]]:
    """By the name that rules use, the names that events have for it."""
    found: dict[str, set[str]] = {}
    for entry in sources.entries:
        for name, names in entry.fields.items():
            found.setdefault(name, set()).update(names)
    return {name: frozenset(names) for name, names in found.items()}


def level_of(rule: CorrelationRule) -> Level:
    """The severity of a hit."""
    level: Level = rule.level  # type: ignore[assignment]  # the parser lets these words through only
    return level
