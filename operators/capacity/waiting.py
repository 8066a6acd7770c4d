"""How long a request takes in one replica at a rate: an M/G/1 queue, computed to its whole distribution. Pure.

A replica answers on one event loop, so it is one server with one queue. Requests come by a Poisson process. Beside them come pauses
(garbage collection, another process on the core), which are work that nobody asked for. What a request finds waiting is the
stationary work of both, by the Pollaczek-Khinchine formula: a geometric number of residual services. Its generating function is
inverted on a lattice (Abate and Whitt 1992, Operations Research Letters 12(4)), so p99 needs no approximation of the tail. Source of the
formula: Kleinrock (1975), Queueing Systems I, 5.6; that Poisson arrivals see time averages: Wolff (1982), Operations Research 30(2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS_A_SERVICE: Final = 8
"""Lattice points in a mean service."""
MOST_STEPS: Final = 4096
"""Lattice points at most: what is beyond the last of them is computed with longer steps."""
_LONGER_STEPS: Final = (1, 4, 16, 64)
_HORIZON_STEPS: Final = 512
_DIGITS: Final = 9
"""How small the error of the inversion is, as a power of ten."""
MOST_BUSY: Final = 0.8
"""Share of a replica's time that may be planned for; above it a small error of a figure is a large one of the wait."""


@dataclass(frozen=True, slots=True)
class ReplicaWork:
    """What one request takes of one replica, and what interrupts it.

    busy_s: mean time on the loop. busy_scv: squared coefficient of variation of that time, 0 to 1. delay_s: time off the loop (network,
    the store's answer), during which others are served. pause_per_s, pause_s: how often the loop stands still, and mean length.
    Raises ValueError for a value outside its range."""

    busy_s: float
    busy_scv: float = 0.25
    delay_s: float = 0.0
    pause_per_s: float = 0.0
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        values = (self.busy_s, self.busy_scv, self.delay_s, self.pause_per_s, self.pause_s)
        if not all(math.isfinite(v) and v >= 0 for v in values) or self.busy_s == 0 or self.busy_scv > 1:
            raise ValueError(f"{self}: busy_s is above 0, busy_scv from 0 to 1, the others are 0 or more")
        if self.paused >= 1:
            raise ValueError(f"{self}: the replica would always stand still")

    @property
    def paused(self) -> float:
        """Share of the time in which the loop stands still."""
        return self.pause_per_s * self.pause_s

    def busy(self, rate: float) -> float:
        """Share of the loop's time that is used at a rate, pauses included; 1 or more has no steady state."""
        return rate * self.busy_s + self.paused

    @property
    def fixed_s(self) -> float:
        """The part of a service that every request takes; the rest is exponential."""
        return self.busy_s * (1 - math.sqrt(self.busy_scv))


def within(work: ReplicaWork, rate: float, target_s: float, enough: float = 1.0) -> float:
    """Share of requests that are answered within the target at this rate (1/s); 0 where the queue grows without end.

    enough: a share above which nobody asks how much more it is."""
    if work.busy(rate) >= 1:
        return 0.0
    left, found = _left(work, target_s), 0.0
    for longer in _LONGER_STEPS:
        step = work.busy_s / STEPS_A_SERVICE * longer
        place = min(left / step, MOST_STEPS) - 0.5  # a share counts what is less than half a step beyond its own
        if place < 0:
            break
        below, part = int(place), place % 1
        shares = _times(work, rate, step, below + 1)
        found = max(found, float(shares[below] + (shares[below + 1] - shares[below]) * part))
        if left <= step * MOST_STEPS or found >= enough:
            break
    return found


def quantile_s(work: ReplicaWork, rate: float, quantile: float = 0.99) -> float:
    """The time within which this share of requests is answered; infinite where the queue grows without end."""
    if work.busy(rate) >= 1:
        return math.inf
    step = work.busy_s / STEPS_A_SERVICE
    for longer in _LONGER_STEPS:
        shares = _times(work, rate, step * longer, MOST_STEPS)
        at = int(np.searchsorted(shares, quantile))
        if at < len(shares):
            before = float(shares[at - 1]) if at else 0.0
            part = (quantile - before) / max(float(shares[at]) - before, 1e-12)
            return work.delay_s + (at - 0.5 + part) * step * longer / (1 - work.paused)
    return math.inf


