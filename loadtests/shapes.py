"""The number of users over the time of a load test, as functions of time. Core: knows nothing of Locust, which calls `at` each second.

A shape states shares of its length and of its peak, so it can be played shorter or longer, with fewer or more users."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

Curve = Callable[[float], float]
"""Takes the share of the length that is over, 0 <= x < 1, and gives the share of the peak, more than 0 and at most 1."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A curve, its length, and the number of users at its peak. ramp_s: how long it takes to start or stop as many users as the peak
    has. Raises ValueError unless all are positive."""

    curve: Curve
    seconds: float
    peak: int
    ramp_s: float = 1.0

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.peak >= 1 and self.ramp_s > 0):
            raise ValueError(
                f"a shape of {self.seconds:g} s with a peak of {self.peak} users; expected over 0 s, and at least 1 user"
            )


def at(shape: Shape, run_s: float) -> tuple[int, float] | None:
    """Users, and how many start or stop a second, run_s seconds after the start; None when the test is over.

    >>> at(SHAPES["spike"], 30)
    (40, 40.0)
    """
    if run_s >= shape.seconds:
        return None
    users = max(1, round(shape.peak * shape.curve(max(run_s, 0.0) / shape.seconds)))
    return users, max(1.0, shape.peak / shape.ramp_s)


def levels(*parts: tuple[float, float]) -> Curve:
    """A curve of level parts: (share of the length at which it begins, share of the peak); the first begins at 0.

    >>> [levels((0, 0.1), (0.5, 1))(x) for x in (0.0, 0.4, 0.5, 0.9)]
    [0.1, 0.1, 1, 1]
    """
    begins: Sequence[float] = [begin for begin, _ in parts]
    return lambda x: parts[bisect_right(begins, x) - 1][1]


def day(x: float) -> float:
    """A day from midnight to midnight: the least traffic, 15 % of the peak, at its ends, the peak in the middle."""
    return 0.15 + 0.85 * (1 - math.cos(2 * math.pi * x)) / 2


SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        # A step is long enough to show whether the latency settles; the last goes back to see whether it recovers.
        "steps": Shape(levels((0, 1 / 8), (0.2, 1 / 4), (0.4, 1 / 2), (0.6, 1), (0.8, 1 / 8)), 150, 32, ramp_s=2),
        # An outbreak: ten times the traffic at once. Then time to recover.
        "spike": Shape(levels((0, 0.1), (0.3, 1), (0.6, 0.1)), 75, 40),
        # What only time shows: memory, files, descriptors.
        "soak": Shape(lambda _: 1.0, 1800, 16, ramp_s=10),
        # A day in ten minutes.
        "diurnal": Shape(day, 600, 32, ramp_s=2),
    }
)


def shape_of(name: str, *, users: int | None = None, seconds: float | None = None) -> Shape:
    """A shape by name, with another peak and length if they are given. Raises KeyError for an unknown name, ValueError as Shape does."""
    shape = SHAPES[name]
    return replace(shape, peak=shape.peak if users is None else users, seconds=shape.seconds if seconds is None else seconds)
