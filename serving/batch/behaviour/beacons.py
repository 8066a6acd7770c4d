"""How regularly a host calls a peer: a score between 0 and 1 for each pair, vectorised over all pairs of a window.

After RITA (Active Countermeasures, github.com/activecm/rita, package beacon): the mean of three scores of the gaps between calls, which
are their symmetry (1 - |Bowley's skewness|), their spread (1 - median absolute deviation / reference) and their number against the
number that fits into the time. RITA divides the deviation by 30 s, for a day of data; here it is divided by the median gap, so that
a beacon of ten seconds and one of ten minutes are judged alike within an hour."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_GAPS: Final = 6
"""Gaps below which quartiles say nothing."""
LEAST_MEDIAN_US: Final = 1_000_000
"""Pairs that call more often are floods."""


def beacon_scores(pair: NDArray[np.int64], at_us: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs with enough calls, and the score of each. pair: codes, shape (n,). at_us: when each call was."""
    order = np.lexsort((at_us, pair))
    who, when = pair[order], at_us[order]
    same = who[1:] == who[:-1]
    gap_of, gaps = who[1:][same], np.diff(when)[same].astype(np.float64)
    pairs, counts = np.unique(gap_of, return_counts=True)
    enough = counts >= LEAST_GAPS
    keep = np.repeat(enough, counts)
    gap_of, gaps, pairs, counts = gap_of[keep], gaps[keep], pairs[enough], counts[enough]
    if not len(pairs):
        return pairs, np.zeros(0)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    number = np.repeat(np.arange(len(pairs)), counts)
    ordered = gaps[np.lexsort((gaps, number))]
    first, median, third = (_quantile(ordered, starts, counts, q) for q in (0.25, 0.5, 0.75))
    spread = third - first
    is_skewed = (spread > 0) & (median != first) & (median != third)
    skew = np.divide(first + third - 2 * median, spread, out=np.ones_like(spread), where=is_skewed)
    symmetry = np.where(spread > 0, 1 - np.abs(skew), 1.0)  # all gaps alike: as even as can be
    away = np.abs(gaps - np.repeat(median, counts))
    deviation = _quantile(away[np.lexsort((away, number))], starts, counts, 0.5)
    steadiness = np.maximum(1 - np.divide(deviation, median, out=np.ones_like(median), where=median > 0), 0.0)
    fitting = np.divide(np.add.reduceat(gaps, starts), median, out=np.full_like(median, np.inf), where=median > 0)
    number_score = np.minimum(counts / np.maximum(fitting, 1.0), 1.0)
    scores = (symmetry + steadiness + number_score) / 3
    return pairs, np.where(median >= LEAST_MEDIAN_US, scores, 0.0)


def _quantile(
    ordered: NDArray[np.float64], starts: NDArray[np.int64], counts: NDArray[np.int64], q: float
) -> NDArray[np.float64]:
    """The q-quantile of each stretch of sorted values, linear between two of them."""
    at = starts + q * (counts - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, starts + counts - 1)
    found: NDArray[np.float64] = ordered[low] + (at - low) * (ordered[high] - ordered[low])
    return found
