"""Always-valid tests on mirrored requests, which both variants scored: e-processes for the mean of a bounded value. Pure.

Each pair gives s: +1 (the candidate raised the verdict), -1 (it lowered it), 0 (they agree); or, where only the share that differs
counts, 1 or 0. Against "the mean of s is at most m", a bet of size b multiplies its capital by 1 + b (s - m), whose expectation is
at most 1 for 0 <= b < 1 / (m - least s). Fixed bets of many sizes share the capital, so the e-value is a function of the counts
alone. With m = 0 only the pairs that differ matter: McNemar's test by betting.
Source: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1), section 4.4 (grids of
fixed bets). Pairs of one entity are not independent; docs/reference/judgement.md says what that means for the bound."""

import math

import numpy as np

from operators.rollout.judging.eprocess import Floats, log_sum
from operators.values import Value

Number = float | Floats
SIZES = (0.003, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.75, 0.95)
"""Bets, as shares of the largest that cannot go bankrupt."""


class Pairs(Value):
    """Mirrored pairs, and how many of them the candidate judged higher and lower."""

    n: int = 0
    up: int = 0
    down: int = 0

    @property
    def differ(self) -> int:
        """Pairs with different verdicts."""
        return self.up + self.down

    @property
    def same(self) -> int:
        """Pairs with one verdict."""
        return self.n - self.up - self.down

    def plus(self, other: "Pairs") -> "Pairs":
        """Both together."""
        return Pairs(n=self.n + other.n, up=self.up + other.up, down=self.down + other.down)


def log_e(up: Number, down: Number, same: Number, margin: float, least: float = -1.0) -> Floats:
    """log e-value against "the mean is at most margin", from the counts of +1, -1 and 0; of one shape, which the result has too.

    least: the smallest value s can take, -1 or 0 (then `down` is 0); margin > least."""
    bets = (np.asarray(SIZES) / (margin - least)).reshape((-1,) + (1,) * np.ndim(up))
    logs = up * np.log1p(bets * (1 - margin)) + same * np.log1p(-bets * margin)
    if least < 0:
        logs = logs + down * np.log1p(-bets * (1 + margin))
    return log_sum(logs) - math.log(len(SIZES))


def log_e_either(up: Number, down: Number, same: Number, margin: float) -> Floats:
    """log e-value against "the mean is within margin of 0": half the capital on either side. Shapes are those of `log_e`."""
    above, below = log_e(up, down, same, margin), log_e(down, up, same, margin)
    return np.asarray(np.logaddexp(above, below) - math.log(2))


def growth(up: float, down: float, margin: float, least: float = -1.0) -> float:
    """Largest expected growth of `log_e` a pair, among its bets, if up and down were the probabilities; at least 0."""
    bets: Floats = np.asarray(SIZES) / (margin - least)
    gains = up * np.log1p(bets * (1 - margin)) + (1 - up - down) * np.log1p(-bets * margin)
    if least < 0:
        gains = gains + down * np.log1p(-bets * (1 + margin))
    return max(0.0, float(np.max(gains)))
