"""How much worse one model's alerts are than another's on the same rows, with bounds, and what that means for a margin. Pure.

Harm is a difference of shares: recall lost, or false alarms added; above 0 the challenger is worse. Entities are drawn, not rows, as
rows of one entity are alike."""

from dataclasses import dataclass
from math import ceil, hypot, log
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask, entity_codes
from lifecycle.evaluation.bootstrap import Clusters, bootstrap
from lifecycle.metrics.intervals import UNDEFINED, Interval, wilson_bounds

GateVerdict = Literal["better", "no_worse", "worse", "undecided", "not_judged"]
_TAIL: Final = 0.025


@dataclass(frozen=True, slots=True)
class PairedAlerts:
    """Rows that both models judged, arrays of shape (n,). champion, challenger: whether it alerts. owner: the entity, or the row itself.

    weights: how many rows of the traffic a row stands for. family: of attacks; "" where it is not known."""

    champion: Mask
    challenger: Mask
    attack: Mask
    family: NDArray[np.object_]
    owner: NDArray[np.object_]
    weights: Floats

    def __len__(self) -> int:
        return len(self.attack)

    def take(self, rows: Mask) -> "PairedAlerts":
        """Some of the rows."""
        return PairedAlerts(
            self.champion[rows],
            self.challenger[rows],
            self.attack[rows],
            self.family[rows],
            self.owner[rows],
            self.weights[rows],
        )

    def beside(self, others: "PairedAlerts") -> "PairedAlerts":
        """These rows and others."""
        return PairedAlerts(
            *(
                np.concatenate([getattr(self, name), getattr(others, name)])
                for name in ("champion", "challenger", "attack", "family", "owner", "weights")
            )
        )


@dataclass(frozen=True, slots=True)
class Harm:
    """Shares of the rows that alert by each model, and the harm with 95 % bounds. units: entities that bear on it."""

    champion: float | None
    challenger: float | None
    harm: Interval
    rows: int
    units: int


def paired_harm(rows: PairedAlerts, *, alerts_are_good: bool, draws: int, seed: int) -> Harm:
    """Harm on rows of one class. alerts_are_good: attacks, where an alert is right; else benign rows.

    Draws of few entities, or of rows that hardly differ, bound too tightly; so the bounds are at least those of as many independent rows
    as there are entities (fewer, where some weigh much more than others: Kish's effective number)."""
    n = len(rows)
    if n == 0:
        return Harm(None, None, UNDEFINED, 0, 0)
    names, of_row = entity_codes(rows.owner)
    sums = np.stack(
        [
            np.bincount(of_row, weights=rows.weights * column, minlength=len(names))
            for column in (np.ones(n), rows.champion, rows.challenger)
        ],
        axis=1,
    )
    whole = sums.sum(axis=0)
    shares = whole[1:] / whole[0]
    sign = 1.0 if alerts_are_good else -1.0
    value = sign * float(shares[0] - shares[1])

    def harms(weights: Floats) -> Floats:
        totals = weights @ sums
        return np.asarray(sign * (totals[:, 1:2] - totals[:, 2:3]) / totals[:, :1], dtype=np.float64)

    k = len(names)
    clusters = Clusters(np.arange(k), k, (np.arange(k),), is_by_row=True)
    drawn = bootstrap(clusters, [harms], draws=draws, seed=seed)[0][:, 0]
    low, high = (float(q) for q in np.quantile(drawn, (_TAIL, 1 - _TAIL)))
    units = max(1.0, min(float(k), float(sums[:, 0].sum() ** 2 / (sums[:, 0] ** 2).sum())))
    right, wrong = rows.champion == alerts_are_good, rows.challenger == alerts_are_good
    lost, gained = (float((rows.weights * rows_).sum() / whole[0]) for rows_ in (right & ~wrong, ~right & wrong))
    least, most = _of_difference(lost, gained, units)
    low, high = min(low, least), max(high, most)
    interval = Interval(value, max(-1.0, min(low, value)), min(1.0, max(high, value)), "bootstrap", int(units))
    return Harm(float(shares[0]), float(shares[1]), interval, n, k)


def _of_difference(lost: float, gained: float, units: float) -> tuple[float, float]:
    """Bounds of lost - gained from Wilson's bounds of each share. Source: Zou & Donner (2008), Statistics in Medicine 27(10)."""
    (lost_low, lost_high), (gained_low, gained_high) = wilson_bounds(lost, units), wilson_bounds(gained, units)
    difference = lost - gained
    return (
        difference - hypot(lost - lost_low, gained_high - gained),
        difference + hypot(lost_high - lost, gained - gained_low),
    )


def verdict_of(harm: Interval, margin: float) -> GateVerdict:
    """What the bounds of a harm say about a margin: better and no_worse need evidence, and so does worse."""
    if harm.value is None or harm.low is None or harm.high is None:
        return "not_judged"
    if harm.high < 0:
        return "better"
    if harm.high <= margin:
        return "no_worse"
    return "worse" if harm.low > margin else "undecided"


def units_needed(harm: Interval, margin: float) -> int | None:
    """About how many more entities would decide, should the harm stay as it is; None where it is at the margin or beyond."""
    if harm.value is None or harm.high is None or harm.units == 0:
        return None
    room = margin - harm.value
    if room <= 0:
        return None
    needed = harm.units * ((harm.high - harm.value) / room) ** 2
    if harm.value == 0:  # nothing was lost: the rule of three, for this tail
        needed = max(needed, log(_TAIL) / log(1 - min(margin, 0.99)))
    return max(1, ceil(needed) - harm.units)
