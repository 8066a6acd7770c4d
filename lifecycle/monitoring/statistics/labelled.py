"""Tests that need labels: whether a score still has its meaning, and whether conformal sets still cover."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lifecycle.arrays import Floats, Mask

STRATA: Final = 10


@dataclass(frozen=True, slots=True)
class ConceptChange:
    """difference: of the share of attacks among rows of equal score, current - reference, weighted over the strata (Mantel-Haenszel)."""

    difference: float
    p: float
    strata: int


def concept_change(
    old_scores: NDArray[Any], old_attack: Mask, new_scores: NDArray[Any], new_attack: Mask, strata: int = STRATA
) -> ConceptChange:
    """Whether rows of equal score are attacks as often as before. Rows are compared within strata of the pooled score, so a shift of the
    scores is no change, nor is that rows with high scores are labelled more often. All arrays (n,) or (m,), no NaN.

    Source: Cochran (1954); Mantel & Haenszel (1959); Greenland & Robins (1985) for the difference."""
    pooled = np.concatenate([old_scores, new_scores])
    edges = np.unique(np.quantile(pooled, np.arange(1, strata) / strata, method="inverted_cdf"))
    size = len(edges) + 1
    old_bin, new_bin = (np.searchsorted(edges, scores, side="left") for scores in (old_scores, new_scores))
    n, a = _rows_and_attacks(old_bin, old_attack, size)
    m, b = _rows_and_attacks(new_bin, new_attack, size)
    used = (n > 0) & (m > 0)
    n, a, m, b = (counts[used] for counts in (n, a, m, b))
    total, attacks = n + m, a + b
    variance = float(np.sum(n * m * attacks * (total - attacks) / (total**2 * np.maximum(total - 1, 1))))
    weights = n * m / total
    if not len(n) or variance == 0:
        return ConceptChange(0.0, 1.0, int(used.sum()))
    z = float(np.sum(b - m * attacks / total)) / np.sqrt(variance)
    difference = float(np.sum(weights * (b / m - a / n)) / weights.sum())
    return ConceptChange(difference, float(2 * special.ndtr(-abs(z))), int(used.sum()))


def _rows_and_attacks(bins: NDArray[np.int64], attack: Mask, size: int) -> tuple[Floats, Floats]:
    return np.bincount(bins, minlength=size).astype(np.float64), np.bincount(bins, weights=attack, minlength=size).astype(
        np.float64
    )


@dataclass(frozen=True, slots=True)
class CoverageDrop:
    """covered: share of rows whose set holds their class. drop: promised - covered, positive where sets cover too little."""

    covered: float
    promised: float
    p: float
    rows: int

    @property
    def drop(self) -> float:
        """How much coverage is missing."""
        return self.promised - self.covered


def coverage_drop(is_covered: Mask, error: float) -> CoverageDrop:
    """Whether sets cover less than 1 - error. is_covered: (n,), whether a row's set holds its class. Exact binomial test, one-sided.

    Raises ValueError without rows. Source: Vovk, Gammerman & Shafer (2005), 2; Clopper & Pearson (1934)."""
    if not len(is_covered):
        raise ValueError("no row has a label")
    missed = int((~is_covered).sum())
    return CoverageDrop(
        float(is_covered.mean()), 1 - error, float(special.bdtrc(missed - 1, len(is_covered), error)), len(is_covered)
    )
