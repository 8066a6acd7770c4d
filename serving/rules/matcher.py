"""A set of SIGMA rules, compiled once: events in, the rules that match out.

Rules stand by the log source they name; an event is put to those that are about it, the index picks the candidates, and only these
are judged in full."""

from collections.abc import Iterable, Sequence
from typing import Final

from serving.rules.errors import RuleError
from serving.rules.events import Event, Fields
from serving.rules.index import Index, guard_of
from serving.rules.logsources import EventSource, LogSources
from serving.rules.parse import Placeholders, parse_sigma
from serving.rules.predicates import Test, test_of
from serving.rules.tree import LogSource, SigmaRule, UnsupportedRule

MAX_RULES: Final = 10_000
_SOURCES_KEPT: Final = 1024
_MOST_NAMES: Final = 32
"""Names of a source that is kept; one with more was made up by the event."""


class _Shelf:
    """The rules that name one log source."""

    def __init__(self, rules: Sequence[tuple[int, SigmaRule]]) -> None:
        self._numbers = [number for number, _ in rules]
        self._tests: list[Test] = [test_of(rule.when) for _, rule in rules]
        self._index = Index([guard_of(rule.when) for _, rule in rules])

    def matches(self, event: Event) -> list[int]:
        tests, numbers = self._tests, self._numbers
        return [numbers[n] for n in self._index.candidates(event) if tests[n](event)]


class Matcher:
    """A matcher. unsupported: the rules it does not match, each with the reason. unreached: rules whose log source no event is
    derived to be, so that only events which say their log source themselves are put to them."""

    def __init__(
        self, rules: Sequence[SigmaRule], unsupported: Sequence[UnsupportedRule] = (), sources: LogSources | None = None
    ) -> None:
        if len(rules) > MAX_RULES:
            raise RuleError(f"{len(rules)} SIGMA rules are more than {MAX_RULES}; choose those that matter for this model")
        self.rules, self.unsupported = tuple(rules), tuple(unsupported)
        self.sources = sources or LogSources()
        shelves: dict[LogSource, list[tuple[int, SigmaRule]]] = {}
        for number, rule in enumerate(self.rules):
            shelves.setdefault(rule.source, []).append((number, rule))
        self._shelves = {source: _Shelf(members) for source, members in shelves.items()}
        self._met: dict[EventSource, list[_Shelf]] = {}
        self.unreached = tuple(rule for rule in self.rules if not self.sources.reaches(rule.source))

    def match(self, fields: Fields, source: EventSource | None = None) -> list[SigmaRule]:
        """The rules an event matches, in the set's order. source: what it is; None: as it follows from its fields."""
        if source is None:
            source = self.sources.of(fields)
        shelves = self._met.get(source)
        if shelves is None:
            shelves = self._shelves_for(source)
        if not shelves:
            return []
        event = Event(fields)
        found: list[int] = []
        for shelf in shelves:
            found += shelf.matches(event)
        found.sort()
        return [self.rules[number] for number in found]

    def _shelves_for(self, source: EventSource) -> list[_Shelf]:
        """The shelves of the rules about this source; kept, for there are few sources unless somebody makes them up."""
        if len(self._met) >= _SOURCES_KEPT:
            self._met.clear()
        shelves = [self._shelves[key] for key in source.covered(self._shelves)]
        if len(source.products) + len(source.categories) + len(source.services) <= _MOST_NAMES:
            self._met[source] = shelves
        return shelves


def compile_sigma(
    files: Iterable[tuple[str, str | bytes]], *, placeholders: Placeholders | None = None, sources: LogSources | None = None
) -> Matcher:
    """Compile SIGMA files, given as (path, content). Raises RuleError if there are too many."""
    rules, unsupported = parse_sigma(files, placeholders)
    return Matcher(rules, unsupported, sources)
