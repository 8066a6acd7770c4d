"""Always-valid test of whether a candidate raises the disparity between a segment and the rest. Pure, on arrays.

Four streams: stable on the rest (a_r) and on the segment (a_s), the candidate on the rest (b_r) and on the segment (b_s). The gap of a
variant is its alert rate on the segment less that on the rest. The candidate raises the disparity *upward* by more than m where
gap_b > max(gap_a, 0) + m, and *downward* where gap_b < min(gap_a, 0) - m: it leads further away from equal rates than stable does, so
that removing a disparity is no fault. Both are pairs of linear claims, each of them with an e-process of its own:

    upward:  gap_b - gap_a <= m  (change)   or   gap_b <= m  (gap)        is refuted where both are: the smaller e-value counts
    not upward:  gap_b - gap_a >= m   and   gap_b >= m                    is refuted where either is: their mean is an e-value

Against "sum of s_i p_i <= offset" a look multiplies the likelihood ratio of bets t, made from the past alone, over the null's u with the
least sum of n_i KL(t_i, u_i). The expectation is at most exp(sum n_i (p_i - u_i) (t_i - u_i) / (u_i (1 - u_i))), and at the minimum that
sum is a non-negative multiple of sum s_i (p_i - u_i) <= 0: the argument of operators.rollout.judging.eprocess for two streams, which
asks nothing more of the null than that it is convex. So the bound holds whatever the rates are, however they drift, and whatever the split.
Source: Turner, Ly & Grünwald (2024), "Generic E-variables for exact sequential k-sample tests that allow for optional stopping",
JSPI 230."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.rollout.judging.eprocess import Floats, log_sum

LEAST: Final = 5
"""New observations that each of the four streams has at least before they are bet on; fewer wait for more. When a bet is settled thus
depends on how many observations there are and not on what they show."""
_PRIOR: Final = 10.0
"""Weight of the rate over all streams in the estimate of each stream's, in observations."""
_TINY: Final = 1e-9
_STEPS: Final = 44


@dataclass(frozen=True, slots=True)
class Claim:
    """`sum of signs * rates <= offset * margin`, in the order a_r, a_s, b_r, b_s; and the bets against it.

    bets: (odds, share): the odds ratio of b_s beyond the claim's border; 0 odds: the plain estimates. to_zero: bets are on "the sum is 0"
    (no gap, or none that changed) and not beyond the border."""

    name: str
    signs: tuple[float, float, float, float]
    offset: float
    bets: tuple[tuple[float, float], ...]
    to_zero: bool = False


_BEYOND: Final = ((0.0, 0.2), (2.0, 0.4), (4.0, 0.4))
_WITHIN: Final = ((0.0, 0.5), (1.0, 0.5))
CLAIMS: Final = (
    Claim("no change upward", (1, -1, -1, 1), 1, _BEYOND),
    Claim("no gap upward", (0, 0, -1, 1), 1, _BEYOND),
    Claim("no change downward", (-1, 1, 1, -1), 1, _BEYOND),
    Claim("no gap downward", (0, 0, 1, -1), 1, _BEYOND),
    Claim("a change upward", (-1, 1, 1, -1), -1, _WITHIN, to_zero=True),
    Claim("a gap upward", (0, 0, 1, -1), -1, _WITHIN, to_zero=True),
    Claim("a change downward", (1, -1, -1, 1), -1, _WITHIN, to_zero=True),
    Claim("a gap downward", (0, 0, -1, 1), -1, _WITHIN, to_zero=True),
)
_FLAT: Final = tuple((claim, odds, share) for claim in CLAIMS for odds, share in claim.bets)
BETS: Final = len(_FLAT)
"""How many logs there are for each segment."""
_PLACES: Final = tuple(np.flatnonzero([claim is one for claim, _, _ in _FLAT]) for one in CLAIMS)
_LOG_SHARES: Final = np.log([share for _, _, share in _FLAT])
_SIGNS: Final = np.array([claim.signs for claim, _, _ in _FLAT])


def estimates(n: Floats, k: Floats) -> Floats:
    """Each stream's rate from what was seen of it, drawn to the rate of all. n, k: shape (4, ...)."""
    level = (k.sum(axis=0) + 0.5) / (n.sum(axis=0) + 50.0)
    return np.asarray(np.clip((k + _PRIOR * level) / (n + _PRIOR), _TINY, 1 - _TINY))


def log_gains(n: Floats, k: Floats, past_n: Floats, past_k: Floats, margin: float) -> Floats:
    """What one look multiplies each bet's capital by, in logs; shape (BETS, ...). All arguments but margin of shape (4, ...), n > 0."""
    rates = estimates(past_n, past_k)
    shape = rates.shape[1:]
    flat = [values.reshape(4, -1) for values in (n, k, rates)]
    counted, bad, plain = flat
    cells = counted.shape[1]
    t = np.broadcast_to(plain, (BETS, 4, cells)).copy()
    offsets = np.empty((BETS, 1))
    for place, (claim, odds, _) in enumerate(_FLAT):
        offsets[place] = claim.offset * margin
        if odds:
            t[place, 3] = _moved(claim, odds, plain, margin)
    signs = _SIGNS[:, :, None]
    outside = (signs * t).sum(axis=1) > offsets + _TINY
    u = project(counted[None], t, signs, offsets)
    gain = bad * np.log(t / u) + (counted - bad) * (np.log1p(-t) - np.log1p(-u))
    total = np.where(signs[:, :, 0:1] != 0, gain, 0.0).sum(axis=1)
    return np.where(outside, total, 0.0).reshape(BETS, *shape)


