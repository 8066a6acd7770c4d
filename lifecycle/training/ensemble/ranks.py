"""The rank of a score among training rows, as a table that a graph can hold. Pure.

The table is a polygon through points (score, share of the training rows below it; half of those equal to it). It rises, so a rank keeps
the order of scores between its ends; it is continuous, so that a last bit of a score changes a rank by little."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats

_MIDDLE: Final = np.linspace(0.0, 1.0, 129)
_TAIL: Final = 2.0 ** -np.arange(8, 21)
MIN_GAP: Final = 0.1
"""Between two knots: a rank changes at most 1 / MIN_GAP times as much as a score. Margins are log-odds; severities are whole numbers."""


@dataclass(frozen=True, slots=True)
class RankTable:
    """knots: float32 (k,), rising. shares: float32 (k,), rising, within 0..1."""

    knots: NDArray[np.float32]
    shares: NDArray[np.float32]

    def ranks(self, scores: Floats) -> Floats:
        """Shape (n,), within 0..1. A rank never falls while scores rise."""
        knots, shares = self.knots.astype(np.float64), self.shares.astype(np.float64)
        following = np.minimum(np.searchsorted(knots, scores, side="right"), len(knots) - 1)
        # just before a knot, rounding may put a rank a last bit above that of the knot
        return np.asarray(np.minimum(np.interp(scores, knots, shares), shares[following]), dtype=np.float64)


def rank_table(scores: Floats) -> RankTable:
    """Of a member's scores of its training rows; shape (n,), not empty.

    Scores count as the graph has them, as float32: scores that the graph finds equal to a knot are equal to it here too."""
    ordered = np.sort(np.asarray(scores, dtype=np.float32)).astype(np.float64)
    levels = np.unique(np.concatenate([_MIDDLE, _TAIL, 1.0 - _TAIL]))
    found = np.unique(np.quantile(ordered, levels, method="inverted_cdf").astype(np.float32))
    kept = [found[0]]
    for knot in found[1:]:
        if knot - kept[-1] >= MIN_GAP:
            kept.append(knot)
    if kept[-1] != found[-1] and len(kept) > 1:
        kept[-1] = found[-1]  # the end of the table is the largest score
    if len(kept) == 1:
        kept.append(max(np.float32(kept[0] + 1.0), np.nextafter(kept[0], np.float32(np.inf))))  # all scores are alike
    knots = np.array(kept, dtype=np.float32)
    below = np.searchsorted(ordered, knots.astype(np.float64), side="left")
    upto = np.searchsorted(ordered, knots.astype(np.float64), side="right")
    return RankTable(knots, ((below + upto) / 2.0 / len(ordered)).astype(np.float32))
