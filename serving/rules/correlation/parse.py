"""Reads a correlation document. Its grammar is pySigma's; that a condition may have several operators (a range) is the specification's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionNOT,
    SigmaCorrelationCondition,
    SigmaCorrelationRule,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)

from serving.rules.correlation.values import Comparison, CorrelationType, Criterion

_COMPARISONS: Final[tuple[Comparison, ...]] = ("lt", "lte", "gt", "gte", "eq", "neq")
_US: Final = 1_000_000
MOST_RULES: Final = 64
MOST_FIELDS: Final = 8
MOST_TIMESPAN_US: Final = 31 * 86_400 * _US


class CorrelationError(Exception):
    """A correlation is not supported; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ReferenceExpression:
    """`and`, `or`, `not` over references, or one `reference`."""

    how: str
    parts: tuple["ReferenceExpression", ...] = ()
    reference: str = ""


@dataclass(frozen=True, slots=True)
class ParsedCorrelation:
    """A correlation before its references are resolved. aliases: alias -> reference -> field. Other fields as in CorrelationRule."""

    type: CorrelationType
    references: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan_us: int
    criteria: tuple[Criterion, ...]
    expression: ReferenceExpression | None
    fields: tuple[str, ...]
    percentile: float | None
    generate: bool
    level: str
    title: str
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def parse_correlation(document: Mapping[str, Any]) -> ParsedCorrelation:
    """Read one document with a `correlation`. Raises CorrelationError, SigmaError, TypeError, ValueError, AttributeError."""
    section = document.get("correlation")
    if not isinstance(section, dict):
        raise CorrelationError("its `correlation` is no map")
    criteria = _criteria(section.get("condition"))
    checked = {**section, "condition": _one_operator(section["condition"])} if criteria else section
    parsed = SigmaCorrelationRule.from_dict({"title": "", **document, "correlation": checked})
    type_: CorrelationType = parsed.type.name.lower()  # type: ignore[assignment]  # the enumeration has these names
    condition = parsed.condition
    expression = _expression(condition.parsed) if isinstance(condition, SigmaExtendedCorrelationCondition) else None
    references = _references(parsed, condition)
    fields, percentile = _measured(condition)
    found = ParsedCorrelation(
        type_,
        references,
        tuple(parsed.group_by or ()),
        parsed.timespan.seconds * _US,
        () if expression is not None else criteria or (Criterion("gte", float(len(references))),),
        expression,
        fields,
        percentile,
        parsed.generate,
        parsed.level.name.lower() if parsed.level is not None else "medium",
        parsed.title,
        {
            alias.alias: {reference.reference: str(name) for reference, name in alias.mapping.items()}
            for alias in parsed.aliases
        },
    )
    _check(found)
    return found


def _criteria(condition: Any) -> tuple[Criterion, ...]:
    """The numbers of a condition; several make a range."""
    if not isinstance(condition, dict):
        return ()
    found = []
    for comparison in _COMPARISONS:
        number = condition.get(comparison)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise CorrelationError(f"its condition compares with {number!r}, which is no number")
        found.append(Criterion(comparison, float(number)))
    return tuple(found)


def _one_operator(condition: Mapping[str, Any]) -> dict[str, Any]:
    """The condition with the first of its operators, as pySigma takes it."""
    first = next(c for c in _COMPARISONS if c in condition)
    return {key: value for key, value in condition.items() if key == first or key not in _COMPARISONS}


def _references(parsed: SigmaCorrelationRule, condition: Any) -> tuple[str, ...]:
    if parsed.rules is not None:
        return tuple(dict.fromkeys(str(reference.reference) for reference in parsed.rules))
    return tuple(condition.get_referenced_rules())


def _expression(node: Any) -> ReferenceExpression:
    if isinstance(node, SigmaRuleReference):
        return ReferenceExpression("reference", (), node.reference)
    how = "not" if isinstance(node, CorrelationConditionNOT) else "and" if isinstance(node, CorrelationConditionAND) else "or"
    return ReferenceExpression(how, tuple(_expression(part) for part in node.args))


def _measured(condition: Any) -> tuple[tuple[str, ...], float | None]:
    """The fields whose values are measured, and the percentile."""
    if not isinstance(condition, SigmaCorrelationCondition) or condition.fieldref is None:
        return (), None
    names = condition.fieldref if isinstance(condition.fieldref, list) else [condition.fieldref]
    return tuple(str(name) for name in names), None if condition.percentile is None else float(condition.percentile)


def _check(found: ParsedCorrelation) -> None:
    if not found.references:
        raise CorrelationError("it refers to no rule")
    if len(found.references) > MOST_RULES:
        raise CorrelationError(f"it refers to {len(found.references)} rules, at most {MOST_RULES} are supported")
    if len(found.group_by) > MOST_FIELDS or len(found.fields) > MOST_FIELDS:
        raise CorrelationError(f"it groups or counts by more than {MOST_FIELDS} fields")
    if found.timespan_us > MOST_TIMESPAN_US:
        raise CorrelationError(
            f"its timespan is {found.timespan_us // _US} s, at most {MOST_TIMESPAN_US // _US} s are supported"
        )
    if found.percentile is not None and not 0 <= found.percentile <= 100:
        raise CorrelationError(f"its percentile is {found.percentile:g}, expected 0 to 100")
    if found.type not in ("value_count", "value_percentile") and len(found.fields) > 1:
        raise CorrelationError(f"a {found.type} measures one field, not {len(found.fields)}")
