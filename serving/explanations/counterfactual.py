"""Counterfactuals: the smallest change of the fewest columns that changes the verdict, within values of the reference.

Asks the model itself: one column at a time over the quantiles of the reference, then two, then three. A range ("at most 4") is stated
only if every value tried in it gives the wanted verdict; its near end is found by halving. The search is not exhaustive for two and
three columns: that nothing was found proves nothing.

Source: Wachter, Mittelstadt & Russell (2017), "Counterfactual explanations without opening the black box", Harvard JOLT 31(2)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import ceil, floor, inf, log10, nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.columns import InputColumns, Tensors
from serving.explanations.trees.tree_ensemble import Floats, Indices

QUANTILES: Final = (0.01, 0.99)
"""Values outside of these quantiles of the reference are not plausible."""
_SINGLE_VALUES, _PAIR_VALUES, _TRIPLE_VALUES, _WORDS = 40, 10, 5, 20
_PAIR_COLUMNS, _TRIPLE_COLUMNS = 8, 6
_HALVINGS: Final = 20
MOST_CHANGES: Final = 3
"""Columns that may change together."""
_ROUNDING: Final = 0.05


@dataclass(frozen=True, slots=True)
class WantedScores:
    """Scores that give the wanted verdict: low <= score < high, compared in 32 bits as verdicts are."""

    low: float = -inf
    high: float = inf

    def is_met(self, scores: Floats) -> NDArray[np.bool_]:
        """Shape as given."""
        with np.errstate(over="ignore"):
            found = np.asarray(scores, dtype=np.float32)
            return np.asarray((found >= np.float32(self.low)) & (found < np.float32(self.high)))

    def distance(self, scores: Floats) -> Floats:
        """How far scores are from the target; infinitely far what is no number."""
        return np.nan_to_num(np.maximum(np.maximum(self.low - scores, scores - self.high), 0.0), nan=inf, posinf=inf)


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column and where it would have to be: low <= value <= high, None for no bound on that side, or one of `words`."""

    column: str
    value: float | str
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """Changes that together give the wanted verdict. score: at the nearest such values. distance: in quantiles of the reference, summed."""

    changes: tuple[ColumnChange, ...]
    score: float
    distance: float


@dataclass(frozen=True, slots=True)
class CounterfactualSearch:
    """found: nearest first, fewest changes first. is_met: the row gives the wanted verdict as it is. nearest: the score closest to the
    wanted ones that was seen. runs: rows that were given to the model. is_whole: whether the time sufficed for all that is tried."""

    found: tuple[Counterfactual, ...]
    is_met: bool
    nearest: float
    runs: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Plausible values of one column other than the row's. values: rising numbers, or words, most frequent first."""

    column: int
    value: Any
    values: NDArray[Any]
    is_word: bool
    is_whole: bool
    sorted_reference: Floats

    def distance(self, values: NDArray[Any]) -> Floats:
        """From the row's value, as a share of the reference that lies between; a word is half of the way."""
        if self.is_word:
            return np.full(len(values), 0.5)
        ranks = np.searchsorted(self.sorted_reference, np.append(values, self.value).astype(np.float64), side="left")
        return np.asarray(np.abs(ranks[:-1] - ranks[-1]) / max(len(self.sorted_reference), 1))

    def thinned(self, most: int) -> NDArray[Any]:
        """At most so many of the values, spread over their range."""
        if len(self.values) <= most:
            return self.values
        if self.is_word:
            return np.asarray(self.values[:most])
        return np.asarray(self.values[np.unique(np.linspace(0, len(self.values) - 1, most).round().astype(int))])


