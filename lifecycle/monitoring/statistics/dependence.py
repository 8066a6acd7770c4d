"""Whether columns depend on each other as they did: rank correlations of all pairs. It finds what no column alone shows, and the pair."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lifecycle.arrays import Floats

LEAST_VARIED: Final = 50
"""Rows off its most frequent value that a column needs in each sample: with fewer, the limit of many rows is not reached."""


@dataclass(frozen=True, slots=True)
class CorrelationChange:
    """The pair of columns (places) whose correlation changed most. p: corrected for all pairs. change: current - reference."""

    first: int
    second: int
    reference: float
    current: float
    p: float

    @property
    def change(self) -> float:
        """How much the correlation changed, -2 to 2."""
        return self.current - self.reference


def correlation_change(reference: Floats, current: Floats) -> CorrelationChange | None:
    """reference, current: normal scores of each sample's own ranks, (n, d) and (m, d), variance 1. None if fewer than two columns vary.

    Ranks are each sample's own, so that a shift of one column alone is no change of dependence. The variance of each correlation is that
    of its influence function z_i z_j - r (z_i^2 + z_j^2) / 2; the largest difference of all pairs is judged by the normal law, times the
    number of pairs.
    Source: Cai, Liu & Xia (2013), JASA 108, 265 (the largest of all pairs); Devlin et al. (1975), Biometrika 62 (the influence)."""
    used = np.flatnonzero(_varies(reference) & _varies(current))
    if len(used) < 2:
        return None
    (r_old, v_old), (r_new, v_new) = (_correlations(sample[:, used]) for sample in (reference, current))
    variance = v_old / len(reference) + v_new / len(current)
    upper = np.triu_indices(len(used), 1)
    z = np.abs(r_new - r_old)[upper] / np.sqrt(np.maximum(variance[upper], 1.0 / (len(reference) * len(current))))
    best = int(np.argmax(z))
    i, j = int(upper[0][best]), int(upper[1][best])
    p = min(1.0, len(z) * float(2 * special.ndtr(-z[best])))
    return CorrelationChange(int(used[i]), int(used[j]), float(r_old[i, j]), float(r_new[i, j]), p)


def _varies(sample: Floats) -> NDArray[np.bool_]:
    found = np.zeros(sample.shape[1], dtype=bool)
    for place in range(sample.shape[1]):
        counts = np.unique(sample[:, place], return_counts=True)[1]
        found[place] = len(sample) - counts.max() >= LEAST_VARIED
    return found


def _correlations(z: Floats) -> tuple[Floats, Floats]:
    """r, (d, d), and the variance of its influence function, (d, d)."""
    n = len(z)
    squares = z**2
    r = z.T @ z / n
    m22 = squares.T @ squares / n
    m31 = (squares * z).T @ z / n
    fourth = np.diag(m22)
    variance = m22 - r * (m31 + m31.T) + r**2 / 4 * (fourth[:, None] + 2 * m22 + fourth[None, :])
    return r, variance
