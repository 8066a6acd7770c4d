"""Always-valid comparison of two proportions: e-processes that may be looked at any number of times. Pure.

Against the null "y is bad at most `offset` more often than x", each look multiplies a likelihood ratio: bets (t_x, t_y) made from
the past alone, over the null pair (u, u + offset) closest to them, n_x KL(t_x, u) + n_y KL(t_y, u + offset) being least. With
c = (t - u) / (u (1 - u)) the factor's expectation is at most exp(n_x (p_x - u_x) c_x + n_y (p_y - u_y) c_y), and the exponent is
what the minimum makes <= 0 for every pair of the null: so the bound holds whatever the rates are, also where they move from look
to look, whatever the split, and whenever one stops (Ville's inequality).

Several bets play side by side, each with a share of the capital, and the capital is their sum: fixed odds ratios at the level
seen so far, and the plain estimates. Such bets lose almost nothing by an unknown common level, because it cancels in t / u.
Sources: Turner, Ly & Grünwald (2024), "Generic E-variables for exact sequential k-sample tests that allow for optional stopping",
JSPI 230; Turner & Grünwald (2023), "Exact anytime-valid confidence intervals for contingency tables and beyond", Stat. Prob. Lett.
198. Alternatives that were tried: docs/decisions. operators.rollout.judging.judge chooses what is compared."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.values import Value

Floats = npt.NDArray[np.float64]
_LEAST = 1e-12


class Counts(Value):
    """Observations, and how many of them were bad."""

    n: int = 0
    k: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(n=self.n + other.n, k=self.k + other.k)


@dataclass(frozen=True, slots=True)
class Bets:
    """The bets of one test, fixed before each look.

    odds: odds ratios of y to x (or, beyond a margin, of y to x + offset), each a bet of its own. shares: of the capital, for each
    odds ratio and last for the plain estimates; sum 1. prior_n, prior_k: what levels are estimated from before anything was seen."""

    odds: tuple[float, ...]
    shares: tuple[float, ...]
    prior_n: float = 50.0
    prior_k: float = 0.5

    @property
    def log_shares(self) -> Floats:
        """Shape (bets,)."""
        return np.asarray(np.log(self.shares))


EXCESS = Bets(odds=(1.9, 3.0, 8.0), shares=(0.24, 0.08, 0.66, 0.02))
"""Against "no more often". Two thirds of the capital are on the odds ratio 8: three or four rare events in a sparse stream must decide, so
the share matters most there. An odds ratio of 2 needs many events anyway; a small share costs it a few more."""
BEYOND = Bets(odds=(1.4, 2.0, 4.0), shares=(0.3, 0.3, 0.3, 0.1))
"""Against "at most a margin more often": odds ratios beyond the margin."""
ABSENCE = Bets(odds=(1.0, 1.5, 0.7), shares=(0.5, 0.2, 0.2, 0.1))
"""Against "more often by a margin at least": most likely they are equal."""


def bets_against(offset: float) -> Bets:
    """The bets for a null of that offset."""
    if offset == 0:
        return EXCESS
    return BEYOND if offset > 0 else ABSENCE


def null_pair(n_x: Floats, t_x: Floats, n_y: Floats, t_y: Floats, offset: float) -> Floats:
    """The u of the null's pair (u, u + offset) closest to (t_x, t_y), where t_y > t_x + offset.

    Arguments broadcast, to the shape of the result; 0 < t < 1; -1 < offset < 1. The derivative falls over the bracket
    [t_x, t_y - offset]: Newton's steps, halving the bracket where they leave it."""
    if offset == 0.0:
        return t_x + (t_y - t_x) * _share(n_x, n_y)
    floor, ceiling = max(0.0, -offset) + _LEAST, min(1.0, 1.0 - offset) - _LEAST
    n_x, t_x, n_y, t_y = np.broadcast_arrays(n_x, t_x, n_y, t_y)
    low = np.clip(t_x, floor, ceiling)
    high = np.clip(t_y - offset, low, ceiling)
    share = _share(n_x, n_y)
    u: Floats = low + (high - low) * share
    for _ in range(80):
        v = u + offset
        at_x, at_y = u * (1 - u), v * (1 - v)
        at_x, at_y = np.maximum(at_x, _LEAST * _LEAST), np.maximum(at_y, _LEAST * _LEAST)
        slope = n_x * (t_x - u) / at_x + n_y * (t_y - v) / at_y
        low, high = np.where(slope > 0, u, low), np.where(slope < 0, u, high)
        bend = n_x * (1 / at_x + (t_x - u) * (1 - 2 * u) / at_x**2) + n_y * (1 / at_y + (t_y - v) * (1 - 2 * v) / at_y**2)
        step = slope / np.where(bend > 0, bend, np.inf)
        tried = u + step
        inside = (bend > 0) & (tried >= low) & (tried <= high)
        following = np.where(inside, tried, (low + high) / 2)
        if np.all(np.abs(following - u) <= 1e-13 * u):
            return following
        u = following
    return u


