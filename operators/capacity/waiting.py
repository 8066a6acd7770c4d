"""How long a request takes in one replica at a rate: an M/G/1 queue with pauses, computed to its whole distribution. Pure.

A replica answers on one event loop, so it is one server with one queue. Requests come by a Poisson process. A few of them are
interrupted while they are served (another thread has the interpreter, another process the core): the more requests, the more of this
there is. Beside them come pauses (garbage collection, another process on the core), as often whatever the rate, which are work that
nobody asked for and that is done before all other. What a
request finds waiting is the stationary work of both (Pollaczek-Khinchine). The time until this work and its own are done is a delay
busy period of the pauses: each pause that comes meanwhile puts it off, and so do the pauses that come during pauses. All of this has a
Laplace transform in closed form, which is inverted by a Fourier series whose tail is summed by Euler's method, so p99 needs no
approximation of the tail. Sources: Kleinrock (1975), Queueing Systems I, 5.6 and 5.8; Abate and Whitt (1995), ORSA Journal on Computing
7(1); that Poisson arrivals see time averages: Wolff (1982), Operations Research 30(2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_BUSY: Final = 0.8
"""Share of a replica's time that may be planned for; above it a small error of a figure is a large one of the wait."""
STEP: Final = 0.97
"""Of rates that are planned: each is so much of the one above it."""
_DECAY: Final = 18.4
"""The error of the series by its period is exp(-_DECAY), 1e-8."""
_TERMS: Final = 80
_EULER: Final = 14
"""Terms of the series, and partial sums after them that are averaged by binomial weights."""
_COUNT: Final = np.arange(_TERMS + _EULER + 1)
_POLES: Final = _DECAY + 2j * math.pi * _COUNT
_SIGNS: Final = np.where(_COUNT % 2, -1.0, 1.0)
_WEIGHTS: Final = np.array([math.comb(_EULER, k) for k in range(_EULER + 1)]) / 2.0**_EULER
_LEAST_S: Final = 1e-6
_POINTS: Final = 48
"""Times at which a distribution is computed at once, in a search for a quantile."""


@dataclass(frozen=True, slots=True)
class ReplicaWork:
    """What one request takes of one replica, and what interrupts it.

    busy_s: mean time on the loop. busy_scv: squared coefficient of variation of that time, 0 to 1. delay_s: time off the loop (network,
    the store's answer), during which others are served. pause_per_s, pause_s: how often the loop stands still, and mean length; the length
    is exponential. interrupted: share of the requests whose service is put off by one more length of a pause. Raises ValueError for a value
    outside its range."""

    busy_s: float
    busy_scv: float = 0.25
    delay_s: float = 0.0
    pause_per_s: float = 0.0
    pause_s: float = 0.0
    interrupted: float = 0.0

    def __post_init__(self) -> None:
        values = (self.busy_s, self.busy_scv, self.delay_s, self.pause_per_s, self.pause_s, self.interrupted)
        if not all(math.isfinite(v) and v >= 0 for v in values) or self.busy_s == 0 or max(self.busy_scv, self.interrupted) > 1:
            raise ValueError(f"{self}: busy_s is above 0, busy_scv and interrupted from 0 to 1, the others are 0 or more")
        if self.paused >= 1:
            raise ValueError(f"{self}: the replica would always stand still")

    @property
    def paused(self) -> float:
        """Share of the time in which the loop stands still."""
        return self.pause_per_s * self.pause_s

    def busy(self, rate: float) -> float:
        """Share of the loop's time that is used at a rate, pauses included; 1 or more has no steady state."""
        return rate * self.each_s + self.paused

    @property
    def each_s(self) -> float:
        """Mean time of the loop for a request, interruptions included."""
        return self.busy_s + self.interrupted * self.pause_s

    @property
    def fixed_s(self) -> float:
        """The part of a service that every request takes; the rest is exponential."""
        return self.busy_s * (1 - math.sqrt(self.busy_scv))


