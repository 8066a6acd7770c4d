"""Maximum mean discrepancy: whether two samples of many columns come from one distribution, by a kernel."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats

FEATURES: Final = 128
PERMUTATIONS: Final = 499
_MOST_PAIRS: Final = 500


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """mmd: root of the unbiased estimate of MMD^2 (0 where it is negative), 0 to 1.4. p: by permutation, at least 1/(permutations + 1)."""

    mmd: float
    p: float
    bandwidth: float


def mmd(
    reference: NDArray[Any],
    current: NDArray[Any],
    rng: np.random.Generator,
    *,
    features: int = FEATURES,
    permutations: int = PERMUTATIONS,
) -> Discrepancy:
    """RBF kernel with the median heuristic. reference, current: scaled columns, (n, d) and (m, d), no NaN.

    The kernel is replaced by 2 * features random Fourier features, so the cost grows with the rows and not with their square: a
    permutation is one product of a row of labels with the features.
    Sources: Gretton et al. (2012), JMLR 13; Rahimi & Recht (2007), NeurIPS."""
    rows = np.concatenate([reference, current]).astype(np.float32)
    n, m = len(reference), len(current)
    bandwidth = median_distance(rows, rng)
    weights = rng.standard_normal((rows.shape[1], features)).astype(np.float32) / np.float32(bandwidth)
    angles = rows @ weights
    mapped = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.float32(np.sqrt(features))
    labels = np.full((permutations + 1, n + m), -1 / m, dtype=np.float32)
    labels[0, :n] = 1 / n
    for row in labels[1:]:
        row[rng.permutation(n + m)[:n]] = 1 / n
    biased: Floats = np.sum(
        (labels @ mapped) ** 2, axis=1, dtype=np.float64
    )  # of each labelling, the mean embeddings' squared distance
    p = (1 + int(np.sum(biased[1:] >= biased[0]))) / (permutations + 1)
    within = _mean_self(mapped[:n]) / n + _mean_self(mapped[n:]) / m  # the diagonal's part of the two inner means
    return Discrepancy(float(np.sqrt(max(0.0, float(biased[0]) - within))), p, bandwidth)


def median_distance(rows: NDArray[Any], rng: np.random.Generator) -> float:
    """The median Euclidean distance of pairs of distinct rows, of at most 500 x 500; 1 if all are alike. rows: (n, d)."""
    some = rows[rng.permutation(len(rows))[:_MOST_PAIRS]].astype(np.float64)
    squares = np.sum(some**2, axis=1)
    is_pair = ~np.tri(len(some), dtype=np.bool_)  # each pair once
    found = np.sqrt(np.maximum((squares[:, None] + squares[None, :] - 2 * some @ some.T)[is_pair], 0.0))
    found = found[found > 1e-6]
    return float(np.median(found)) if len(found) else 1.0


def _mean_self(mapped: NDArray[Any]) -> float:
    """What the diagonal adds beyond the mean of pairs: 1 - mean of k(x, x'), x and x' of one sample."""
    n = len(mapped)
    mean = mapped.sum(axis=0, dtype=np.float64)
    pairs = (float(mean @ mean) - n) / max(n * (n - 1), 1)
    return 1.0 - pairs