def _share(n_x: Floats, n_y: Floats) -> Floats:
    total = n_x + n_y
    return np.asarray(n_y / np.where(total > 0, total, 1.0))


def log_factors(
    x: tuple[Floats, Floats], y: tuple[Floats, Floats], past: tuple[Floats, ...], offset: float, bets: Bets
) -> Floats:
    """What one look multiplies each bet's capital by, in logs; shape (bets, *shape of the counts).

    x, y: (n, k) of this look. past: (n_x, k_x, n_y, k_y) before it. A bet that lies within the null stays out: factor 1."""
    (n_x, k_x), (n_y, k_y) = x, y
    t_x, t_y = _bets(past, n_x, n_y, max(offset, 0.0), bets)
    outside = t_y > t_x + offset + _LEAST
    t_y = np.where(outside, t_y, np.minimum(t_x + offset + 0.5 * (1 - t_x - offset), 1 - _LEAST))
    u = null_pair(n_x, t_x, n_y, t_y, offset)
    gain = _log_ratio(n_x, k_x, t_x, u) + _log_ratio(n_y, k_y, t_y, u + offset)
    return np.where(outside, gain, 0.0)


def _bets(past: tuple[Floats, ...], n_x: Floats, n_y: Floats, beyond: float, bets: Bets) -> tuple[Floats, Floats]:
    """(t_x, t_y), each of shape (bets, ...): the odds ratios, then the plain estimates."""
    past_x, bad_x, past_y, bad_y = past
    plain_x = (bad_x + bets.prior_k) / (past_x + bets.prior_n)
    plain_y = (bad_y + bets.prior_k) / (past_y + bets.prior_n)
    odds = np.asarray(bets.odds).reshape((-1,) + (1,) * np.ndim(n_x))
    level = (
        _level(past, _share(n_x, n_y), odds, bets) if beyond == 0 else np.broadcast_to(plain_x, odds.shape[:1] + plain_x.shape)
    )
    foot = np.minimum(level + beyond, 1.0)
    t_x = np.concatenate([level, plain_x[None]])
    t_y = np.concatenate([odds * foot / (1 + (odds - 1) * foot), plain_y[None]])
    return np.clip(t_x, _LEAST, 1 - _LEAST), np.clip(t_y, _LEAST, 1 - _LEAST)


def _level(past: tuple[Floats, ...], share: Floats, odds: Floats, bets: Bets) -> Floats:
    """x's rate p that explains all bad events so far if y's odds were `odds` times x's:
    bad = seen_x p + seen_y odds p / (1 + (odds - 1) p)."""
    past_x, bad_x, past_y, bad_y = past
    seen_x, seen_y = past_x + bets.prior_n * (1 - share), past_y + bets.prior_n * share
    bad = bad_x + bad_y + bets.prior_k
    b = bad * (odds - 1) - seen_x - seen_y * odds
    return np.asarray(2 * bad / (np.sqrt(b * b + 4 * seen_x * (odds - 1) * bad) - b))


def _log_ratio(n: Floats, k: Floats, t: Floats, u: Floats) -> Floats:
    """log of [t/u]^k [(1-t)/(1-u)]^(n-k)."""
    return np.asarray(k * np.log(t / u) + (n - k) * (np.log1p(-t) - np.log1p(-u)))


def log_sum(logs: Floats) -> Floats:
    """Log of the sum of exponentials over the first axis. logs: shape (k, ...); result (...)."""
    top = np.max(logs, axis=0)
    return np.asarray(top + np.log(np.sum(np.exp(logs - top), axis=0)))


def _arrays(*numbers: float) -> tuple[Floats, ...]:
    return tuple(np.asarray(n, dtype=np.float64) for n in numbers)


