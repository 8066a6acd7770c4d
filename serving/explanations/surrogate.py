"""Surrogate rules: a shallow tree over the columns that gives, on the bundle's own rows, what the model gives. Pure.

A rule is a path of that tree. It is a summary of the model and not the model: its fidelity, the share of held-out rows on which tree and
model agree, is always said with it. Source: Craven & Shavlik (1996), "Extracting tree-structured representations of trained networks"."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.explanation import UnexplainableModel
from serving.explanations.words.reasons import CellValue, plain_template, words_of
from serving.models.manifest import ExplainSpec
from serving.models.verdicts import VERDICTS

DEPTH: Final = 3
LEAST_ROWS: Final = 30
"""Rows below which no tree is fitted."""
_LEAST_LEAF: Final = 0.01
_HELD_OUT: Final = 3
"""Every third row is held out, and tells the fidelity."""
_MOST_CUTS: Final = 20
_NONE: Final = float("-inf")
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Condition:
    """One column's part of a rule: low < value <= high, None for no bound; or `is_word`: the value is (or is not) this one."""

    column: str
    low: float | None = None
    high: float | None = None
    word: CellValue = None
    is_word: bool = True


@dataclass(frozen=True, slots=True)
class RuleLeaf:
    """A rule: all conditions together, and what it says. rows: of the fitted rows that meet it. precision: share of those that get it."""

    conditions: tuple[Condition, ...]
    verdict: str
    rows: int
    precision: float


@dataclass(frozen=True, slots=True)
class _Branch:
    column: str
    cut: CellValue
    yes: "_Branch | RuleLeaf"
    no: "_Branch | RuleLeaf"
    is_word: bool

    def takes(self, value: CellValue) -> bool:
        """Whether a row goes to `yes`."""
        if self.is_word:
            return value == self.cut
        return isinstance(value, float) and isinstance(self.cut, float) and value <= self.cut


@dataclass(frozen=True, slots=True)
class SurrogateTree:
    """root: the tree. fidelity: share of `held_out` rows on which it says what the model says. background: what the rows are."""

    root: "_Branch | RuleLeaf"
    fidelity: float
    held_out: int
    background: str

    @classmethod
    def fit(
        cls,
        columns: Mapping[str, NDArray[Any]],
        scores: NDArray[np.float64],
        investigate: float,
        alert: float,
        *,
        background: str,
        coded: Collection[str] = (),
    ) -> "SurrogateTree":
        """Fit to what the model gives. columns: name -> (n,). scores: (n,). coded: columns of numbers that stand for words.

        Raises UnexplainableModel for too few rows."""
        rows = len(scores)
        if rows < LEAST_ROWS:
            raise UnexplainableModel(
                f"rules need at least {LEAST_ROWS} rows, and there are only {background}; build the bundle with reference/sample.json"
            )
        codes = verdict_places(scores, investigate, alert)
        held = np.isin(np.arange(rows), cls.held_rows(rows))
        table = {name: _cells(values) for name, values in columns.items()}
        words = {name for name, values in table.items() if values.dtype == object or name in coded}
        part = np.flatnonzero(~held)
        root = _grow(table, words, codes, part, DEPTH, max(int(_LEAST_LEAF * len(part)), 2), ())
        tree = cls(root, 0.0, int(held.sum()), background)
        verdicts = [
            tree.leaf_of({name: _plain(table[name][row]) for name in table}).verdict for row in np.flatnonzero(held).tolist()
        ]
        agreed = [VERDICTS[code] == verdict for code, verdict in zip(codes[held].tolist(), verdicts, strict=True)]
        return cls(root, float(np.mean(agreed)), int(held.sum()), background)

    @staticmethod
    def held_rows(rows: int) -> NDArray[np.intp]:
        """Which of so many rows are held out."""
        return np.arange(0, rows, _HELD_OUT)

    @staticmethod
    def rows_of(columns: Mapping[str, NDArray[Any]], which: NDArray[np.intp]) -> Iterator[dict[str, CellValue]]:
        """Rows as `leaf_of` takes them. columns: name -> (n,)."""
        table = {name: _cells(values) for name, values in columns.items()}
        return ({name: _plain(values[row]) for name, values in table.items()} for row in which.tolist())

    def leaves(self) -> Iterator[RuleLeaf]:
        """All rules, in the order of the tree."""
        pending = [self.root]
        while pending:
            at = pending.pop()
            if isinstance(at, RuleLeaf):
                yield at
            else:
                pending += [at.no, at.yes]

    def leaf_of(self, row: Mapping[str, CellValue]) -> RuleLeaf:
        """The rule that a row meets."""
        at = self.root
        while isinstance(at, _Branch):
            at = at.yes if at.takes(row.get(at.column)) else at.no
        return at


def verdict_places(scores: NDArray[np.float64], investigate: float, alert: float) -> Codes:
    """Places in VERDICTS, shape (n,). A score that is no number is to be investigated, as it is served."""
    codes: Codes = (scores >= investigate).astype(np.intp) + (scores >= alert)
    return np.where(np.isnan(scores), 1, codes)


