"""Finds the rules that correlations refer to, by id or by name, and puts each correlation after those that it refers to.

What does not hold is listed with the reason, like every other rule that is not supported."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from serving.rules import tree
from serving.rules.correlation.parse import CorrelationError, ParsedCorrelation, ReferenceExpression
from serving.rules.correlation.values import CorrelationLimits, CorrelationRule, Expression
from serving.rules.correlation.window import most_counted

MOST_CORRELATIONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class CorrelationDocument:
    """A correlation as it stands in a file."""

    id: str
    name: str | None
    path: str
    techniques: tuple[str, ...]
    parsed: ParsedCorrelation


@dataclass(frozen=True, slots=True)
class CorrelationSet:
    """The correlations of a rule set. rules: each after those that it refers to. hidden: ids of rules, correlations too, that count only
    for correlations: a correlation refers to them and does not say `generate`."""

    rules: tuple[CorrelationRule, ...] = ()
    hidden: frozenset[str] = frozenset()


def resolve(
    documents: Sequence[CorrelationDocument], rules: Iterable[tree.SigmaRule], names: Mapping[str, Sequence[str]]
) -> tuple[CorrelationSet, list[tree.UnsupportedRule]]:
    """rules: those for single events that can be matched. names: name -> ids, of all documents that have one."""
    unsupported: list[tree.UnsupportedRule] = []
    resolver = _Resolver({d.id: d for d in documents}, {rule.id for rule in rules}, names)
    for document in documents[:MOST_CORRELATIONS]:
        try:
            resolver.add(document, ())
        except CorrelationError as problem:
            unsupported.append(tree.UnsupportedRule(document.id, document.parsed.title, document.path, str(problem)))
    for document in documents[MOST_CORRELATIONS:]:
        reason = f"there are more than {MOST_CORRELATIONS} correlations; choose those that matter"
        unsupported.append(tree.UnsupportedRule(document.id, document.parsed.title, document.path, reason))
    found = tuple(resolver.done.values())
    hidden = frozenset(referred for rule in found if not rule.generate for referred in rule.rules)
    return CorrelationSet(found, hidden), unsupported


class _Resolver:
    def __init__(
        self, documents: Mapping[str, CorrelationDocument], rules: set[str], names: Mapping[str, Sequence[str]]
    ) -> None:
        self._documents, self._rules, self._names = documents, rules, names
        self._refused: dict[str, str] = {}
        self.done: dict[str, CorrelationRule] = {}

    def add(self, document: CorrelationDocument, way: tuple[str, ...]) -> None:
        """Resolve a correlation and those that it refers to. Raises CorrelationError."""
        if document.id in self.done:
            return
        if document.id in self._refused:
            raise CorrelationError(self._refused[document.id])
        try:
            if document.id in way:
                raise CorrelationError(f"it refers to itself: {' -> '.join((*way[way.index(document.id) :], document.id))}")
            places = {reference: self._found(reference, document, way) for reference in document.parsed.references}
            self.done[document.id] = _rule_of(document, places)
        except CorrelationError as problem:
            self._refused[document.id] = str(problem)
            raise

    def _found(self, reference: str, document: CorrelationDocument, way: tuple[str, ...]) -> str:
        """The id that a reference means."""
        known = [reference] if reference in self._rules or reference in self._documents else self._names.get(reference, ())
        if len(known) > 1:
            raise CorrelationError(f"it refers to {reference!r}, which is the name of {len(known)} rules: {sorted(known)}")
        if not known:
            raise CorrelationError(f"it refers to {reference!r}, and no rule here has this id or name")
        identity = known[0]
        if identity in self._documents:
            try:
                self.add(self._documents[identity], (*way, document.id))
            except CorrelationError as problem:
                if "refers to itself" in str(problem):
                    raise
                raise CorrelationError(f"it refers to {reference!r}, which is not supported: {problem}") from problem
        elif identity not in self._rules:
            raise CorrelationError(f"it refers to {reference!r}, which is not supported")
        return identity


def _rule_of(document: CorrelationDocument, ids: Mapping[str, str]) -> CorrelationRule:
    parsed = document.parsed
    rules = tuple(dict.fromkeys(ids[reference] for reference in parsed.references))
    unknown = sorted({reference for fields in parsed.aliases.values() for reference in fields} - {*ids, *rules})
    if unknown:
        raise CorrelationError(f"its aliases name {unknown}, which are not among its rules")
    most = CorrelationLimits().most_group_items
    if parsed.type in ("event_count", "value_count") and most_counted(parsed.criteria) > most:
        raise CorrelationError(f"it counts to {most_counted(parsed.criteria):g}, at most {most} events of a group are kept")
    if parsed.type in ("temporal", "temporal_ordered") and most_counted(parsed.criteria) > len(rules):
        raise CorrelationError(f"it needs {most_counted(parsed.criteria):g} of its {len(rules)} rules, so it can never match")
    return CorrelationRule(
        document.id,
        parsed.title,
        parsed.level,
        parsed.type,
        rules,
        parsed.group_by,
        parsed.timespan_us,
        parsed.criteria,
        None if parsed.expression is None else _expression(parsed.expression, ids, rules),
        {alias: {ids.get(r, r): name for r, name in fields.items()} for alias, fields in parsed.aliases.items()},
        parsed.fields,
        parsed.percentile,
        parsed.generate,
        document.techniques,
        document.name,
        document.path,
    )


def _expression(node: ReferenceExpression, ids: Mapping[str, str], rules: tuple[str, ...]) -> Expression:
    if node.how == "reference":
        return Expression("rule", (), rules.index(ids[node.reference]))
    how: Any = node.how
    return Expression(how, tuple(_expression(part, ids, rules) for part in node.parts))
