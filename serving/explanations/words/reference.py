"""Where a value stands among the rows that a model was trained on, from the bundle's `reference/summary.json` and `sample.json`. Pure.

The quantiles of every number and the most frequent texts are those of all training rows. How often a code occurs (a column of numbers
that stand for words) is counted on the sample."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SUMMARY: Final = "reference/summary.json"
SAMPLE: Final = "reference/sample.json"
_MOST_TEXTS: Final = 50
"""Values of a text column that the summary holds; there may be more where it holds so many."""
_TIED: Final = 0.2
"""Share of training rows with the very same value from which that is what is said of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. percentile: 0..100, None for what has no order. words: to go on a sentence with."""

    percentile: float | None
    words: str


class Reference:
    """What is known of the training rows.

    levels: (q,), rising from 0 to 1. quantiles: column -> (q,). texts: column -> value -> rows. rows: how many there were. sample: column
    -> values of some of them."""

    def __init__(
        self,
        levels: NDArray[np.float64],
        quantiles: Mapping[str, NDArray[np.float64]],
        texts: Mapping[str, Mapping[str, int]],
        rows: int,
        sample: Mapping[str, NDArray[Any]],
    ) -> None:
        self._levels, self._quantiles, self._texts, self._rows, self._sample = levels, quantiles, texts, rows, sample

    @classmethod
    def read(cls, folder: Path) -> "Reference | None":
        """Of a bundle's folder; None if it has no summary, or one of another form: it is another maker's."""
        try:
            summary = json.loads((folder / SUMMARY).read_bytes())
            levels = np.asarray(summary["quantiles"], dtype=np.float64)
            quantiles = {name: _as_served(values) for name, values in summary["numbers"].items()}
            texts = {name: {str(k): int(v) for k, v in counts.items()} for name, counts in summary["text"].items()}
            rows, sample = int(summary["rows"]), _sample(folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        if levels.ndim != 1 or len(levels) < 2 or any(values.shape != levels.shape for values in quantiles.values()):
            return None
        return cls(levels, quantiles, texts, rows, sample)

    def place(self, column: str, value: float | str | None, *, is_coded: bool = False) -> Place | None:
        """Where a value stands; None if nothing is known. is_coded: the column's numbers stand for words and have no order."""
        if isinstance(value, str):
            return self._text_place(column, value)
        if value is None or not math.isfinite(value):
            return None
        if is_coded:
            return self._code_place(column, value)
        quantiles = self._quantiles.get(column)
        return None if quantiles is None else _number_place(float(np.float32(value)), quantiles, self._levels)

    def _text_place(self, column: str, value: str) -> Place | None:
        counts = self._texts.get(column)
        if counts is None or not self._rows:
            return None
        count = counts.get(value)
        if count is None and len(counts) >= _MOST_TEXTS:
            return Place(None, f"as in at most {_percent(min(counts.values()) / self._rows)} of the training rows")
        return Place(None, _share_words((count or 0) / self._rows))

    def _code_place(self, column: str, value: float) -> Place | None:
        values = self._sample.get(column)
        if values is None or not len(values):
            return None
        share = float(np.mean(values == value))
        return Place(None, _share_words(share) if share else "as in hardly any training row")


def _as_served(values: Any) -> NDArray[np.float64]:
    """Rounded to FP32, as the graph takes numbers: a value that training had must compare as equal."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32).astype(np.float64)


def _sample(folder: Path) -> dict[str, NDArray[Any]]:
    try:
        columns = json.loads((folder / SAMPLE).read_bytes())["columns"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {name: np.asarray(values) for name, values in columns.items()}


def _number_place(value: float, quantiles: NDArray[np.float64], levels: NDArray[np.float64]) -> Place:
    """By the quantiles around it. The words claim what is sure: a value over the 95 % quantile is more than in 95 % of the rows. The
    percentile is interpolated between them, and the middle of the rows that have the very same value."""
    equal = levels[quantiles == value]
    if value > quantiles[-1]:
        return Place(100.0, "more than in any training row")
    if value < quantiles[0]:
        return Place(0.0, "less than in any training row")
    percentile = 100 * float(equal.mean() if len(equal) == 1 else (equal[0] + equal[-1]) / 2) if len(equal) else None
    if percentile is None:
        percentile = 100 * float(np.interp(value, quantiles, levels))
    tied = float(equal[-1] - equal[0]) if len(equal) else 0.0
    below = float(levels[quantiles < value].max(initial=0.0))
    over = 1.0 - float(levels[quantiles > value].min(initial=1.0))
    if tied >= _TIED:
        return Place(percentile, f"as in at least {_percent(tied)} of the training rows")
    if below >= 0.5:
        return Place(percentile, f"more than in {_percent(below)} of the training rows")
    if over >= 0.5:
        return Place(percentile, f"less than in {_percent(over)} of the training rows")
    return Place(percentile, "which is usual")


def _share_words(share: float) -> str:
    if share == 0:
        return "as in none of the training rows"
    return f"as in {_percent(share)} of the training rows"


def _percent(share: float) -> str:
    """A share as people write it; never 0 or 100 unless it is.

    >>> [_percent(s) for s in (0.95, 0.999, 0.0004, 0.9999)]
    ['95 %', '99.9 %', 'less than 0.1 %', 'more than 99.9 %']
    """
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "more than 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"