def shares_within(work: ReplicaWork, rate: float, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of requests that are answered within these times, shape (n,) as the times; all 0 where the queue grows without end."""
    left = np.asarray(times_s, dtype=np.float64) - work.delay_s
    found = np.zeros(left.shape)
    can_be = left >= max(work.fixed_s, _LEAST_S)
    if work.busy(rate) >= 1 or not can_be.any():
        return found
    at = left[can_be][:, None]
    s: NDArray[np.complex128] = np.asarray(_POLES / (2 * at), dtype=np.complex128)
    terms = (_took(work, rate, s) / s).real * _SIGNS
    terms[:, 0] /= 2
    sums = np.cumsum(terms, axis=1)[:, _TERMS:]
    found[can_be] = np.clip(math.exp(_DECAY / 2) / at[:, 0] * (sums @ _WEIGHTS), 0.0, 1.0)
    return found


def within(work: ReplicaWork, rate: float, target_s: float) -> float:
    """Share of requests that are answered within the target at this rate (1/s); 0 where the queue grows without end."""
    return float(shares_within(work, rate, np.array([target_s]))[0])


def quantile_s(work: ReplicaWork, rate: float, quantile: float = 0.99) -> float:
    """The time within which this share of requests is answered; infinite where the queue grows without end."""
    return quantiles_s(work, rate, (quantile,))[0]


def quantiles_s(work: ReplicaWork, rate: float, quantiles: Sequence[float]) -> tuple[float, ...]:
    """Times within which these shares of requests are answered; infinite where the queue grows without end."""
    if work.busy(rate) >= 1:
        return (math.inf,) * len(quantiles)
    low_s = max(work.fixed_s, _LEAST_S)
    high_s = low_s + 20 * (mean_wait_s(work, rate) + work.each_s) / (1 - work.paused)
    while within(work, rate, work.delay_s + high_s) < max(quantiles):
        high_s *= 4
    times = np.geomspace(low_s, high_s, _POINTS)
    shares = _rising(shares_within(work, rate, work.delay_s + times))
    return tuple(_one_quantile(work, rate, q, times, shares) for q in quantiles)


def _one_quantile(
    work: ReplicaWork, rate: float, quantile: float, times: NDArray[np.float64], shares: NDArray[np.float64]
) -> float:
    """Between two of the times: found there again, at times that are nearer to each other."""
    at = int(np.searchsorted(shares, quantile))
    if at == 0:
        return work.delay_s + float(times[0])
    finer = np.linspace(times[at - 1], times[min(at, len(times) - 1)], _POINTS // 2)
    found = _rising(shares_within(work, rate, work.delay_s + finer))
    return work.delay_s + float(np.interp(quantile, found, finer))


def _rising(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.maximum.accumulate(shares)
    return found


@lru_cache(maxsize=256)
def highest_rate(work: ReplicaWork, target_s: float, quantile: float = 0.99, *, most_busy: float = MOST_BUSY) -> float:
    """Requests a second that one replica answers within the target at this quantile; 0 if not even a request alone is."""
    low, high = 0.0, max((most_busy - work.paused) / work.each_s, 0.0)
    if high == 0 or within(work, 0.0, target_s) < quantile:
        return 0.0
    if within(work, high, target_s) >= quantile:
        return high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if within(work, middle, target_s) >= quantile else (low, middle)
    return low


def planned_rate(work: ReplicaWork, target_s: float, steps: int = 0) -> float:
    """The highest rate, down to the next of the steps of `STEP` below the busiest a replica may be, and `steps` further down; 0 if there is
    none. The steps are the same for every target, so what was simulated at a rate holds for each."""
    one = highest_rate(work, target_s)
    if one <= 0:
        return 0.0
    most = (MOST_BUSY - work.paused) / work.each_s
    return most * float(STEP ** (math.ceil(math.log(one / most) / math.log(STEP) - 1e-6) + steps))


def mean_wait_s(work: ReplicaWork, rate: float) -> float:
    """Mean of what a request finds waiting, by the Pollaczek-Khinchine formula; exact."""
    if work.busy(rate) >= 1:
        return math.inf
    second = work.busy_s**2 * (1 + work.busy_scv) + 2 * work.interrupted * work.pause_s * (work.busy_s + work.pause_s)
    return (rate * second + work.pause_per_s * 2 * work.pause_s**2) / (2 * (1 - work.busy(rate)))


def _took(work: ReplicaWork, rate: float, s: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """The transform of a request's time: of the work before it and its own, each unit of it put off by the busy periods of pauses."""
    put_off = s + work.pause_per_s * (1 - _busy_period(work, s))
    service = np.exp(-put_off * work.fixed_s) / (1 + put_off * (work.busy_s - work.fixed_s))
    pause = 1 / (1 + put_off * work.pause_s)
    service *= 1 - work.interrupted * (1 - pause)
    waits = (1 - work.busy(rate)) * put_off / (put_off - rate * (1 - service) - work.pause_per_s * (1 - pause))
    found: NDArray[np.complex128] = waits * service
    return found


def _busy_period(work: ReplicaWork, s: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """The transform of a pause with all pauses that come during it: a busy period of M/M/1 (Kleinrock 5.8)."""
    if not work.paused:
        return np.ones_like(s)
    total = 1 + work.paused + s * work.pause_s
    found: NDArray[np.complex128] = 2 / (total + np.sqrt(total * total - 4 * work.paused))
    return found