@dataclass(slots=True)
class CounterfactualFinder:
    """The search for one row. run: (tensors, rows) -> scores. has_time: asked now and then. fixed: columns that may not change."""

    columns: InputColumns
    row: Tensors
    reference: Tensors
    run: Callable[[Tensors, int], Floats]
    target: WantedScores
    has_time: Callable[[], bool] = lambda: True
    fixed: Collection[str] = ()
    _runs: int = 0
    _nearest: float = nan
    _closest: dict[int, float] = field(default_factory=dict)

    def search(self, *, most: int = 3) -> CounterfactualSearch:
        """The `most` best counterfactuals; two and three columns are tried only where one does not do."""
        score = self._scores({}, 1)
        if self.target.is_met(score)[0]:
            return CounterfactualSearch((), is_met=True, nearest=float(score[0]), runs=self._runs, is_whole=True)
        every = (
            _candidates(self.columns, self.row, self.reference, i)
            for i, n in enumerate(self.columns.names)
            if n not in self.fixed
        )
        tried: list[_Candidates] = []
        found: list[Counterfactual] = []
        is_whole = True
        for candidates in (c for c in every if len(c.values)):
            is_whole = self.has_time()
            if not is_whole:
                break  # the candidates of a column alone take a while
            tried.append(candidates)
            found += self._alone(candidates)
        solved = {change.column for one in found for change in one.changes}
        rest = sorted((c for c in tried if self._name(c) not in solved), key=lambda c: self._closest[c.column])
        for size, columns, values in ((2, _PAIR_COLUMNS, _PAIR_VALUES), (3, _TRIPLE_COLUMNS, _TRIPLE_VALUES)):
            for group in combinations(rest[:columns], size) if not found else ():
                is_whole = is_whole and self.has_time()
                found += self._together(group, values) if is_whole else []
        if not found and is_whole and (one := self._step_by_step(rest)) is not None:
            found = [one]
        found.sort(key=lambda one: (len(one.changes), one.distance))
        return CounterfactualSearch(tuple(found[:most]), False, self._nearest, self._runs, is_whole)

    def _step_by_step(self, candidates: Sequence[_Candidates]) -> Counterfactual | None:
        """The change that helps most, on all values of all columns, then the next beside it, up to three. None if that does not do."""
        changes: dict[int, NDArray[Any]] = {}
        chosen: list[_Candidates] = []
        for _ in range(MOST_CHANGES):
            best: tuple[float, float, _Candidates, Any, float] | None = None
            for one in (c for c in candidates if c.column not in changes):
                fixed = {column: np.repeat(value, len(one.values)) for column, value in changes.items()}
                scores = self._scores({**fixed, one.column: one.values}, len(one.values))
                misses, moves = self.target.distance(scores), one.distance(one.values)
                at = int(np.lexsort((moves, misses))[0])
                if best is None or (misses[at], moves[at]) < best[:2]:
                    best = (float(misses[at]), float(moves[at]), one, one.values[at], float(scores[at]))
            if best is None or not self.has_time():
                return None
            chosen.append(best[2])
            changes[best[2].column] = np.array([best[3]], dtype=best[2].values.dtype)
            if self.target.is_met(np.array([best[4]]))[0]:
                told = tuple(_change(self._name(c), c, changes[c.column][0], is_open=False) for c in chosen)
                return Counterfactual(told, best[4], float(sum(c.distance(changes[c.column])[0] for c in chosen)))
        return None

    def _scores(self, changes: Mapping[int, NDArray[Any]], rows: int) -> Floats:
        tensors = self.columns.replaced(self.row, changes) if changes else self.row
        found = self.run(tensors, rows)
        self._runs += rows
        seen = np.append(found, self._nearest)
        seen = seen[~np.isnan(seen)]
        if len(seen):
            self._nearest = float(seen[int(np.argmin(self.target.distance(seen)))])
        return found

    def _name(self, candidates: _Candidates) -> str:
        return self.columns.names[candidates.column]

    def _alone(self, candidates: _Candidates) -> list[Counterfactual]:
        scores = self._scores({candidates.column: candidates.values}, len(candidates.values))
        self._closest[candidates.column] = float(np.nanmin(self.target.distance(scores), initial=inf))
        is_met = self.target.is_met(scores)
        if candidates.is_word:
            words = tuple(str(w) for w in candidates.values[is_met])
            change = ColumnChange(self._name(candidates), candidates.value, words=words)
            return [Counterfactual((change,), float(scores[is_met][0]), 0.5)] if words else []
        below = candidates.values < candidates.value
        sides = (np.flatnonzero(below)[::-1], np.flatnonzero(~below))
        return [
            one
            for side, is_below in zip(sides, (True, False), strict=True)
            if (one := self._side(candidates, side, is_met, is_below))
        ]

    def _side(self, candidates: _Candidates, side: Indices, is_met: NDArray[np.bool_], is_below: bool) -> Counterfactual | None:
        """side: places of the values on one side of the row's, nearest first."""
        if not is_met[side].any():
            return None
        first = int(is_met[side].argmax())
        after = np.flatnonzero(~is_met[side][first:])
        far = None if not len(after) else float(candidates.values[side[first + after[0] - 1]])
        toward = float(candidates.values[side[first - 1]]) if first else float(candidates.value)
        edge = self._edge(candidates, float(candidates.values[side[first]]), toward)
        low, high = (far, edge) if is_below else (edge, far)
        score = float(self._scores({candidates.column: np.array([edge])}, 1)[0])
        change = ColumnChange(self._name(candidates), candidates.value, low, high)
        return Counterfactual((change,), score, float(candidates.distance(np.array([edge]))[0]))

    def _edge(self, candidates: _Candidates, met: float, missed: float) -> float:
        """The value nearest to `missed` that still gives the target, by halving; then a rounder one close by."""
        begin = met
        for _ in range(_HALVINGS):
            middle = (met + missed) / 2
            if candidates.is_whole:
                middle = floor(middle) if met < missed else ceil(middle)
            if middle in (met, missed):
                break
            met, missed = (middle, missed) if self._is_met(candidates, middle) else (met, middle)
        if candidates.is_whole:
            return met
        for digits in range(1, 7):
            rounded = _rounded(met, digits, up=begin > candidates.value)
            if abs(rounded - met) <= _ROUNDING * abs(candidates.value - met) and self._is_met(candidates, rounded):
                return rounded
        return met

    def _is_met(self, candidates: _Candidates, value: float) -> bool:
        return bool(self.target.is_met(self._scores({candidates.column: np.array([value])}, 1))[0])

    def _together(self, group: Sequence[_Candidates], most_values: int) -> list[Counterfactual]:
        lists = [c.thinned(most_values) for c in group]
        grid = np.stack([g.ravel() for g in np.meshgrid(*(np.arange(len(v)) for v in lists), indexing="ij")])
        chosen = {c.column: v[at] for c, v, at in zip(group, lists, grid, strict=True)}
        scores = self._scores(chosen, grid.shape[1])
        is_met = self.target.is_met(scores)
        if not is_met.any():
            return []
        distances = np.sum([c.distance(chosen[c.column]) for c in group], axis=0)
        best = int(np.where(is_met, distances, inf).argmin())
        beyond = np.ones(len(scores), dtype=bool)
        for c in group:
            values = chosen[c.column]
            if c.is_word:
                beyond &= values == values[best]
            else:
                beyond &= values <= values[best] if values[best] < c.value else values >= values[best]
        is_open = bool(is_met[beyond].all()) and beyond.sum() > 1
        changes = tuple(_change(self._name(c), c, chosen[c.column][best], is_open) for c in group)
        return [Counterfactual(changes, float(scores[best]), float(distances[best]))]


