"""Decides which streams have drifted, from the e-values of all: the weighted e-BH procedure. Pure.

At each look the streams of the k largest weighted e-values are rejected, for the largest k at which each of them is at least
(sum of weights) / (k alpha). Whatever the dependence between the streams:
- if no stream has drifted, the chance of ever rejecting one is alpha at most: k rejections mean that the weighted mean of all e-values
  reaches 1 / alpha, and that mean is itself a test martingale;
- of the streams that are rejected, at most a share alpha is expected to be wrong (the false discovery rate).
With e-detectors in place of e-values and alpha = 1 / A, the expected number of blocks until the first rejection is A at least.
Source: Wang & Ramdas (2022), "False discovery rate control with e-values", JRSS B 84(3), sections 3 and 5."""

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats


def rejected(e_values: Floats, weights: Floats, alpha: float) -> NDArray[np.bool_]:
    """Which streams are rejected, shape (streams,). weights: not negative, shape (streams,); they sum to 1 or less."""
    thresholds = rejection_thresholds(e_values, weights, alpha)
    return np.asarray(e_values >= thresholds)


def rejection_thresholds(e_values: Floats, weights: Floats, alpha: float) -> Floats:
    """The e-value from which on each stream is rejected now, shape (streams,); infinite for a weight of 0.

    It falls as more streams are rejected: 1 / (weight alpha) for the first, half of that where there are two, and so on."""
    weighted = np.asarray(e_values) * np.asarray(weights)
    descending = np.sort(weighted)[::-1]
    ranks = np.arange(1, len(weighted) + 1)
    passing = np.flatnonzero(descending * ranks * alpha >= 1)
    count = int(passing[-1]) + 1 if len(passing) else 1
    with np.errstate(divide="ignore"):
        found: Floats = 1 / (np.asarray(weights) * count * alpha)
    return found
