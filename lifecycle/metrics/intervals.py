"""A figure with its 95 % bounds, and the bounds of a share of independent rows. Pure.

Where rows of one entity are alike, lifecycle.evaluation.bootstrap makes the bounds instead."""

from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

Z95: Final = 1.959963984540054
Method = Literal["wilson", "bootstrap", "delong", "seeds", "bounds"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bounds; None where nothing was counted.

    method: how the bounds were made; `bounds`: from the bounds of other figures. units: how many independent things, rows or
    entities, the bounds rest on; 0: not said."""

    value: float | None
    low: float | None
    high: float | None
    method: Method = "wilson"
    units: int = 0


UNDEFINED: Final = Interval(None, None, None)


def wilson(count: int, total: int) -> Interval:
    """A proportion of independent trials with its Wilson 95 % interval. Source: Wilson (1927), JASA 22."""
    if total == 0:
        return UNDEFINED
    low, high = wilson_bounds(count / total, total)
    return Interval(count / total, low, high, "wilson", total)


def wilson_bounds(share: float, total: float) -> tuple[float, float]:
    """The bounds for a share seen in `total` independent trials; total may be an effective number."""
    z2 = Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