def _change(name: str, candidates: _Candidates, value: Any, is_open: bool) -> ColumnChange:
    if candidates.is_word:
        return ColumnChange(name, candidates.value, words=(str(value),))
    if not is_open:
        return ColumnChange(name, candidates.value, low=float(value), high=float(value))
    if value < candidates.value:
        return ColumnChange(name, candidates.value, high=float(value))
    return ColumnChange(name, candidates.value, low=float(value))


def _rounded(value: float, digits: int, *, up: bool) -> float:
    """To so many significant digits, up or down."""
    if value == 0:
        return 0.0
    step = 10.0 ** (floor(log10(abs(value))) - digits + 1)
    return float(f"{(ceil if up else floor)(value / step) * step:.{max(digits, 1) + 6}g}")


def _candidates(columns: InputColumns, row: Tensors, reference: Tensors, column: int) -> _Candidates:
    name, place = columns.place(column)
    value, values = row[name][(0, *place)], reference[name][(slice(None), *place)]
    if values.dtype.kind in "OSU":
        words, counts = np.unique(values.astype(str), return_counts=True)
        often = words[np.argsort(-counts, kind="stable")][:_WORDS]
        return _Candidates(column, str(value), often[often != str(value)].astype(object), True, False, np.empty(0))
    numbers, here = _decimal(values), float(_decimal(np.asarray([value]))[0])
    numbers = np.sort(numbers[np.isfinite(numbers)])
    if not len(numbers) or not np.isfinite(here):
        return _Candidates(column, here, np.empty(0), False, False, numbers)
    found = np.unique(np.quantile(numbers, np.linspace(*QUANTILES, _SINGLE_VALUES), method="nearest"))
    is_whole = bool((numbers == np.round(numbers)).all() and here == round(here))
    return _Candidates(column, here, found[found != here], False, is_whole, numbers)


def _decimal(values: NDArray[Any]) -> Floats:
    """Numbers as people write them: the shortest decimal that is the same number in the tensor's type (0.01, not 0.00999999977)."""
    if values.dtype.itemsize >= 8 or values.dtype.kind != "f":
        return values.astype(np.float64)
    distinct, places = np.unique(values, return_inverse=True)
    return np.array([float(str(v)) for v in distinct], dtype=np.float64)[places.reshape(-1)]
