"""From values to bins, by which a stream is compared with its reference. Pure.

Numbers: the cuts are the quantiles of the training rows, each once. A value that several quantiles share (the zero of a counter) has a bin
of its own, and so have values below and above all that training had. Text: the most frequent values, then all others. Missing values have
the last bin. The cuts should come from more rows than the reference sample that is counted in them, or from others: if they are the
sample's own, it fits them a little too well."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_VALUES: Final = 50
_LEVELS: Final = np.linspace(0, 1, 21)
Bins = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NumberBins:
    """Bins of a number: between quantiles, with one for each value that repeats.

    cuts: ascending, FP32: clients send FP32, and 0.1 must stand in the same bin however it came."""

    cuts: NDArray[np.float32]

    @classmethod
    def of(cls, quantiles: Sequence[float]) -> "NumberBins":
        """Bins between quantiles, ascending. A value that stands there twice or more is a bin of its own."""
        values, times = np.unique(_fp32(np.asarray(quantiles, dtype=np.float64)), return_counts=True)
        is_alone = (times > 1) | (np.arange(len(values)) == 0)  # the least one: below it begins what training had not
        return cls(np.unique(np.concatenate([values[is_alone], np.nextafter(values, np.float32(np.inf))])))

    @classmethod
    def of_sample(cls, values: NDArray[np.float64]) -> "NumberBins":
        """Bins by the sample's own quantiles."""
        known = values[~np.isnan(values)]
        return cls.of(np.quantile(known, _LEVELS, method="inverted_cdf").tolist() if len(known) else [0.0])

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.cuts) + 2

    def bins_of(self, column: NDArray[Any]) -> Bins:
        """The bin of each value, shape (n,). What is no number is missing."""
        values = _fp32(_numbers(column))
        return np.where(np.isnan(values), len(self.cuts) + 1, np.searchsorted(self.cuts, values, side="right")).astype(np.int64)


@dataclass(frozen=True, slots=True)
class TextBins:
    """Bins of text: the frequent values, all others, missing ones. values: those with a bin of their own, the most frequent first."""

    values: tuple[str, ...]

    @classmethod
    def of(cls, counts: dict[str, int]) -> "TextBins":
        """Bins of the most frequent values; ties by name, so that the order is always the same."""
        return cls(tuple(sorted(counts, key=lambda v: (-counts[v], v))[:MOST_VALUES]))

    @classmethod
    def of_sample(cls, values: Sequence[str]) -> "TextBins":
        """Bins of a sample's most frequent values."""
        return cls.of(dict(Counter(values)))

    @property
    def count(self) -> int:
        """How many bins there are: also for all other values, and for missing ones."""
        return len(self.values) + 2

    def bins_of(self, column: NDArray[Any]) -> Bins:
        """The bin of each value, shape (n,)."""
        places = {value: place for place, value in enumerate(self.values)}
        other, missing = len(self.values), len(self.values) + 1
        return np.array([missing if v is None else places.get(text_of(v), other) for v in column.tolist()], dtype=np.int64)


def text_of(value: object) -> str:
    """A value as text: a whole number as such, since a code that is text in training may come as a number.

    >>> text_of(8443.0), text_of(1234567.0), text_of(0.5), text_of("tcp")
    ('8443', '1234567', '0.5', 'tcp')
    """
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:g}"
    return str(value)


def _fp32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # beyond FP32 is infinite
        return values.astype(np.float32)


def _numbers(column: NDArray[Any]) -> NDArray[np.float64]:
    if column.dtype.kind in "fiub":
        return column.astype(np.float64)
    return np.array([_number(value) for value in column.tolist()], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")
