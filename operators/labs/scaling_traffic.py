"""Traffic to simulate: seeded arrivals of a day, of bursts, of a shift that begins. Pure: the generator comes in."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rate = Callable[[float], float]
"""Requests a second at a time in seconds since the start."""


@dataclass(frozen=True, slots=True)
class TrafficPattern:
    """draw: the rate of one run, which may itself be random. most: a rate that it never exceeds. says: for people."""

    name: str
    length_s: float
    most: float
    draw: Callable[[np.random.Generator], Rate]
    says: str

    def arrivals(self, rng: np.random.Generator) -> tuple[Rate, NDArray[np.float64]]:
        """The rate of this run and its arrival times in seconds, rising: a Poisson process by thinning."""
        rate = self.draw(rng)
        count = rng.poisson(self.most * self.length_s)
        times = np.sort(rng.uniform(0, self.length_s, count))
        seconds = np.arange(int(self.length_s) + 2)
        kept = rng.uniform(0, self.most, count) < np.interp(times, seconds, [rate(float(t)) for t in seconds])
        return rate, times[kept]


def _diurnal(rng: np.random.Generator) -> Rate:
    """A day in two hours: a night of 15/s, a morning that climbs, a noon dip, a peak of 150/s; wandering by a tenth."""
    phase = rng.uniform(0, 2 * math.pi)

    def rate(t: float) -> float:
        day = t / 7200
        hill = math.sin(math.pi * min(max((day - 0.2) / 0.6, 0.0), 1.0)) ** 2
        dip = 1 - 0.25 * math.exp(-(((day - 0.5) / 0.04) ** 2))
        return (15 + 135 * hill * dip) * (1 + 0.1 * math.sin(2 * math.pi * t / 420 + phase))

    return rate


def _bursts(rng: np.random.Generator) -> Rate:
    """20/s, and six times that for one to three minutes, about every eight; it climbs within ten seconds."""
    bursts, t = [], 120.0
    while t < 3600:
        bursts.append((t, float(rng.uniform(60, 180))))
        t += bursts[-1][1] + float(rng.exponential(420))

    def rate(t: float) -> float:
        lift = max((min((t - at) / 10, (at + long_s - t) / 10, 1.0) for at, long_s in bursts), default=0.0)
        return 20 + 100 * max(lift, 0.0)

    return rate


SHIFT_AT_S: Final = 1800.0


def _shift(rng: np.random.Generator) -> Rate:
    """15/s until a shift begins on the half hour: 140/s within half a minute, give or take some seconds, for half an hour."""
    begins = SHIFT_AT_S + float(rng.uniform(0, 20))
    return lambda t: 15 + 125 * min(max((t - begins) / 30, 0.0), 1.0) * (t < begins + 1800)


TRAFFIC: Final[Mapping[str, TrafficPattern]] = {
    t.name: t
    for t in (
        TrafficPattern("diurnal", 7200, 170, _diurnal, "a day in two hours, 15 to 150 requests a second"),
        TrafficPattern("bursts", 3600, 125, _bursts, "20 requests a second, and 120 for minutes at a time, within ten seconds"),
        TrafficPattern(
            "shift", 4800, 145, _shift, "15 requests a second until a shift begins: 140 within half a minute, at a known time"
        ),
    )
}
