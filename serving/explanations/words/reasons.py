"""Reason codes: the columns that push a row towards its verdict, in words that an analyst reads. Pure.

Of each column: its code and sentence (the bundle's templates), its value, where that stands among the training rows, its share of the
attribution, and what the same feature says of other windows of the entity. Attributions come from the explainer; how values stood at
training is serving.explanations.words.reference's."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from serving.explanations.explanation import Attribution
from serving.explanations.words.reference import Reference
from serving.models.manifest import ExplainSpec, ReasonTemplate

MOST_REASONS: Final = 5
"""Reasons of one row. An analyst reads no more; `attributions` has every column."""
LEAST_SHARE: Final = 0.01
"""Share of the attribution below which a column is no reason."""
RAISES: Final = "raises"
LOWERS: Final = "lowers"
BENIGN: Final = "benign"
_WINDOWED: Final = re.compile(r"(.*?)([0-9]+)s__(.+)")
_LONGEST_TEXT: Final = 80
LONGEST_VALUE: Final = 200
"""Characters of a request's text that an explanation repeats as a value; what is longer is cut there, and `...` follows."""
_NO_WORDS: Final = ExplainSpec()

CellValue = float | str | None
"""What one column holds in one row; None for a number that is not finite."""


@dataclass(frozen=True, slots=True)
class WindowValue:
    """What the entity's same feature was over another window."""

    window_s: int
    value: CellValue


@dataclass(frozen=True, slots=True)
class Reason:
    """One column that pushes a row towards its verdict.

    percentile: of the value among the training rows, 0..100; None where values have no order or nothing is known. direction: whether it
    raises or lowers the score. share: of the absolute attribution of all columns, 0..1. attribution: in the attribution's unit. history:
    the entity's same feature over other windows, shortest first."""

    code: str
    sentence: str
    column: str
    value: CellValue
    percentile: float | None
    direction: str
    share: float
    attribution: float
    history: tuple[WindowValue, ...] = ()


def reasons_of(
    attribution: Attribution,
    row: Mapping[str, CellValue],
    verdict: str,
    words: ExplainSpec | None = None,
    reference: Reference | None = None,
    *,
    most: int = MOST_REASONS,
) -> tuple[Reason, ...]:
    """The columns that speak for a verdict, strongest first: those that lower the score of a benign row, else those that raise it.

    row: column -> value."""
    total = float(np.abs(attribution.values).sum())
    if not total:
        return ()
    sign = -1.0 if verdict == BENIGN else 1.0
    pushes = sign * attribution.values
    strongest = np.argsort(-pushes, kind="stable")[:most]
    chosen = [at for at in strongest.tolist() if pushes[at] >= LEAST_SHARE * total]
    return tuple([_reason(attribution, at, row, words or _NO_WORDS, reference, total) for at in chosen])


def _reason(
    attribution: Attribution,
    at: int,
    row: Mapping[str, CellValue],
    words: ExplainSpec,
    reference: Reference | None,
    total: float,
) -> Reason:
    column, pushed = attribution.columns[at], float(attribution.values[at])
    value, template = row.get(column), words.reasons.get(column) or plain_template(column)
    is_coded = bool(template.words or template.bits)
    place = None if reference is None else reference.place(column, value, is_coded=is_coded)
    return Reason(
        code=template.code,
        sentence=sentence_of(template, column, value, None if place is None else place.words, _percentile(place)),
        column=column,
        value=cut_value(value),
        percentile=_percentile(place),
        direction=RAISES if pushed > 0 else LOWERS,
        share=abs(pushed) / total,
        attribution=pushed,
        history=_other_windows(column, row),
    )


def sentence_of(
    template: ReasonTemplate, column: str, value: CellValue, standing: str | None = None, percentile: float | None = None
) -> str:
    """A template filled in, with a capital and a full stop. standing: how the value compares with the training rows, in words.

    >>> sentence_of(ReasonTemplate(code="PORTS", text="the host used {value} ports"), "ports", 1200.0, "more than in 99 % of the rows")
    'The host used 1,200 ports, more than in 99 % of the rows.'
    """
    placed = "unknown" if percentile is None else f"{percentile:.3g}"
    text = template.text.format(value=words_of(value, template), unit=template.unit, percentile=placed, column=column)
    has_place = "{percentile}" in template.text or standing is None
    whole = text if has_place else f"{text}, {standing}"
    return f"{whole[:1].upper()}{whole[1:]}."


def words_of(value: CellValue, template: ReasonTemplate) -> str:
    """A value as it is read: by its word, its bits, as a percentage or as a number of few digits."""
    if value is None:
        return "not a number"
    if isinstance(value, str):
        return template.words.get(value) or _printable(value)
    if template.bits and value >= 0:
        return _bits(int(value), template.bits)
    word = template.words.get(f"{value:g}")
    if word is not None:
        return word
    return f"{_number(100 * value)} %" if template.unit == "share" else _number(value)


def row_of(columns: Mapping[str, Any], index: int) -> dict[str, CellValue]:
    """One row of named columns, each of shape (n,)."""
    return {name: _cell(values[index]) for name, values in columns.items()}


def cut_value(value: CellValue) -> CellValue:
    """A text of at most LONGEST_VALUE characters, with `...` where more followed; a number as it is."""
    return f"{value[:LONGEST_VALUE]}..." if isinstance(value, str) and len(value) > LONGEST_VALUE else value


def _cell(value: Any) -> CellValue:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _percentile(place: Any) -> float | None:
    return None if place is None else place.percentile


def _other_windows(column: str, row: Mapping[str, CellValue]) -> tuple[WindowValue, ...]:
    """The same feature of the same entity over other windows, where the columns are named so (`host_60s__flows`)."""
    found = _WINDOWED.fullmatch(column)
    if found is None:
        return ()
    before, _, feature = found.groups()
    others: list[WindowValue] = []
    for name, value in row.items():
        other = _WINDOWED.fullmatch(name)
        if name != column and other is not None and (other[1], other[3]) == (before, feature):
            others.append(WindowValue(int(other[2]), cut_value(value)))
    return tuple(sorted(others, key=lambda one: one.window_s))


def plain_template(column: str) -> ReasonTemplate:
    """Of a column that the bundle has no words for."""
    code = re.sub(r"[^A-Z0-9]+", "_", column.upper()).strip("_")[:60]
    return ReasonTemplate(code=code if code[:1].isalpha() else f"COLUMN_{code}".rstrip("_"), text="{column} is {value}")


def _bits(value: int, words: Mapping[str, str]) -> str:
    named = [word for bit, word in words.items() if bit.isdecimal() and value & int(bit)]
    return "+".join(named) or "none"


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _printable(text: str) -> str:
    """A text of a client's, safe to print: no control characters, not endless."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: _LONGEST_TEXT + 1])
    return (shown if len(shown) <= _LONGEST_TEXT else f"{shown[:_LONGEST_TEXT]}...") or "empty"


def history_words(history: Sequence[WindowValue], template: ReasonTemplate) -> str:
    """Other windows in words: `10 s: 3; 600 s: 40`."""
    return "; ".join(f"{one.window_s} s: {words_of(one.value, template)}" for one in history)
