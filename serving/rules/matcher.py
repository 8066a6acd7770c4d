"""A set of SIGMA rules, compiled once: takes events, returns the rules that match.

Rules are grouped by the log source they name. An event is tested by the groups that include it: the index picks the candidates, and only
those are evaluated in full."""

from collections.abc import Iterable, Sequence
from typing import Final

from serving.rules.correlation.resolve import CorrelationSet
from serving.rules.errors import RuleError
from serving.rules.events import Event, Fields
from serving.rules.index import Index, guard_of
from serving.rules.logsources import EventSource, LogSources, built_in_sources
from serving.rules.parse import Placeholders, parse_sigma
from serving.rules.predicates import Test, test_of
from serving.rules.tree import LogSource, SigmaRule, UnsupportedRule

MAX_RULES: Final = 10_000
_MOST_SOURCES: Final = 1024
_MOST_NAMES: Final = 32
"""Sources with more names than this are not cached; the event made them up."""


class _SourceRules:
    """The rules that name one log source."""

    def __init__(self, rules: Sequence[tuple[int, SigmaRule]]) -> None:
        self._numbers = [number for number, _ in rules]
        self._tests: list[Test] = [test_of(rule.when) for _, rule in rules]
        self._index = Index([guard_of(rule.when) for _, rule in rules])

    def matches(self, event: Event) -> list[int]:
        tests, numbers = self._tests, self._numbers
        return [numbers[n] for n in self._index.candidates(event) if tests[n](event)]


class Matcher:
    """Matches events. unsupported: the rules it cannot match, each with the reason. unreached: rules whose log source is never derived
    from an event's fields; only events that name their log source can match them. correlations: what several events say, which is kept
    here and evaluated where there is state (serving.rules.correlation)."""

    def __init__(
        self,
        rules: Sequence[SigmaRule],
        unsupported: Sequence[UnsupportedRule] = (),
        sources: LogSources | None = None,
        correlations: CorrelationSet | None = None,
    ) -> None:
        if len(rules) > MAX_RULES:
            raise RuleError(
                f"the bundle has {len(rules)} SIGMA rules, at most {MAX_RULES} are allowed; choose those that matter for this model"
            )
        self.rules, self.unsupported = tuple(rules), tuple(unsupported)
        self.sources, self.correlations = sources or built_in_sources(), correlations or CorrelationSet()
        groups: dict[LogSource, list[tuple[int, SigmaRule]]] = {}
        for number, rule in enumerate(self.rules):
            groups.setdefault(rule.source, []).append((number, rule))
        self._by_rule_source = {source: _SourceRules(members) for source, members in groups.items()}
        self._by_event_source: dict[EventSource, list[_SourceRules]] = {}
        self.unreached = tuple(rule for rule in self.rules if not self.sources.reaches(rule.source))

    def match(self, fields: Fields, source: EventSource | None = None) -> list[SigmaRule]:
        """The rules that match an event, in the set's order. source: its log source; None: derived from its fields."""
        if source is None:
            source = self.sources.of(fields)
        groups = self._by_event_source.get(source)
        if groups is None:
            groups = self._rules_about(source)
        if not groups:
            return []
        event = Event(fields)
        found: list[int] = []
        for group in groups:
            found += group.matches(event)
        found.sort()
        return [self.rules[number] for number in found]

    def _rules_about(self, source: EventSource) -> list[_SourceRules]:
        """The groups of rules about this source; cached, because events have few different sources unless they make them up."""
        if len(self._by_event_source) >= _MOST_SOURCES:
            self._by_event_source.clear()
        groups = [self._by_rule_source[key] for key in source.covered(self._by_rule_source)]
        if len(source.products) + len(source.categories) + len(source.services) <= _MOST_NAMES:
            self._by_event_source[source] = groups
        return groups


def compile_sigma(
    files: Iterable[tuple[str, str | bytes]], *, placeholders: Placeholders | None = None, sources: LogSources | None = None
) -> Matcher:
    """Compile SIGMA files, given as (path, content). Raises RuleError if there are too many."""
    parsed = parse_sigma(files, placeholders)
    return Matcher(parsed.rules, parsed.unsupported, sources, parsed.correlations)
