"""p-values of "the mean is over a limit", for counts of rows and for the shares of units. Pure; finite-sample valid.

A small p-value shows that the mean is at most the limit. The alternatives were measured: docs/decisions/0039."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.special import bdtr

from lifecycle.arrays import Floats
from lifecycle.training.operating_points.validation import LEFT_OUT, ValidationRows

STAKES: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
"""Shares of the capital that are bet; the first one wins most where no unit ever failed."""
_FIRST_WEIGHT: Final = 0.4
_WEIGHTS: Final = (_FIRST_WEIGHT, *[(1 - _FIRST_WEIGHT) / (len(STAKES) - 1)] * (len(STAKES) - 1))


class Losses(Protocol):
    """Losses in [0, 1] of independent draws, at each of k thresholds."""

    @property
    def draws(self) -> int:
        """How many draws."""
        ...

    @property
    def mean(self) -> Floats:
        """Shape (k,)."""
        ...

    def p_values(self, limits: Floats) -> Floats:
        """Of `the expected loss is over the limit`, shape (k,). limits: shape (k,)."""
        ...

    def without_loss(self) -> "Losses":
        """As many draws, none of which lost anything: the best that could have been seen."""
        ...

    def of_rows(self) -> tuple[Floats, Floats]:
        """The share of rows that are lost, and the variance of that share. Both of shape (k,)."""
        ...


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Losses that are 0 or 1. counts: how many are 1 at each threshold, shape (k,)."""

    counts: Floats
    draws: int

    @property
    def mean(self) -> Floats:
        """Shape (k,)."""
        return np.asarray(self.counts / max(self.draws, 1))

    def p_values(self, limits: Floats) -> Floats:
        """The binomial tail, exact: what inverts to the bound of Clopper & Pearson (1934), Biometrika 26(4)."""
        inside = np.clip(limits, 0.0, 1.0)
        return np.where(limits <= 0, 1.0, bdtr(self.counts, self.draws, inside))

    def without_loss(self) -> "RowLosses":
        """As many rows, no loss."""
        return RowLosses(np.zeros_like(self.counts), self.draws)

    def of_rows(self) -> tuple[Floats, Floats]:
        """The mean and its variance."""
        return self.mean, np.asarray(self.mean * (1.0 - self.mean) / max(self.draws, 1))


@dataclass(frozen=True, slots=True)
class UnitLosses:
    """Losses in [0, 1]: the share of each unit's rows. some: units with any loss, shape (m, k), and their sizes, shape (m,).

    none: sizes of the units that have no loss at any threshold. A size is a count of rows, or what they weigh."""

    some: Floats
    sizes: Floats
    none: Floats

    @property
    def draws(self) -> int:
        """How many units."""
        return len(self.some) + len(self.none)

    @property
    def mean(self) -> Floats:
        """Shape (k,); every unit counts the same."""
        return np.asarray(self.some.sum(axis=0) / max(self.draws, 1))

    def p_values(self, limits: Floats) -> Floats:
        """Bet on each unit that its loss is under the limit, with fixed stakes side by side. If the mean is over the limit, the expected
        capital is at most 1, so that its inverse is a p-value (Markov).

        Source: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1), 4. Stakes that do
        not depend on what was seen make the result independent of the order of the units."""
        inside = np.clip(limits, 1e-12, 1.0 - 1e-12)
        capital = np.full(len(limits), -np.inf)
        with np.errstate(divide="ignore"):
            for stake, weight in zip(STAKES, _WEIGHTS, strict=True):
                bet = stake / (1.0 - inside)
                won = len(self.none) * np.log1p(bet * inside) + np.log(np.maximum(1.0 + bet * (inside - self.some), 0.0)).sum(
                    axis=0
                )
                capital = np.logaddexp(capital, np.log(weight) + won)
        return np.where(limits <= 0, 1.0, np.exp(np.minimum(-capital, 0.0)))

    def without_loss(self) -> "UnitLosses":
        """As many units, no loss."""
        return UnitLosses(self.some[:0], self.sizes[:0], np.concatenate([self.sizes, self.none]))

    def of_rows(self) -> tuple[Floats, Floats]:
        """The ratio of sums, and its variance by the residuals of the units: exact only for many of them. 1 if there are none.

        Source: Cochran (1977), "Sampling Techniques", 3rd edition, 6.3."""
        total, m = self.sizes.sum() + self.none.sum(), self.draws
        if not m:
            return np.ones(self.some.shape[1]), np.zeros(self.some.shape[1])
        lost = self.sizes[:, None] * self.some
        share = lost.sum(axis=0) / total
        squares = ((lost - share * self.sizes[:, None]) ** 2).sum(axis=0) + share**2 * (self.none**2).sum()
        return share, np.asarray(squares / total**2 * (m / max(m - 1, 1)))


def losses(rows: ValidationRows, thresholds: Floats, *, of_attacks: bool) -> Losses:
    """of_attacks: the share of attacks that do not alert; else the share of benign rows that do.

    thresholds: falling, shape (k,)."""
    mask = (rows.attack == of_attacks) & (rows.unit_of != LEFT_OUT)
    scores = rows.scores[mask]
    if rows.unit == "row":
        quiet = np.searchsorted(np.sort(scores), thresholds, side="left")
        return RowLosses((quiet if of_attacks else len(scores) - quiet).astype(np.float64), len(scores))
    _, unit, members = np.unique(rows.unit_of[mask], return_inverse=True, return_counts=True)
    sizes: Floats = np.bincount(unit, weights=rows.weights[mask], minlength=len(members)).astype(np.float64)
    k = len(thresholds)
    first = k - np.searchsorted(thresholds[::-1], scores, side="right")  # the first threshold that the row reaches
    counts = np.bincount(unit * (k + 1) + first, minlength=len(members) * (k + 1)).reshape(len(members), k + 1)
    alerts: Floats = np.cumsum(counts, axis=1)[:, :k] / members[:, None]
    shares: Floats = 1.0 - alerts if of_attacks else alerts
    some = shares.any(axis=1)
    return UnitLosses(shares[some], sizes[some], sizes[~some])
