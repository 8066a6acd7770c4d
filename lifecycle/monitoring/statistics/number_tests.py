"""Whether two samples of one number come from one distribution. Five tests, each sensitive to another change, and one p-value of all:

    ks        anything in the middle           location  the mean           scale  the variance
    bins      the shape                        tails     a few rows far out, as 1 % of contamination

Each is valid given the pooled values (it is a test of exchangeability, exact or in the limit of many rows); Bonferroni combines them."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lifecycle.arrays import Floats
from lifecycle.monitoring.statistics.count_tests import chi_square_p, hypergeometric_p
from lifecycle.monitoring.statistics.distances import counts_between
from lifecycle.monitoring.statistics.multiplicity import bonferroni
from lifecycle.monitoring.statistics.pooled import PooledSamples

FEW: Final = 20
"""With fewer rows off the most frequent value expected in a sample, the limit of many rows is not reached."""
TAIL: Final = 0.005
_OUTERMOST: Final = (1, 3)
_PROBABILITIES: Final = np.array([0.01, 0.03, *(i / 10 for i in range(1, 10)), 0.97, 0.99])


def number_tests(pooled: PooledSamples) -> Mapping[str, float]:
    """p-value by test. Where nearly all rows have one value, only `ks` and the exact `mode` (that value against all others) are made."""
    found = {"ks": ks_p(pooled)}
    n, m = pooled.rows
    off_mode = n + m - int((pooled.reference + pooled.current)[pooled.mode()])
    if off_mode * min(n, m) / (n + m) < FEW:
        return found | {"mode": mode_p(pooled)}
    normal = special.ndtri(pooled.mid_ranks() / (n + m + 1))
    found["location"] = linear_rank_p(pooled, normal)
    found["scale"] = linear_rank_p(pooled, normal**2)
    found["bins"] = bins_p(pooled)
    found["tails"] = tails_p(pooled)
    return found


def ks_p(pooled: PooledSamples) -> float:
    """Kolmogorov-Smirnov, two-sided, in the limit of many rows; with ties it is too large, never too small. Source: Smirnov (1939)."""
    n, m = pooled.rows
    return float(special.kolmogorov(np.sqrt(n * m / (n + m)) * np.abs(pooled.gaps()).max()))


def linear_rank_p(pooled: PooledSamples, scores: Floats) -> float:
    """Two-sided normal p of the sum of scores in the current sample, given the pooled values. scores: of each distinct value, (k,).

    Normal scores of the ranks test the location (van der Waerden), their squares the scale (Klotz): both as efficient as the t and F
    tests on normal data, and right on any other. Source: Hajek, Sidak & Sen (1999), Theory of Rank Tests, 4.1."""
    n, m = pooled.rows
    counts, total = pooled.reference + pooled.current, n + m
    mean = float(np.sum(counts * scores)) / total
    variance = float(np.sum(counts * (scores - mean) ** 2)) / (total - 1)
    if variance <= 0:
        return 1.0
    z = (float(np.sum(pooled.current * scores)) - m * mean) / np.sqrt(n * m / total * variance)
    return float(2 * special.ndtr(-abs(z)))


def bins_p(pooled: PooledSamples) -> float:
    """Pearson's chi-square over bins of the pooled values, finer at the ends."""
    counts = pooled.reference + pooled.current
    shares = np.cumsum(counts) / counts.sum()
    edges = pooled.values[np.unique(np.searchsorted(shares, _PROBABILITIES))]
    return chi_square_p(*counts_between(pooled, edges))


def tails_p(pooled: PooledSamples) -> float:
    """Whether the far ends of the pooled values belong to one sample more than they should: exact, both ends, doubled.

    Two tests an end, Bonferroni: how the outermost rows are shared, and how many rows of one sample lie beyond the other's outermost.
    The first finds an end that has moved, the second a few rows far from all others."""
    counts = pooled.reference + pooled.current
    n, m = pooled.rows
    most = max(TAIL * (n + m), FEW)
    found = []
    for step in (1, -1):
        both, reference, current = counts[::step], pooled.reference[::step], pooled.current[::step]
        size = int(np.searchsorted(np.cumsum(both), most, side="right"))  # values that together have at most `most` rows
        drawn = int(both[:size].sum())
        share = hypergeometric_p(int(current[:size].sum()), drawn, m, n + m) if drawn else 1.0
        found.append(bonferroni([share, beyond_p(reference, current)]))
    return bonferroni(found)


def beyond_p(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Whether more rows of one sample lie beyond the other's outermost row, or all but two of them, than chance puts there.

    reference, current: counts of each distinct value, from the outside inwards, (k,). Two-sided, Bonferroni over the four questions.
    Exact without ties; with ties it is too large, never too small. Source: Rosenbaum (1954), Annals of Math. Statistics 25(1)."""
    n, m = int(reference.sum()), int(current.sum())
    found = [
        _exceedance_p(_rows_before(others, own, rank), rank, of, n + m)
        for own, others, of in ((reference, current, m), (current, reference, n))
        for rank in _OUTERMOST
    ]
    return bonferroni(found)


def _rows_before(counted: NDArray[np.int64], other: NDArray[np.int64], rank: int) -> int:
    """Rows of `counted` that lie strictly beyond the `rank`-th row of `other`; 0 if it has fewer."""
    place = int(np.searchsorted(np.cumsum(other), rank))
    return int(counted[:place].sum()) if place < len(other) else 0


def _exceedance_p(beyond: int, rank: int, counted: int, total: int) -> float:
    """P(of the outermost `beyond` + `rank` - 1 of all rows at least `beyond` belong to a sample of `counted` rows): hypergeometric."""
    outermost = beyond + rank - 1
    if beyond == 0 or outermost > total:
        return 1.0
    terms = [
        _log_choose(counted, outermost - strange) + _log_choose(total - counted, strange)
        for strange in range(rank)
        if outermost - strange <= counted
    ]
    return min(1.0, sum(math.exp(term - _log_choose(total, outermost)) for term in terms))


def _log_choose(of: int, taken: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1) if 0 <= taken <= of else -math.inf


def mode_p(pooled: PooledSamples) -> float:
    """Whether the most frequent value became rarer or more frequent. Exact (Fisher)."""
    n, m = pooled.rows
    place = pooled.mode()
    counts: NDArray[np.int64] = pooled.reference + pooled.current
    return hypergeometric_p(int(pooled.current[place]), int(counts[place]), m, n + m)


def tail_excess(pooled: PooledSamples) -> float:
    """How large a share of the current rows lies beyond the reference's outer quantiles (0.1 % at each end), less what lies there in it."""
    n, m = pooled.rows
    below = np.cumsum(pooled.reference) / n
    low = int(np.searchsorted(below, 0.001))
    high = int(np.searchsorted(below, 0.999))
    outside = np.ones(len(below), dtype=bool)
    outside[low : high + 1] = False
    return float(pooled.current[outside].sum() / m - pooled.reference[outside].sum() / n)
