"""Counts by cluster, and intervals of a rate, of a difference and of a ratio of rates that allow for alike rows. Pure.

Rows of one entity are alike: a hundred alerts about one host are little more than one observation. The interval of a rate is Clopper and
Pearson's at the effective number of rows (Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of
positive counts estimated from survey data", Survey Methodology 24(2)): the number of rows over the design effect, which is never taken
to be below 1. Where every row is its own entity this is the exact interval. Differences and ratios combine the limits of both rates
(MOVER: Zou & Donner 2008, "Construction of confidence limits about effect measures", Stat. Med. 27(10))."""

from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit  # scipy.stats has them too, and takes a second to import

from lifecycle.arrays import Floats, Mask
from lifecycle.metrics import Interval


@dataclass(frozen=True, slots=True)
class ClusterCounts:
    """Observations n and events k of each cluster, shape (clusters,), float64 of whole numbers."""

    n: Floats
    k: Floats

    @classmethod
    def of(cls, event: Mask, cluster: NDArray[np.intp]) -> "ClusterCounts":
        """Count. event: shape (n,). cluster: shape (n,), any codes."""
        _, codes = np.unique(cluster, return_inverse=True)
        n = np.bincount(codes)
        return cls(n.astype(np.float64), np.bincount(codes[event], minlength=len(n)).astype(np.float64))

    @property
    def total(self) -> int:
        """Observations."""
        return int(self.n.sum())

    @property
    def events(self) -> int:
        """Events."""
        return int(self.k.sum())

    def eventful(self) -> float:
        """How many clusters the events are spread over: Kish's effective number, 1 where one cluster has them all."""
        return 0.0 if not self.events else float(self.k.sum() ** 2 / (self.k**2).sum())

    def effective(self) -> float:
        """How many independent observations would tell as much; at most `total`. Without an event (or without anything else) nothing
        is known of how alike rows are, and each cluster counts as one."""
        rows, clusters = self.n.sum(), len(self.n)
        if clusters == rows:
            return float(rows)
        rate = self.k.sum() / rows
        if rate in (0.0, 1.0) or clusters < 2:
            return float(clusters)
        variance = clusters / (clusters - 1) * ((self.k - rate * self.n) ** 2).sum() / rows**2
        return float(rows / max(1.0, variance * rows / (rate * (1 - rate))))


def rate_interval(clusters: ClusterCounts, alpha: float = 0.05) -> Interval:
    """The rate with its bounds at confidence 1 - alpha; Nones where nothing was counted."""
    if not clusters.total:
        return Interval(None, None, None)
    rate, rows = clusters.events / clusters.total, clusters.effective()
    if len(clusters.n) < clusters.total and len(clusters.n) > 1:  # the design effect itself is estimated, from so many clusters
        rows *= float((ndtri(1 - alpha / 2) / stdtrit(len(clusters.n) - 1, 1 - alpha / 2)) ** 2)
    k = rate * rows
    low = 0.0 if rate == 0 else float(betaincinv(k, rows - k + 1, alpha / 2))
    high = 1.0 if rate == 1 else float(betaincinv(k + 1, rows - k, 1 - alpha / 2))
    return Interval(rate, min(low, rate), max(high, rate))


def difference_interval(one: Interval, other: Interval) -> Interval:
    """one less other, from their own bounds."""
    if one.value is None or other.value is None:
        return Interval(None, None, None)
    (p, l1, u1), (q, l2, u2) = _bounds(one), _bounds(other)
    return Interval(p - q, p - q - sqrt((p - l1) ** 2 + (u2 - q) ** 2), p - q + sqrt((u1 - p) ** 2 + (q - l2) ** 2))


def ratio_interval(one: Interval, other: Interval) -> Interval:
    """one over other, on the logarithmic scale; value None where other is 0, high None where it has no bound."""
    if one.value is None or other.value is None:
        return Interval(None, None, None)
    (p, l1, u1), (q, l2, u2) = _bounds(one), _bounds(other)
    if q == 0:
        return Interval(None, l1 / u2 if u2 else 0.0, None)
    low = exp(log(p / q) - sqrt(_log(p, l1) ** 2 + _log(u2, q) ** 2)) if p and l1 else 0.0
    if l2 == 0:
        return Interval(p / q, low, None)
    high = exp(log(p / q) + sqrt(_log(u1, p) ** 2 + _log(q, l2) ** 2)) if p else u1 / l2
    return Interval(p / q, low, high)


def _bounds(of: Interval) -> tuple[float, float, float]:
    """Value, low and high of a rate that was counted."""
    if of.value is None or of.low is None or of.high is None:
        raise ValueError("a rate of nothing has no bounds")
    return of.value, of.low, of.high


def _log(larger: float, smaller: float) -> float:
    return log(larger / smaller) if smaller else inf
