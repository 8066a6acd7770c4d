"""What is asked of a plan: events, a latency, and how they come. Pure."""

import math
from dataclasses import dataclass, fields
from typing import Final

from operators.capacity.errors import CapacityError

DAY_S: Final = 86_400.0
MOST_EVENTS: Final = 1e15
_RANGES: Final = {
    "events_per_day": (1, MOST_EVENTS), "p99_s": (1e-4, 60), "peak_factor": (1, 100), "burst_factor": (1, 100),
    "zones": (1, 12), "stream_share": (0, 1), "batch_share": (0, 100), "batch_hours": (0.1, 24), "entities": (0, 1e12),
    "hot_days": (0, 3660), "years": (0, 100),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CapacityDemand:
    """How many events a day, and within which time 99 of 100 requests are to be answered. Raises CapacityError for a value out of range.

    peak_factor: the busiest hour over the mean of the day. burst_factor: bursts of minutes over that hour. zones: of which one may be lost;
    1: one node may be lost instead. stream_share: of the events, by way of Kafka; the others come to the door. batch_share: rows scored in
    batch a day, per event, within batch_hours. entities: hosts and users with features. hot_days: records in the replicas' logs.
    years: records in the archive."""

    events_per_day: float
    p99_s: float
    door: str = "http/features"
    peak_factor: float = 2.0
    burst_factor: float = 1.25
    zones: int = 3
    stream_share: float = 0.5
    batch_share: float = 1.0
    batch_hours: float = 6.0
    entities: float = 10e6
    hot_days: float = 7.0
    years: float = 3.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = _RANGES.get(field.name, (0, 0))
            value = getattr(self, field.name)
            if field.name in _RANGES and not (math.isfinite(value) and low <= value <= high):
                option = "--p99" if field.name == "p99_s" else "--" + field.name.replace("_", "-")
                raise CapacityError(f"{option} is {value:g}, expected {low:g} to {high:g}")

    @property
    def reads_features(self) -> bool:
        """Whether requests at the door have their features read. Where rows are kept near (`/near`), Redis is still sized for all reads:
        after a start each row is read once more."""
        return self.door.endswith(("/features", "/near"))

    @property
    def mean_rate(self) -> float:
        """Events a second, over the day."""
        return self.events_per_day / DAY_S

    @property
    def peak_rate(self) -> float:
        """Events a second that are planned for."""
        return self.mean_rate * self.peak_factor * self.burst_factor

    @property
    def door_rate(self) -> float:
        """Of these, requests a second at the door."""
        return self.peak_rate * (1 - self.stream_share)

    @property
    def stream_rate(self) -> float:
        """Of these, events a second by way of Kafka."""
        return self.peak_rate * self.stream_share


def peak_of(profile: list[float]) -> float:
    """The peak factor of a day: its greatest hour over the mean. profile: 24 numbers, in any unit. Raises CapacityError.

    >>> peak_of([1.0] * 23 + [25.0])
    12.5
    """
    if len(profile) != 24 or not all(math.isfinite(v) and v >= 0 for v in profile) or sum(profile) == 0:
        raise CapacityError(f"--profile has {len(profile)} numbers, expected 24 of 0 or more, one for each hour, not all 0")
    return max(profile) * 24 / sum(profile)
