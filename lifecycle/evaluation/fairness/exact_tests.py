"""Exact tests of two rates, and their correction for how many there are. Pure but for the generator that is handed in.

Without entities Fisher's exact test. With them a permutation test over entities: each entity keeps its rows, and which entities are in the
segment is drawn anew. It is exact where entities are exchangeable; as the difference is divided by its own cluster-robust standard error,
it is valid for large numbers of entities also where segments differ in their traffic (Chung & Romano 2013, "Exact and asymptotically
robust permutation tests", Ann. Stat. 41(2)). Drawing stops when enough draws were as extreme (Besag & Clifford 1991, "Sequential Monte
Carlo p-values", Biometrika 78(2)), which keeps the p-value valid and clear cases cheap."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from lifecycle.arrays import Floats, Mask
from lifecycle.evaluation.fairness.clusters import ClusterCounts

DRAWS: Final = 9_999
ENOUGH: Final = 20
"""Draws as extreme as what was seen, after which no more are drawn."""
_BATCH: Final = 500
Correction = Literal["holm", "benjamini-hochberg"]


def two_rates(clusters: ClusterCounts, inside: Mask, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Two-sided p-value of "the rate inside is the rate outside". inside: shape (clusters,), which are in the segment."""
    if (clusters.n == 1).all():
        from scipy.stats import fisher_exact  # takes a second to import

        hit = clusters.k > 0
        table = [[int((hit & side).sum()), int((~hit & side).sum())] for side in (inside, ~inside)]
        return float(fisher_exact(table).pvalue)
    return _permuted(clusters, inside, rng, draws)


def _permuted(clusters: ClusterCounts, inside: Mask, rng: np.random.Generator, draws: int) -> float:
    kinds, which, counts = np.unique(np.stack([clusters.n, clusters.k]), axis=1, return_inverse=True, return_counts=True)
    n, k = kinds
    sums = np.stack([np.ones_like(n), n, k, n * n, n * k, k * k], axis=1)
    whole = counts @ sums
    seen_inside = np.bincount(which.ravel()[inside], minlength=len(n)) @ sums
    seen = float(_distance(seen_inside[None], whole)[0])
    size, drawn, extreme = int(inside.sum()), 0, 0
    while drawn < draws:
        batch = min(_BATCH, draws - drawn)
        inside_sums = rng.multivariate_hypergeometric(counts, size, size=batch, method="marginals") @ sums
        hits = np.cumsum(_distance(inside_sums, whole) >= seen * (1 - 1e-9))
        if extreme + hits[-1] >= ENOUGH:
            return ENOUGH / (drawn + int(np.searchsorted(hits, ENOUGH - extreme)) + 1)
        extreme, drawn = extreme + int(hits[-1]), drawn + batch
    return (extreme + 1) / (drawn + 1)


def _distance(inside: Floats, whole: Floats) -> Floats:
    """|difference of rates| over its standard error, a draw each. Columns: clusters, n, k, n n, n k, k k summed."""
    rates, variances = [], []
    for part in (inside, whole - inside):
        clusters, n, k, nn, nk, kk = part.T
        rate = k / n
        spread = np.maximum(kk - 2 * rate * nk + rate**2 * nn, 0.0)
        rates.append(rate)
        variances.append(clusters / np.maximum(clusters - 1, 1) * spread / n**2)
    gap, variance = np.abs(rates[0] - rates[1]), variances[0] + variances[1]
    return np.asarray(np.where(gap > 0, gap / np.sqrt(np.maximum(variance, 1e-300)), 0.0))


def adjusted(p_values: Sequence[float], correction: Correction = "holm") -> list[float]:
    """p-values corrected for their number, in their order. `holm`: bounds the chance of any false finding, whatever the tests have
    to do with each other (Holm 1979). `benjamini-hochberg`: bounds the share of false findings among all (1995)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    ranked = np.asarray(p_values, dtype=np.float64)[order]
    if correction == "holm":
        steps = np.maximum.accumulate(ranked * (count - np.arange(count)))
    else:
        steps = np.minimum.accumulate((ranked * count / (np.arange(count) + 1))[::-1])[::-1]
    found = np.empty(count)
    found[order] = np.minimum(steps, 1.0)
    return [float(p) for p in found]
