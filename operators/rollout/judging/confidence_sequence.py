"""Confidence sequences: intervals that hold at every look together, not only at one. Pure.

For plots and reports; verdicts come from operators.rollout.judging.eprocess. Source: the beta-binomial mixture martingale of Robbins
(1970),
"Statistical methods related to the law of the iterated logarithm", Ann. Math. Stat. 41(5); Howard, Ramdas, McAuliffe & Sekhon (2021),
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann. Stat. 49(2)."""

import math
from collections.abc import Callable

_PRIOR = (0.5, 0.5)


def proportion(n: int, k: int, alpha: float = 0.05) -> tuple[float, float]:
    """(low, high) of a proportion, k of n: holds with probability 1 - alpha at all n at once.

    The rates p at which the mixture of all coins is less than 1/alpha times as likely as p. Raises ValueError unless 0 <= k <= n."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is not a proportion; k lies between 0 and n")
    if n == 0:
        return 0.0, 1.0
    limit = math.log(1 / alpha)
    mixture = _log_beta(_PRIOR[0] + k, _PRIOR[1] + n - k) - _log_beta(*_PRIOR)

    def is_refuted(p: float) -> bool:
        return mixture - _log_likelihood(n, k, p) >= limit

    rate = k / n
    low = 0.0 if k == 0 else _edge(is_refuted, 0.0, rate)
    high = 1.0 if k == n else _edge(is_refuted, 1.0, rate)
    return low, high


def difference(stable: tuple[int, int], candidate: tuple[int, int], alpha: float = 0.05) -> tuple[float, float]:
    """(low, high) of the candidate's proportion minus stable's, each (n, k): from two sequences at alpha / 2, so it is wide
    but holds at every look, whatever the streams have to do with each other."""
    low_a, high_a = proportion(*stable, alpha / 2)
    low_b, high_b = proportion(*candidate, alpha / 2)
    return low_b - high_a, high_b - low_a


def _edge(is_refuted: Callable[[float], bool], outer: float, inner: float) -> float:
    """Where refutation begins on the way from inner (never refuted) to outer; the refuted side's last point."""
    for _ in range(100):
        middle = (outer + inner) / 2
        if is_refuted(middle):
            outer = middle
        else:
            inner = middle
        if abs(outer - inner) <= 1e-12:
            break
    return outer


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(n: int, k: int, p: float) -> float:
    if (p <= 0 and k > 0) or (p >= 1 and k < n):
        return -math.inf
    return (k * math.log(p) if k else 0.0) + ((n - k) * math.log1p(-p) if k < n else 0.0)
