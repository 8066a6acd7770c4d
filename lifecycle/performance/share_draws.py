"""Bounds of shares of weighted rows, and of figures made of several shares, that hold with few rows of a kind. Pure.

A share has two distributions: of the rows with one more that counts, and of the rows with one more that does not. With equal weights these
are the two beta distributions behind the bounds of Clopper & Pearson (1934); with unequal weights and rare rows they come near the gamma
bounds of Fay & Feuer (1997), Statistics in Medicine 16. Half of the draws are of each, which is the mid-p form: Fay & Kim (2017),
Biometrical Journal 59(3). A figure of several shares takes its bounds from their draws: Krishnamoorthy & Lee (2010), J. Statistical
Planning and Inference 140(5)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from lifecycle.arrays import Floats

DRAWS: Final = 4000
_TAILS: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class WeightedShare:
    """A share of weighted rows. value: the estimate. rows: how many it is made of. effective: so many rows of equal weight say as much."""

    value: float
    rows: int
    effective: float
    _yes: tuple[float, float]
    _no: tuple[float, float]

    @classmethod
    def of(cls, weights: Floats, counts: Floats) -> "WeightedShare | None":
        """weights: positive, shape (m,); counts: 1 of rows that count, else 0, shape (m,). None without rows."""
        if not len(weights):
            return None
        total = float(weights.sum())
        value = float(weights @ counts / total)
        heaviest = float(weights.max())
        return cls(
            value, len(weights), total**2 / float(weights @ weights), _beta(weights, counts, heaviest, 1.0),
            _beta(weights, counts, heaviest, 0.0),
        )  # fmt: skip

    def draws(self, rng: np.random.Generator, count: int = DRAWS) -> Floats:
        """Shape (count,)."""
        upper = rng.beta(*self._yes, count) if self._yes[1] > 0 else np.ones(count)
        lower = rng.beta(*self._no, count) if self._no[0] > 0 else np.zeros(count)
        return np.asarray(np.where(rng.random(count) < 0.5, upper, lower))


def _beta(weights: Floats, counts: Floats, heaviest: float, phantom: float) -> tuple[float, float]:
    """The two parameters with one more row, as heavy as the heaviest. One of them is 0 if all rows are alike."""
    w, y = np.append(weights, heaviest), np.append(counts, phantom)
    total = w.sum()
    if (y == phantom).all():
        rows = float(total**2 / (w @ w))
        return rows * phantom, rows * (1.0 - phantom)
    share = float(w @ y / total)
    rows = share * (1.0 - share) / float((w**2) @ (y - share) ** 2 / total**2)
    return rows * share, rows * (1.0 - share)


def true_share(seen: Floats, noise: float) -> Floats:
    """The share of attacks behind a share of rows that are called one, where this share of labels is wrong, either way.

    Source: Rogan & Gladen (1978), American J. of Epidemiology 107(1). noise: 0 to below 0.5."""
    return np.clip((seen - noise) / (1.0 - 2.0 * noise), 0.0, 1.0) if noise else seen


def bounds(drawn: Floats) -> tuple[float, float]:
    """The 95 % bounds of draws; NaN is left out."""
    low, high = np.nanquantile(drawn, _TAILS)
    return float(low), float(high)