def _moved(claim: Claim, odds: float, rates: Floats, margin: float) -> Floats:
    """The bet on b_s: beyond the claim's border by an odds ratio, or where the sum is 0; the other three streams at their estimates."""
    signs = np.asarray(claim.signs)[:, None]
    others = (signs[:3] * rates[:3]).sum(axis=0)
    border = 0.0 if claim.to_zero else claim.offset * margin
    foot = np.clip(claim.signs[3] * (border - others), _TINY, 1 - _TINY)
    ratio = odds if claim.signs[3] > 0 else 1 / odds
    return np.asarray(np.clip(ratio * foot / (1 + (ratio - 1) * foot), _TINY, 1 - _TINY))


def project(n: Floats, t: Floats, signs: Floats, offsets: Floats) -> Floats:
    """The u with sum of signs * u <= offset and the least sum of n KL(t, u); t itself where it is within. Shape (bets, 4, cells).

    n: (1, 4, cells), > 0. t: (bets, 4, cells), within (0, 1). signs: (bets, 4, 1). offsets: (bets, 1). At the minimum
    n (t - u) / (u (1 - u)) = signs * x for one x >= 0: a quadratic in u; the sum falls in x, which is halved in on from the side that
    keeps the claim."""
    is_up = signs > 0
    tau = np.where(is_up, t, 1 - t)

    def at(x: Floats) -> Floats:
        both = n + x[:, None, :]
        v = 2 * n * tau / (both + np.sqrt(np.maximum(both * both - 4 * x[:, None, :] * n * tau, 0.0)))
        return np.where(signs == 0, t, np.where(is_up, v, 1 - v))

    def is_within(x: Floats) -> Floats:
        return np.asarray((signs * at(x)).sum(axis=1) <= offsets)

    shape = (t.shape[0], t.shape[2])
    low, high = np.full(shape, np.log(1e-9)), np.full(shape, np.log(1e15))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        within = is_within(np.exp(middle))
        low, high = np.where(within, low, middle), np.where(within, middle, high)
    return np.asarray(np.clip(at(np.exp(high)), 1e-15, 1 - 1e-15))


def log_worse(logs: Floats, *, is_two_sided: bool) -> Floats:
    """log e-value against "the disparity is not raised by more than the margin". logs: shape (BETS, ...); result (...)."""
    claims = _claims(logs)
    up = np.minimum(claims[0], claims[1])
    if not is_two_sided:
        return up
    return np.asarray(np.logaddexp(up, np.minimum(claims[2], claims[3])) - np.log(2))


def log_no_worse(logs: Floats, *, is_two_sided: bool) -> Floats:
    """log e-value against "the disparity is raised by more than the margin"; two-sided: both directions must be refuted.

    logs: shape (BETS, ...); result (...)."""
    claims = _claims(logs)
    up = np.logaddexp(claims[4], claims[5]) - np.log(2)
    return np.asarray(np.minimum(up, np.logaddexp(claims[6], claims[7]) - np.log(2)) if is_two_sided else up)


def _claims(logs: Floats) -> list[Floats]:
    """log e-value against each claim."""
    shares = _LOG_SHARES.reshape((-1,) + (1,) * (logs.ndim - 1))
    return [log_sum(logs[places] + shares[places]) for places in _PLACES]


def growth(n: Floats, k: Floats, margin: float, *, is_two_sided: bool) -> tuple[Floats, Floats]:
    """(towards worse, towards no worse) in nats, of as many observations as n again, if rates are what was seen.

    n, k: shape (4, segments). Each result: shape (segments,)."""
    rates = estimates(n, k)
    plain = [place for place, (_, odds, _) in enumerate(_FLAT) if odds == 0.0]
    signs = _SIGNS[plain][:, :, None]
    offsets = np.array([[_FLAT[place][0].offset * margin] for place in plain])
    t = np.broadcast_to(rates, (len(plain), *rates.shape))
    counted = np.maximum(n, 1.0)[None]
    u = project(counted, t, signs, offsets)
    each = counted * (t * np.log(t / u) + (1 - t) * (np.log1p(-t) - np.log1p(-u)))
    nats = np.where((signs * t).sum(axis=1) > offsets, np.where(signs != 0, each, 0.0).sum(axis=1), 0.0)
    up, down = np.minimum(nats[0], nats[1]), np.minimum(nats[2], nats[3])
    not_up, not_down = np.maximum(nats[4], nats[5]), np.maximum(nats[6], nats[7])
    return (np.maximum(up, down), np.minimum(not_up, not_down)) if is_two_sided else (up, not_up)