class EProcess(Value):
    """One e-process against "y is bad at most `offset` more often than x"; y is the candidate unless `is_swapped`."""

    offset: float
    is_swapped: bool = False
    logs: tuple[float, ...] = ()
    """Each bet's own log capital; empty: nothing seen yet."""

    @property
    def log_e(self) -> float:
        """log of the e-value."""
        return float(log_sum(np.asarray(self.logs) + bets_against(self.offset).log_shares)) if self.logs else 0.0

    def look(self, past: tuple[Counts, Counts], stable: Counts, candidate: Counts, copies: int = 1) -> "EProcess":
        """After one more look. past: the counts of stable and candidate before this look; bets may depend on nothing else."""
        (past_x, past_y), x, y = past, stable, candidate
        if self.is_swapped:
            past_x, past_y, x, y = past_y, past_x, y, x
        bets = bets_against(self.offset)
        before = _arrays(past_x.n, past_x.k, past_y.n, past_y.k)
        n_x, k_x, n_y, k_y = _arrays(x.n, x.k, y.n, y.k)
        gains = log_factors((n_x, k_x), (n_y, k_y), before, self.offset, bets)
        own = np.asarray(self.logs) if self.logs else np.zeros(len(bets.shares))
        return self.model_copy(update={"logs": tuple(float(v) for v in own + gains / copies)})

    def growth(self, stable_rate: float, candidate_rate: float, stable_per_candidate: float) -> float:
        """Expected growth of log_e with each further observation of the candidate, if these were the rates; at least 0."""
        (t_x, n_x), (t_y, n_y) = (stable_rate, stable_per_candidate), (candidate_rate, 1.0)
        if self.is_swapped:
            t_x, n_x, t_y, n_y = t_y, n_y, t_x, n_x
        if t_y <= t_x + self.offset:
            return 0.0
        a_n, a_t, b_n, b_t = _arrays(n_x, t_x, n_y, t_y)
        u = float(null_pair(a_n, a_t, b_n, b_t, self.offset))
        return n_x * _divergence(t_x, u) + n_y * _divergence(t_y, u + self.offset)


def _divergence(t: float, u: float) -> float:
    """KL(t, u) of two coins, in nats."""
    return t * math.log(t / u) + (1 - t) * (math.log1p(-t) - math.log1p(-u))


class TwoStream(Value):
    """Two variants' streams and every question asked of them. A frozen value: `look` gives the next."""

    margin: float = 0.0
    is_two_sided: bool = False
    stable: Counts = Counts()
    candidate: Counts = Counts()
    above: EProcess
    """Against "at most margin above stable"."""
    below: EProcess | None = None
    """Two-sided: against "at most margin below stable"."""
    not_above: EProcess
    """Against "at least margin above stable"."""
    not_below: EProcess | None = None
    """Two-sided: against "at least margin below stable"."""
    lower: EProcess
    """Against "no lower than stable"."""

    @classmethod
    def start(cls, margin: float, *, is_two_sided: bool = False) -> "TwoStream":
        """Nothing seen yet."""
        return cls(
            margin=margin,
            is_two_sided=is_two_sided,
            above=EProcess(offset=margin),
            below=EProcess(offset=margin, is_swapped=True) if is_two_sided else None,
            not_above=EProcess(offset=-margin, is_swapped=True),
            not_below=EProcess(offset=-margin) if is_two_sided else None,
            lower=EProcess(offset=0.0, is_swapped=True),
        )

    def look(self, delta_a: Counts, delta_b: Counts, copies: int = 1) -> "TwoStream":
        """After one more look, at which stable (a) had grown by delta_a and the candidate (b) by delta_b.

        copies: how often the same observation may be among them (once a replica); gains are divided by it."""
        if delta_a.n == 0 and delta_b.n == 0:
            return self
        past = (self.stable, self.candidate)
        names = ("above", "below", "not_above", "not_below", "lower")
        asked = {name: getattr(self, name) for name in names}
        after = {name: None if e is None else e.look(past, delta_a, delta_b, copies) for name, e in asked.items()}
        return self.model_copy(update={**after, "stable": self.stable.plus(delta_a), "candidate": self.candidate.plus(delta_b)})

    @property
    def log_worse(self) -> float:
        """log e-value against "no worse than the margin" (two-sided: half the capital on either side)."""
        if self.below is None:
            return self.above.log_e
        return float(np.logaddexp(self.above.log_e, self.below.log_e)) - math.log(2)

    @property
    def log_no_worse(self) -> float:
        """log e-value against "worse than the margin" (two-sided: both sides must be refuted)."""
        return self.not_above.log_e if self.not_below is None else min(self.not_above.log_e, self.not_below.log_e)

    @property
    def log_better(self) -> float:
        """log e-value against "no better than stable"; one-sided gates only."""
        return -math.inf if self.is_two_sided else self.lower.log_e