@lru_cache(maxsize=256)
def highest_rate(work: ReplicaWork, target_s: float, quantile: float = 0.99, *, most_busy: float = MOST_BUSY) -> float:
    """Requests a second that one replica answers within the target at this quantile; 0 if not even a request alone is."""
    low, high = 0.0, max((most_busy - work.paused) / work.busy_s, 0.0)
    if high == 0 or within(work, 0.0, target_s, quantile) < quantile:
        return 0.0
    if within(work, high, target_s, quantile) >= quantile:
        return high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if within(work, middle, target_s, quantile) >= quantile else (low, middle)
    return low


def quantiles_s(work: ReplicaWork, rate: float, quantiles: Sequence[float], horizon_s: float) -> tuple[float, ...]:
    """Times within which these shares of requests are answered, up to a horizon; infinite beyond it."""
    if work.busy(rate) >= 1:
        return (math.inf,) * len(quantiles)
    step = horizon_s / _HORIZON_STEPS
    shares = _times(work, rate, step, _HORIZON_STEPS)
    found = []
    for quantile in quantiles:
        at = int(np.searchsorted(shares, quantile))
        before = float(shares[at - 1]) if at else 0.0
        part = (quantile - before) / max(float(shares[at]) - before, 1e-12) if at < len(shares) else math.inf
        found.append(work.delay_s + max(at - 0.5 + part, 0.0) * step / (1 - work.paused))
    return tuple(found)


def mean_wait_s(work: ReplicaWork, rate: float) -> float:
    """Mean of what a request finds waiting, by the Pollaczek-Khinchine formula; exact."""
    if work.busy(rate) >= 1:
        return math.inf
    second = work.busy_s**2 * (1 + work.busy_scv)
    return (rate * second + work.pause_per_s * 2 * work.pause_s**2) / (2 * (1 - work.busy(rate)))


def _left(work: ReplicaWork, target_s: float) -> float:
    """Of the target, what wait and service may take: pauses come meanwhile too."""
    return (target_s - work.delay_s) * (1 - work.paused)


def _times(work: ReplicaWork, rate: float, step: float, steps: int) -> NDArray[np.float64]:
    """Shares of requests whose wait and service are at most 0, 1, ... steps; shape (steps + 1,)."""
    edges: NDArray[np.float64] = (np.arange(steps + 2, dtype=np.float64) - 0.5) * np.float64(step)
    waited = _compound(rate, work, edges)
    served = np.diff(_service(work, edges), prepend=0.0)[1:]
    found: NDArray[np.float64] = np.cumsum(_convolved(waited, served))
    return np.minimum(found, 1.0)


def _convolved(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    size = 1 << (2 * len(a) - 1).bit_length()
    product: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)[: len(a)]
    return np.maximum(product, 0.0)


def _service(work: ReplicaWork, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution of a service."""
    random_s = work.busy_s - work.fixed_s
    beyond = np.maximum(at - work.fixed_s, 0.0)
    found = np.where(at >= work.fixed_s, -np.expm1(-beyond / random_s) if random_s > 0 else 1.0, 0.0)
    return np.asarray(found, dtype=np.float64)


def _compound(rate: float, work: ReplicaWork, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of the waiting work, rounded to whole steps; shape (len(edges) - 1,)."""
    residual = np.diff(_residual(rate, work, np.maximum(edges, 0.0)))
    count = len(residual)
    size = 1 << (2 * count - 1).bit_length()
    radii = 10.0 ** (-_DIGITS / size * np.arange(count))
    transform = np.fft.rfft(residual * radii, size)
    found: NDArray[np.float64] = np.fft.irfft((1 - work.busy(rate)) / (1 - transform), size)[:count] / radii
    return np.maximum(found, 0.0)


def _residual(rate: float, work: ReplicaWork, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Busy share times the distribution of a residual service: the integral of what is longer, of requests and pauses."""
    random_s = work.busy_s - work.fixed_s
    beyond = np.maximum(at - work.fixed_s, 0.0)
    of_services = np.minimum(at, work.fixed_s)
    if random_s > 0:
        of_services = of_services - random_s * np.expm1(-beyond / random_s)
    found = rate * of_services
    if work.paused > 0:
        found = found - work.pause_per_s * work.pause_s * np.expm1(-at / work.pause_s)
    return np.asarray(found, dtype=np.float64)
