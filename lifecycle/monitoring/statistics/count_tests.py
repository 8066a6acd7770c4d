"""Tests of counts: chi-square over categories that are frequent enough, exact ones for one category, and what is new or gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lifecycle.monitoring.statistics.distances import psi, total_variation

LEAST_EXPECTED: Final = 5.0
"""Rows that a category must be expected to have in each sample (Cochran 1954); rarer ones count as one category together."""


def chi_square_p(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Pearson's chi-square of homogeneity. reference, current: counts, (k,). Rare categories are joined; 1 if one is left.

    Which are rare depends on both samples together, so joining them does not depend on the difference that is tested."""
    n, m = int(reference.sum()), int(current.sum())
    both = reference + current
    rare = both * min(n, m) / (n + m) < LEAST_EXPECTED
    old, new = reference[~rare], current[~rare]
    if both[rare].sum() * min(n, m) / (n + m) >= LEAST_EXPECTED:
        old, new = np.append(old, reference[rare].sum()), np.append(new, current[rare].sum())
    if len(old) < 2:
        return 1.0
    total = old + new
    expected = total * (new.sum() / total.sum())
    others = total - expected
    statistic = float(np.sum((new - expected) ** 2 * (1 / expected + 1 / others)))
    return float(special.chdtrc(len(old) - 1, statistic))


def hypergeometric_p(found: int, drawn: int, current: int, total: int) -> float:
    """Two-sided p (twice the smaller tail) that `found` of `drawn` rows are among the `current` of `total`. Exact; Fisher (1935)."""
    from scipy import stats  # takes a second to import

    law = stats.hypergeom  # not frozen: to freeze it costs more than to ask it
    tails = law.cdf(found, total, current, drawn), law.sf(found - 1, total, current, drawn)
    return float(min(1.0, 2 * min(tails)))


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """p: of any change. changed: values by how much their share changed, largest first, with both shares."""

    psi: float
    total_variation: float
    p: float
    new: tuple[tuple[str, int], ...]
    """Values that the reference does not have, and how many rows have them, most frequent first."""
    vanished: tuple[tuple[str, int], ...]
    changed: tuple[tuple[str, float, float], ...]
    distinct: int


def category_figures(reference: NDArray[Any], current: NDArray[Any], most_named: int = 10) -> CategoryFigures:
    """Compare two samples of text, (n,) and (m,), without None. Raises ValueError if one is empty.

    Two tests, Bonferroni: chi-square for changes of many values, and the exact test of the value that changed most, for one value."""
    if not len(reference) or not len(current):
        raise ValueError("a sample is empty")
    names, old, new = category_counts(reference, current)
    n, m = len(reference), len(current)
    shares = np.stack([old / n, new / m])
    by_change = np.argsort(-np.abs(shares[1] - shares[0]), kind="stable")
    return CategoryFigures(
        psi(old, new),
        total_variation(old, new),
        min(1.0, 2 * min(chi_square_p(old, new), one_category_p(old, new))),
        _most_frequent(names, new * (old == 0), most_named),
        _most_frequent(names, old * (new == 0), most_named),
        tuple((names[i], float(shares[0, i]), float(shares[1, i])) for i in by_change[:most_named].tolist()),
        len(names),
    )


def category_counts(reference: NDArray[Any], current: NDArray[Any]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values in order of their text, and their counts in each sample."""
    places: dict[str, int] = {}
    codes = [places.setdefault(v, len(places)) for v in (*reference.tolist(), *current.tolist())]
    names = sorted(places)
    order = np.array([places[name] for name in names])
    old = np.bincount(codes[: len(reference)], minlength=len(places))[order]
    return names, old, np.bincount(codes[len(reference) :], minlength=len(places))[order]


def one_category_p(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """The smallest exact p of one category against all others, times the number of categories."""
    n, m = int(reference.sum()), int(current.sum())
    both = reference + current
    expected = both * (m / (n + m))
    z = np.abs(current - expected) / np.sqrt(np.maximum(expected * (n / (n + m)) * (1 - both / (n + m)), 1e-12))
    likely = np.argsort(-z, kind="stable")[:8].tolist()
    smallest = min(hypergeometric_p(int(current[i]), int(both[i]), m, n + m) for i in likely)
    return min(1.0, len(both) * smallest)


def _most_frequent(names: Sequence[str], counts: NDArray[np.int64], most: int) -> tuple[tuple[str, int], ...]:
    order = np.argsort(-counts, kind="stable")[:most].tolist()
    return tuple((names[i], int(counts[i])) for i in order if counts[i] > 0)
