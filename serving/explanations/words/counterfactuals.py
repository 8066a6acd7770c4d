"""Counterfactuals in words: "Benign if the host talked to at most 4 different addresses in the 60 s before." Pure."""

from typing import Any

from serving.explanations.counterfactual import ColumnChange, Counterfactual
from serving.explanations.words.reasons import CellValue, cut_value, plain_template, words_of
from serving.models.manifest import ExplainSpec, ReasonTemplate


def counterfactual_body(found: Counterfactual, verdict: str, words: ExplainSpec) -> dict[str, Any]:
    """One counterfactual as JSON. verdict: what the row would have got."""
    changes = [(change, words.reasons.get(change.column) or plain_template(change.column)) for change in found.changes]
    return {
        "sentence": f"{verdict.capitalize()} if {' and '.join(changed_text(*pair) for pair in changes)}.",
        "score": found.score,
        "changes": [
            {
                "column": change.column,
                "code": template.code,
                "value": cut_value(change.value),
                "to": nearest(change),
                "low": change.low,
                "high": change.high,
                "words": list(change.words),
            }
            for change, template in changes
        ],
    }


def nearest(change: ColumnChange) -> CellValue:
    """The value nearest to the row's own that the change allows."""
    if change.words:
        return change.words[0]
    if change.high is not None and isinstance(change.value, float) and change.value > change.high:
        return change.high
    return change.low


def changed_text(change: ColumnChange, template: ReasonTemplate) -> str:
    """A template with the range that a column would have to be in.

    >>> changed_text(ColumnChange("ports", 35.0, high=4.0), ReasonTemplate(code="PORTS", text="the host used {value} ports"))
    'the host used at most 4 ports'
    """
    return template.text.format(value=_range(change, template), unit=template.unit, percentile="other", column=change.column)


def _range(change: ColumnChange, template: ReasonTemplate) -> str:
    if change.words:
        return " or ".join(words_of(word, template) for word in change.words)
    low, high = change.low, change.high
    if template.words or template.bits or low == high:
        return words_of(nearest(change), template)
    if low is None:
        return f"at most {words_of(high, template)}"
    if high is None:
        return f"at least {words_of(low, template)}"
    return f"{words_of(low, template)} to {words_of(high, template)}"
