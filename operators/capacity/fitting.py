"""From latencies at a few rates to what a request takes of a replica: the queue whose latencies are nearest. Pure.

Processor time of the loop's thread says how long a request keeps the loop if nothing interrupts it. How long that thread waited for a
core says how much more of the loop's time is gone. The latencies say what is off the loop, and which interruptions there are: some come
as often whatever the rate (pauses), others with the requests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from operators.capacity.errors import CapacityError
from operators.capacity.waiting import ReplicaWork, shares_within

SCV: Final = 0.25
"""Of a service: requests of one kind differ little; what is rare and long is a pause."""
QUANTILES: Final = (0.5, 0.9, 0.99)
_MOST_PAUSED: Final = 0.4
_MOST_STRETCH: Final = 4.0
_TIMES: Final = 28
_MOST_INTERRUPTED: Final = 0.5
_STARTS: Final = (
    (1.2, 0.02, 0.002, 0.001),
    (1.1, 0.05, 0.02, 0.0003),
    (1.1, 0.005, 0.002, 0.02),
    (1.4, 0.02, 0.002, 0.02),
    (1.4, 0.1, 0.002, 0.0005),
)
"""Stretch of a service, share and length of pauses, share of requests that are interrupted, from which the search begins: with short
pauses, with long ones, with interruptions in place of pauses, and with a long service. The distance has several hollows."""
_FIRST: Final = 150
_EVALUATIONS: Final = 700
"""Of the distance: from each start, and on from the best."""


@dataclass(frozen=True, slots=True)
class RateSample:
    """An open load of Poisson arrivals: requests a second, the latencies of `QUANTILES` in seconds, and for each second how long the
    loop's thread had a core (busy) and how long it waited for one (waited; None: not known)."""

    rate: float
    busy: float
    took_s: tuple[float, float, float]
    waited: float | None = None


@dataclass(frozen=True, slots=True)
class _RateMedians:
    """The rounds at one rate. Each figure is their median by itself: a round that a stall upset moves none by much."""

    rate: float
    busy: float
    took_s: tuple[float, ...]
    occupied: float | None


def busy_s_of(samples: Sequence[RateSample]) -> float:
    """Seconds of the loop's thread for one more request: the slope of its time over the rate, by least squares over the medians of the
    rounds, so that what it does without requests does not count. Raises CapacityError for fewer than two rates, or if it does not grow."""
    return _slope(_medians(samples))


def fit(samples: Sequence[RateSample]) -> ReplicaWork:
    """The work whose queue has the nearest latencies. samples: of any number of rounds, each with the same rates.

    Of the rounds at a rate the medians count, and the distance is that of logarithms, not of squares. So one bad round of several says
    nothing, and one bad rate little. Raises CapacityError as `busy_s_of`, or if a latency is not above 0."""
    from scipy.optimize import minimize  # a second to import; a plan needs no fit

    if any(not took_s > 0 for sample in samples for took_s in sample.took_s):
        raise CapacityError("a latency is not above 0; measure again")
    medians = _medians(samples)
    busy_s = _slope(medians)
    times = [np.geomspace(one.took_s[0] / 4, one.took_s[-1] * 4, _TIMES) for one in medians]
    least_s = min(one.took_s[0] for one in medians)

    def nearest(begin: Sequence[float] | NDArray[np.float64], most: int) -> Any:
        options = {"maxfev": most, "xatol": 0.005, "fatol": 1e-4, "adaptive": True}
        return minimize(_distance, begin, args=(busy_s, medians, times), method="Nelder-Mead", options=options)

    found = [nearest([math.log(v) for v in (max(least_s - busy_s, least_s / 10), *start)], _FIRST) for start in _STARTS]
    best = min(found, key=lambda one: float(one.fun))
    return _work(nearest(best.x, _EVALUATIONS).x, busy_s)


def _medians(samples: Sequence[RateSample]) -> list[_RateMedians]:
    found = []
    for rate in sorted({s.rate for s in samples}):
        here = [s for s in samples if s.rate == rate]
        took_s = tuple(np.median([s.took_s for s in here], axis=0).tolist())
        occupied = [s.busy + s.waited for s in here if s.waited is not None]
        busy = float(np.median([s.busy for s in here]))
        found.append(_RateMedians(rate, busy, took_s, float(np.median(occupied)) if occupied else None))
    return found


def _slope(medians: Sequence[_RateMedians]) -> float:
    if len(medians) < 2:
        raise CapacityError("the time of a request needs loads of two rates or more; measure more rates")
    slope = float(np.polyfit([m.rate for m in medians], [m.busy for m in medians], 1)[0])
    if slope <= 0:
        raise CapacityError("the processor time did not grow with the rate; measure longer, on a quieter machine")
    return slope


def _work(logs: NDArray[np.float64], busy_s: float) -> ReplicaWork:
    delay_s, stretch, paused, pause_s, interrupted = (math.exp(min(v, 50.0)) for v in logs.tolist())
    stretch, paused = min(max(stretch, 1.0), _MOST_STRETCH), min(paused, _MOST_PAUSED)
    pause_s, interrupted = min(max(pause_s, 1e-4), 1.0), min(interrupted, _MOST_INTERRUPTED)
    return ReplicaWork(busy_s * stretch, SCV, delay_s, paused / pause_s, pause_s, interrupted)


def _distance(
    logs: NDArray[np.float64], busy_s: float, medians: Sequence[_RateMedians], times: Sequence[NDArray[np.float64]]
) -> float:
    """times: at which the shares of each rate are computed."""
    work, total = _work(logs, busy_s), 0.0
    for one, at in zip(medians, times, strict=True):
        shares, log_at = np.maximum.accumulate(shares_within(work, one.rate, at)), np.log(at)
        for quantile, measured in zip(QUANTILES, one.took_s, strict=True):
            total += abs(float(np.interp(quantile, shares, log_at)) - math.log(measured))
        if one.occupied:
            total += abs(math.log(work.busy(one.rate) / one.occupied))
    outside = max(-float(logs[1]), float(logs[1]) - math.log(_MOST_STRETCH), 0.0)
    outside += max(float(logs[2]) - math.log(_MOST_PAUSED), 0.0) + max(float(logs[4]) - math.log(_MOST_INTERRUPTED), 0.0)
    return total + outside  # outside the range of a value it changes nothing else