def condition_words(condition: Condition, words: ExplainSpec) -> str:
    """A condition as a clause, by the column's template."""
    template = words.reasons.get(condition.column) or plain_template(condition.column)
    if condition.low is None and condition.high is None:
        shown = words_of(condition.word, template)
        value = shown if condition.is_word else f"other than {shown}"
    elif condition.low is None:
        value = f"at most {words_of(condition.high, template)}"
    elif condition.high is None:
        value = f"more than {words_of(condition.low, template)}"
    else:
        value = f"more than {words_of(condition.low, template)} and at most {words_of(condition.high, template)}"
    return template.text.format(value=value, unit=template.unit, percentile="any", column=condition.column)


def _grow(
    table: Mapping[str, NDArray[Any]],
    words: Collection[str],
    codes: Codes,
    rows: NDArray[np.intp],
    depth: int,
    least: int,
    conditions: tuple[Condition, ...],
) -> "_Branch | RuleLeaf":
    counts = np.bincount(codes[rows], minlength=len(VERDICTS))
    found = _best_split(table, words, codes, rows, least) if depth and counts.max() < len(rows) else None
    if found is None:
        says = int(counts.argmax())
        return RuleLeaf(conditions, VERDICTS[says], len(rows), float(counts[says] / len(rows)))
    column, cut = found
    is_word = column in words
    goes = table[column][rows] == cut if is_word else table[column][rows] <= cut
    sides = [
        _grow(table, words, codes, rows[side], depth - 1, least, _with(conditions, column, cut, is_yes, is_word))
        for side, is_yes in ((goes, True), (~goes, False))
    ]
    if all(isinstance(side, RuleLeaf) for side in sides) and sides[0].verdict == sides[1].verdict:  # type: ignore[union-attr]
        says = int(counts.argmax())
        return RuleLeaf(conditions, VERDICTS[says], len(rows), float(counts[says] / len(rows)))
    return _Branch(column, cut, sides[0], sides[1], is_word)


def _best_split(
    table: Mapping[str, NDArray[Any]], words: Collection[str], codes: Codes, rows: NDArray[np.intp], least: int
) -> tuple[str, CellValue] | None:
    """The column and cut that lower the Gini impurity most."""
    one_hot = np.eye(len(VERDICTS))[codes[rows]]
    whole = one_hot.sum(axis=0)
    best, chosen = float((whole**2).sum() / len(rows)) + 1e-9, None
    for column, values in table.items():
        own = values[rows]
        cuts = _word_cuts(own) if column in words else _number_cuts(own)
        if not len(cuts):
            continue
        goes = own[:, None] == cuts[None, :] if column in words else own[:, None] <= cuts[None, :]
        goes = goes.astype(np.float64)
        left = one_hot.T @ goes  # (verdicts, cuts)
        taken = left.sum(axis=0)
        right, rest = whole[:, None] - left, len(rows) - taken
        with np.errstate(divide="ignore", invalid="ignore"):
            purity = (left**2).sum(axis=0) / taken + (right**2).sum(axis=0) / rest
        purity = np.where((taken >= least) & (rest >= least), purity, _NONE)
        at = int(np.argmax(purity))
        if purity[at] > best:
            best, chosen = float(purity[at]), (column, _plain(cuts[at]))
    return chosen


def _with(conditions: tuple[Condition, ...], column: str, cut: CellValue, is_yes: bool, is_word: bool) -> tuple[Condition, ...]:
    """A path's conditions and one more; bounds of one column become one condition."""
    if is_word:
        if is_yes:  # it is this word: what it is not need not be said
            conditions = tuple([one for one in conditions if one.column != column])
        return (*conditions, Condition(column, word=cut, is_word=is_yes))
    edge = float(cut) if isinstance(cut, float) else 0.0
    before = next((one for one in conditions if one.column == column), Condition(column))
    bounds = Condition(column, before.low, edge) if is_yes else Condition(column, edge, before.high)
    return (*[one for one in conditions if one.column != column], bounds)


def _cells(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "OSU":
        texts = np.empty(len(values), dtype=object)
        texts[:] = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]
        return texts
    return values.astype(np.float64)


def _word_cuts(values: NDArray[Any]) -> NDArray[Any]:
    found, counts = np.unique(values, return_counts=True)
    return np.asarray(found[np.argsort(-counts, kind="stable")[:_MOST_CUTS]]) if len(found) > 1 else values[:0]


def _number_cuts(values: NDArray[Any]) -> NDArray[Any]:
    """Midpoints between values, at most `_MOST_CUTS`, by the rows between them."""
    found = np.unique(values[np.isfinite(values)])
    if len(found) < 2:
        return values[:0]
    if len(found) > _MOST_CUTS + 1:
        levels = np.linspace(0, 1, _MOST_CUTS + 2)
        found = np.unique(np.quantile(values[np.isfinite(values)], levels, method="nearest"))
    return np.asarray((found[:-1] + found[1:]) / 2)


def _plain(value: Any) -> CellValue:
    return value if isinstance(value, str) else float(value)
