"""From latencies at a few rates to what a request takes of a replica: the queue whose latencies are nearest. Pure.

Processor time says how long a request keeps the loop if nothing interrupts it; the latencies say by how much more (caches, another
process on the core), what is off the loop, and which pauses there are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.capacity.errors import CapacityError
from operators.capacity.waiting import ReplicaWork, quantiles_s

SCV: Final = 0.25
"""Of a service: requests of one kind differ little; what is rare and long is a pause."""
QUANTILES: Final = (0.5, 0.99)
_MOST_PAUSED: Final = 0.4
_HORIZON: Final = 3.0
_START: Final = (1.3, 0.02, 0.002)


@dataclass(frozen=True, slots=True)
class RateSample:
    """An open load of Poisson arrivals: requests a second, the processor time of the replica for each second, p50 and p99 in seconds."""

    rate: float
    busy: float
    p50_s: float
    p99_s: float


def busy_s_of(samples: Sequence[RateSample]) -> float:
    """Processor seconds of one more request: the slope of the processor's time over the rate, by least squares, so that what the replica
    does without requests does not count. Raises CapacityError for fewer than two rates, or if it does not grow."""
    rates = np.array([s.rate for s in samples])
    if len(set(rates.tolist())) < 2:
        raise CapacityError("the time of a request needs loads of two rates or more; measure more rates")
    slope = float(np.polyfit(rates, np.array([s.busy for s in samples]), 1)[0])
    if slope <= 0:
        raise CapacityError("the processor time did not grow with the rate; measure longer, on a quieter machine")
    return slope


def fit(samples: Sequence[RateSample]) -> ReplicaWork:
    """The work whose queue has the nearest p50 and p99, by the distance of their logarithms: one load that a stall upset says little.

    Raises CapacityError as `busy_s_of`, or if a latency is not above 0."""
    from scipy.optimize import minimize  # a second to import; a plan needs no fit

    busy_s = busy_s_of(samples)
    if min(min(s.p50_s, s.p99_s) for s in samples) <= 0:
        raise CapacityError("a latency is not above 0; measure again")
    least = min(s.p50_s for s in samples)
    start = [math.log(v) for v in (max(least - busy_s, least / 10), *_START)]
    found = minimize(
        _distance, start, args=(busy_s, samples), method="Nelder-Mead", options={"maxfev": 250, "xatol": 0.01, "fatol": 1e-4}
    )
    return _work(found.x, busy_s)


def _work(logs: NDArray[np.float64], busy_s: float) -> ReplicaWork:
    delay_s, stretch, paused, pause_s = (math.exp(min(v, 50.0)) for v in logs.tolist())
    stretch, paused = min(max(stretch, 1.0), 10.0), min(paused, _MOST_PAUSED)
    pause_s = min(max(pause_s, 1e-4), 1.0)
    return ReplicaWork(busy_s * stretch, SCV, delay_s, paused / pause_s, pause_s)


def _distance(logs: NDArray[np.float64], busy_s: float, samples: Sequence[RateSample]) -> float:
    work, total = _work(logs, busy_s), 0.0
    for sample in samples:
        measured = (sample.p50_s, sample.p99_s)
        horizon_s = _HORIZON * max(measured)
        for one, expected in zip(quantiles_s(work, sample.rate, QUANTILES, horizon_s), measured, strict=True):
            total += abs(math.log(min(one, horizon_s) / expected))
    excess = max(-float(logs[1]), 0.0) + max(float(logs[2]) - math.log(_MOST_PAUSED), 0.0)
    return total + excess  # outside the range of a value it changes nothing else
