"""How far apart two distributions are, whatever the sample sizes: KS, Wasserstein, PSI and total variation. 0 means the same."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.monitoring.statistics.pooled import PooledSamples

BINS: Final = 10
SPIKE: Final = 0.05
"""A value with at least this share of the reference, at the place of zero, gets a bin of its own."""


def ks_distance(pooled: PooledSamples) -> float:
    """The largest difference of the two distribution functions, 0 to 1. Source: Smirnov (1939); scipy.stats.ks_2samp gives the same."""
    return float(np.abs(pooled.gaps()).max())


def wasserstein(pooled: PooledSamples) -> float:
    """Wasserstein-1 distance in standard deviations of the reference; infinite if the reference is constant and the current is not it.

    Rows at infinity are left out. Source: Villani (2009), 6; scipy.stats.wasserstein_distance, divided."""
    is_finite = np.isfinite(pooled.values)
    values, reference, current = pooled.values[is_finite], pooled.reference[is_finite], pooled.current[is_finite]
    if not reference.sum() or not current.sum():
        return 0.0
    values = values / max(float(np.abs(values).max()), np.finfo(np.float64).tiny)  # so that nothing overflows; the ratio stays
    shares = reference / reference.sum()
    gaps = np.cumsum(shares - current / current.sum())[:-1]
    distance = float(np.sum(np.abs(gaps) * np.diff(values)))
    scale = float(np.sqrt(np.sum(shares * (values - np.sum(shares * values)) ** 2)))
    if scale == 0:
        return np.inf if distance > 0 else 0.0
    return distance / scale


def quantile_edges(reference: Floats, bins: int = BINS) -> Floats:
    """Upper edges of bins of about equal shares of the reference, each once, ascending, at most `bins` - 1; one more bin lies above.

    A spike at zero (many columns of network data are mostly zeros) has a bin of its own: edges just below and at zero, and the
    other edges are quantiles of what is not zero. reference: (n,), without NaN."""
    at_zero = reference == 0
    if at_zero.mean() < SPIKE or at_zero.all():
        return _inner_quantiles(reference, bins)
    rest = _inner_quantiles(reference[~at_zero], max(bins - 1, 2))
    return np.unique(np.concatenate([rest, [np.nextafter(0.0, -1.0), 0.0]]))


def _inner_quantiles(sample: Floats, bins: int) -> Floats:
    edges = np.quantile(sample, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.unique(edges)


def counts_between(pooled: PooledSamples, edges: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts of each sample in the bins (-inf, e1], (e1, e2], ..., (ek, inf), shape (k + 1,)."""
    bins = np.searchsorted(edges, pooled.values, side="left")
    size = len(edges) + 1
    return tuple(np.bincount(bins, weights=c, minlength=size).astype(np.int64) for c in (pooled.reference, pooled.current))  # type: ignore[return-value]


def psi(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Population stability index of counts by bin or category, in nats. reference, current: shape (k,).

    Half a row is added to each bin, so that an empty one does not make it infinite. By chance it is about (k - 1)(1/n + 1/m), so its
    usual thresholds (0.1, 0.25) mean little in small samples. Source: Yurdakul & Naranjo (2020), J. Risk Model Validation 14(4)."""
    used = (reference + current) > 0
    old, new = reference[used] + 0.5, current[used] + 0.5
    old, new = old / old.sum(), new / new.sum()
    return float(np.sum((new - old) * np.log(new / old)))


def total_variation(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """The share of rows that would have to change their category, 0 to 1. reference, current: counts, shape (k,)."""
    return float(0.5 * np.abs(reference / reference.sum() - current / current.sum()).sum())
