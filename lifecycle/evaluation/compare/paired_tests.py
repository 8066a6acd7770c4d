"""Tests of two models on the same rows: McNemar's, DeLong's, and from paired draws. Pure.

McNemar's and DeLong's take rows as independent; where rows of one entity are alike, draws by entity judge instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, stdtr  # scipy.stats takes a second to import

from lifecycle.arrays import Floats, Mask
from lifecycle.evaluation.bootstrap import figure_interval
from lifecycle.metrics.intervals import UNDEFINED, Z95, Interval
from lifecycle.metrics.ranking import Scores


@dataclass(frozen=True, slots=True)
class Discordant:
    """Rows on which one of two models is right and the other is wrong. p: McNemar's exact test, two-sided.

    Source: McNemar (1947), Psychometrika 12(2); exact as a binomial test of the discordant pairs."""

    first_right: int
    second_right: int
    p: float


def mcnemar(first_right: Mask, second_right: Mask) -> Discordant:
    """Count and test. Both of shape (n,): whether a model is right on a row."""
    b, c = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    p = 1.0 if b + c == 0 else float(2 * bdtr(min(b, c), b + c, 0.5))
    return Discordant(b, c, min(1.0, p))


def delong(scores: Sequence[Scores], attack: Mask) -> tuple[Floats, Floats]:
    """ROC-AUC of each of m models, shape (m,), and the covariance of the estimates, shape (m, m).

    scores: each of shape (n,). attack: shape (n,), with at least two rows of each class. By midranks, in n log n.
    Sources: DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44(3); Sun & Xu (2014), IEEE Signal Processing Letters 21(11)."""
    attacks, benign = int(attack.sum()), int((~attack).sum())
    areas, of_attacks, of_benign = [], [], []
    for score in scores:
        whole = _mid_ranks(score)
        above, below = whole[attack], whole[~attack]
        areas.append(above.sum() / attacks / benign - (attacks + 1) / 2 / benign)
        of_attacks.append((above - _mid_ranks(score[attack])) / benign)
        of_benign.append(1 - (below - _mid_ranks(score[~attack])) / attacks)
    covariance = np.atleast_2d(np.cov(of_attacks)) / attacks + np.atleast_2d(np.cov(of_benign)) / benign
    return np.array(areas), covariance


def _mid_ranks(scores: Scores) -> NDArray[np.float64]:
    """Ranks from 1; scores that are equal share their mean rank."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def delong_difference(first: Scores, second: Scores, attack: Mask) -> tuple[Interval, float | None]:
    """Second less first ROC-AUC with 95 % bounds, and the two-sided p; undefined with fewer than two rows of a class."""
    units = int(min(attack.sum(), (~attack).sum()))
    if units < 2:
        return UNDEFINED, None
    areas, covariance = delong((first, second), attack)
    difference = float(areas[1] - areas[0])
    deviation = sqrt(max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    if deviation < 1e-12:
        return Interval(difference, difference, difference, "delong", units), 1.0 if abs(difference) < 1e-12 else 0.0
    p = float(2 * ndtr(-abs(difference) / deviation))
    return Interval(difference, difference - Z95 * deviation, difference + Z95 * deviation, "delong", units), p


def drawn_difference(value: float | None, drawn: Floats, units: int) -> tuple[Interval, float | None]:
    """A difference with bounds, and its two-sided p from paired draws.

    drawn: shape (b,). p is the larger of two: twice the share of draws on the other side of zero, and the tail of Student's t at the
    draws' deviation with units - 1 degrees of freedom. Where no draw is on the other side only the second says how small p is; else a
    correction for many figures would need many thousands of draws. units: entities (or rows) that bear on it; k of them cannot give a p
    under 2^(1 - k), as signs can fall alike by chance. Source: Davison & Hinkley (1997), 4.4 and 5.4; Cameron & Miller (2015), Journal
    of Human Resources 50(2) (few clusters)."""
    known = drawn[~np.isnan(drawn)]
    if len(known) == 0 or units < 2 or value is None:
        return figure_interval(value, known, units), None
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    by_draws = min(1.0, 2 * tail / len(known))
    deviation = float(known.std()) * sqrt(units / (units - 1))
    by_tail = float(2 * stdtr(units - 1, -abs(value) / deviation)) if deviation > 0 else float(value == 0)
    return figure_interval(value, known, units), max(by_draws, by_tail, 2.0 ** (1 - min(units, 60)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for being several; None stays. Source: Holm (1979), Scandinavian Journal of Statistics 6(2)."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for rank, (p, i) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - rank)))
        corrected[i] = worst
    return corrected
