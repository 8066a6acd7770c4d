"""What may happen to a plan: an ordinary day, a burst, a node, a zone or a primary of Redis that is lost. Values only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Fault = Literal["none", "node", "zone", "shard"]


@dataclass(frozen=True, slots=True)
class FaultTimes:
    """Assumed durations of the consequences of a fault. detect_s: until nobody asks a lost replica. failover_s: until a Redis replica
    answers for a lost primary. feature_timeout_s: how long a read waits for one that does not answer (VEDETTE_FEATURE_TIMEOUT_S).
    stalled_s: until it is not asked any more, and its entities are answered at once without their features."""

    detect_s: float = 2.0
    failover_s: float = 2.0
    feature_timeout_s: float = 0.05
    stalled_s: float = 1.0


@dataclass(frozen=True, slots=True)
class SimScenario:
    """One simulated scenario: the load over time and a fault. rates: (from second, times the planned peak), the first from 0. fault: from
    `fault_s` on, to the end except for a primary.

    is_beyond: more comes than was planned for, so refusals are right, and only what follows is judged."""

    name: str
    rates: tuple[tuple[float, float], ...]
    fault: Fault = "none"
    fault_s: float = 0.0
    end_s: float = 10.0
    is_beyond: bool = False

    def rate(self, at: float) -> float:
        """Times the planned peak at this second."""
        return next(times for since, times in reversed(self.rates) if since <= at)


def day(peak_factor: float, burst_factor: float, length_s: float, profile: Sequence[float] = ()) -> SimScenario:
    """A day, an hour in a 24th of `length_s`, with a burst in each third hour. profile: 24 numbers; without them a sine whose peak is
    `peak_factor` times its mean (a factor above 2 cuts the night off at 0)."""
    hours = list(profile) or [max(1 + (peak_factor - 1) * math.sin(math.pi * (h - 8) / 12), 0.02) for h in range(24)]
    hour_s, greatest = length_s / 24, max(hours)
    rates: list[tuple[float, float]] = []
    for number, hour in enumerate(hours):
        level = hour / greatest / burst_factor
        rates.append((number * hour_s, level))
        if number % 3 == 2:
            rates += [(number * hour_s + hour_s / 4, level * burst_factor), (number * hour_s + hour_s / 2, level)]
    return SimScenario("day", tuple(rates), end_s=length_s)


def scenarios(
    peak_factor: float, burst_factor: float, length_s: float, profile: Sequence[float] = (), *, zones: int = 3
) -> tuple[SimScenario, ...]:
    """All that a plan of so many zones is made for, each `length_s` long. At the fault the planned peak is under way."""
    third = length_s / 3
    every = (
        day(peak_factor, burst_factor, length_s, profile),
        SimScenario("peak", ((0.0, 1.0),), end_s=length_s),
        SimScenario("burst of twice the peak", ((0.0, 1.0), (third, 2.0), (third + 1.0, 1.0)), end_s=length_s, is_beyond=True),
        SimScenario("node lost", ((0.0, 1.0),), "node", third, length_s),
        SimScenario("zone lost", ((0.0, 1.0),), "zone", third, length_s),
        SimScenario("Redis primary lost", ((0.0, 1.0),), "shard", third, length_s),
    )
    return tuple(one for one in every if one.fault != "zone" or zones > 1)


SHORTEST_S: Final = 9.0
"""Of a scenario: a fault after a third, the time to see it, and as long to judge what follows."""
