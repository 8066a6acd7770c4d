"""How large a change is, on bins: the effect size beside the evidence. Pure, on arrays of streams."""

from typing import Final

import numpy as np

from lifecycle.arrays import Floats

_SMOOTHING: Final = 0.5
_HIDDEN: Final = 0.75
"""Expected rows of a bin at which about half of the noise of its logarithm is hidden by _SMOOTHING."""


def shares(counts: Floats) -> Floats:
    """Counts as shares that sum to 1, shape (streams, bins); 0 everywhere for a stream without counts."""
    total = counts.sum(axis=1, keepdims=True)
    found: Floats = np.divide(counts, total, out=np.zeros_like(counts, dtype=np.float64), where=total > 0)
    return found


def psi(reference: Floats, current: Floats) -> Floats:
    """Population stability index of each stream in nats, shape (streams,). reference, current: counts, shape (streams, bins).

    Half a row is added to each bin that one of them has, since the logarithm of an empty bin is infinite.
    Source: Yurdakul & Naranjo (2020), J. Risk Model Validation 14(4)."""
    used = (reference + current) > 0
    a = np.where(used, reference + _SMOOTHING, 0.0)
    b = np.where(used, current + _SMOOTHING, 0.0)
    a, b = shares(a), shares(b)
    ratio = np.where(used, a, 1.0) / np.where(used, b, 1.0)
    found: Floats = ((a - b) * np.log(ratio)).sum(axis=1)
    return found


def largest_gap(reference: Floats, current: Floats) -> Floats:
    """Largest difference of the distribution functions over the bins in their order (Kolmogorov and Smirnov's), shape (streams,)."""
    found: Floats = np.abs(np.cumsum(shares(reference) - shares(current), axis=1)).max(axis=1)
    return found


def total_variation(reference: Floats, current: Floats) -> Floats:
    """Share of the rows that would have to change their bin, shape (streams,)."""
    found: Floats = np.abs(shares(reference) - shares(current)).sum(axis=1) / 2
    return found


def psi_noise(reference: Floats, current: Floats) -> Floats:
    """The PSI that two samples of these sizes have on average without any change, shape (streams,).

    (1 - p) (1/n + 1/m) for each bin of share p, and less for a bin that expects few rows: the half row that is added hides it there.
    Source: Yurdakul & Naranjo (2020), section 3, for bins that have rows; the rest is fitted to draws (its test)."""
    p = shares(reference + current)
    n, m = (np.maximum(counts.sum(axis=1, keepdims=True), 1.0) for counts in (reference, current))
    found: Floats = ((1 - p) * (p / (n * p + _HIDDEN) + p / (m * p + _HIDDEN))).sum(axis=1)
    return found


def gap_noise(reference: Floats, current: Floats) -> Floats:
    """The same for `largest_gap`: 0.8687 sqrt(1/n + 1/m), the mean of Kolmogorov's distribution; on few bins `variation_noise` is less."""
    found: Floats = 0.8687 * np.sqrt(_inverse_rows(reference, current))
    return np.minimum(found, variation_noise(reference, current))


def variation_noise(reference: Floats, current: Floats) -> Floats:
    """The same for `total_variation`: half the sum over the bins of the mean of |N(0, p (1 - p) (1/n + 1/m))|."""
    p = shares(reference + current)
    found: Floats = np.sqrt(2 / np.pi * p * (1 - p)).sum(axis=1) / 2 * np.sqrt(_inverse_rows(reference, current))
    return found


def _inverse_rows(reference: Floats, current: Floats) -> Floats:
    found: Floats = 1 / np.maximum(reference.sum(axis=1), 1) + 1 / np.maximum(current.sum(axis=1), 1)
    return found
