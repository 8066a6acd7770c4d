"""How far probabilities can be taken at their word: Brier score, log loss, reliability, expected calibration error. Pure.

Sources: Brier (1950), Monthly Weather Review 78; Naeini, Cooper & Hauskrecht (2015), AAAI (the error, with bins of equal width)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.metrics.intervals import Interval, wilson

BINS: Final = 10
CALIBRATED: Final = ("brier", "log_loss", "expected_calibration_error")
_LEAST: Final = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows whose probability lies in (low, high]; the first bin has 0 too. attack_share: what was found, beside what was said."""

    low: float
    high: float
    rows: int
    mean_probability: float
    attack_share: Interval


def brier(probability: Floats, attack: Mask) -> float:
    """Mean squared distance of probability and label, 0 (best) to 1. Both of shape (n,), n > 0."""
    return float(np.mean((probability - attack) ** 2))


def log_loss(probability: Floats, attack: Mask) -> float:
    """Mean negative log-likelihood, in nats; 0 is best. Both of shape (n,), n > 0."""
    return float(np.mean(_losses(probability, attack)[:, 1]))


def expected_calibration_error(probability: Floats, attack: Mask, bins: int = BINS) -> float:
    """Mean distance of what was said and what was found over bins of equal width, weighted by rows. Rises where rows are few."""
    return float(calibration_figures(probability, attack, np.ones((1, len(attack))), bins)[0, 2])


def reliability(probability: Floats, attack: Mask, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """The table behind the error: bins of equal width that have rows."""
    which = bin_of(probability, bins)
    found = []
    for i in np.unique(which).tolist():
        rows = which == i
        count = int(rows.sum())
        share = wilson(int(attack[rows].sum()), count)
        found.append(ReliabilityBin(i / bins, (i + 1) / bins, count, float(probability[rows].mean()), share))
    return tuple(found)


def calibration_figures(probability: Floats, attack: Mask, weights: Floats, bins: int = BINS) -> Floats:
    """CALIBRATED of each set of weights. probability, attack: shape (n,); weights: shape (b, n); result (b, 3)."""
    total = weights.sum(axis=1, keepdims=True)
    gaps = np.zeros((len(attack), bins))
    gaps[np.arange(len(attack)), bin_of(probability, bins)] = probability - attack
    sums = weights @ np.column_stack([_losses(probability, attack), gaps])
    figures = np.hstack([sums[:, :2], np.abs(sums[:, 2:]).sum(axis=1, keepdims=True)])
    return np.asarray(figures / total, dtype=np.float64)


def _losses(probability: Floats, attack: Mask) -> Floats:
    """(squared distance, negative log-likelihood) of each row, shape (n, 2)."""
    right = np.clip(np.where(attack, probability, 1.0 - probability), _LEAST, 1.0 - _LEAST)
    return np.column_stack([(probability - attack) ** 2, -np.log(right)])


def bin_of(probability: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each, shape (n,), from 0. A probability on an edge belongs to the bin below it, as in scikit-learn's calibration_curve."""
    return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], probability)
