"""How long labels take: the share of all labels that are in at an age, from the labels that are in. Pure.

A label is seen only if it is in by now, so short delays of recent rows are seen and long ones are not (right truncation). The reverse-time
product-limit estimator corrects that. Source: Lagakos, Barraj & De Gruttola (1988), "Nonparametric analysis of truncated survival data,
with application to AIDS", Biometrika 75(3); Kalbfleisch & Lawless (1989), JASA 84(406)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from lifecycle.arrays import Floats
from lifecycle.performance.labelled_rows import ATTACK, BENIGN, BY_ALERT, RowsWithLabels

LEAST_LABELS: Final = 30
"""Of a class and route that has a curve of its own; fewer take the next coarser one."""
LEAST_AT_RISK: Final = 10
"""Delays with fewer rows to compare them with say nothing; the curve ends before them."""
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """share[i]: of the labels that ever come, how many are in when their row is delays_us[i] old. Both ascending, shape (k,), k > 0."""

    delays_us: Floats
    share: Floats
    labels: int

    def share_in(self, age_us: Floats) -> Floats:
        """The share that is in at each age, shape as given: 0 below the shortest delay, 1 from the longest on."""
        place = np.searchsorted(self.delays_us, age_us, side="right")
        return np.asarray(np.concatenate([[0.0], self.share])[place])

    def age_with(self, share: float) -> float:
        """The age in microseconds at which this share is in."""
        return float(self.delays_us[int(np.argmax(self.share >= share - 1e-12))])


def delay_curve(delay_us: Floats, age_us: Floats) -> DelayCurve | None:
    """Of labels that are in. delay_us: how long each took; age_us: how old its row is now, not less. Shape (m,). None: too few say
    anything.

    The curve is of labels that come within the longest delay seen; what may take longer cannot be known from them."""
    if len(delay_us) < LEAST_LABELS:
        return None
    steps, counts = np.unique(delay_us, return_counts=True)
    at_risk = np.searchsorted(np.sort(delay_us), steps, side="right") - np.searchsorted(np.sort(age_us), steps, side="left")
    known = np.flatnonzero(at_risk >= LEAST_AT_RISK)
    if not len(known):
        return None
    last = int(known[-1]) + 1
    stay = np.clip(1.0 - counts[:last] / at_risk[:last], 0.0, 1.0)
    share = np.append(np.cumprod(stay[:0:-1])[::-1], 1.0)
    if share[0] <= 0.0 and last > 1:  # somewhere all that could be compared came at once
        keep = share > 0
        steps, share = steps[:last][keep], share[keep]
        return DelayCurve(steps, share, len(delay_us))
    return DelayCurve(steps[:last], share, len(delay_us))


@dataclass(frozen=True, slots=True)
class Delays:
    """Curves by route (labels of alerts, all others) and label: attacks may take longer to confirm than false alarms to close.

    curves: (is of an alert's label, label code) -> curve; None: not known yet."""

    curves: Mapping[tuple[bool, int], DelayCurve | None]

    def share_in(self, by_alert: bool, label: int, age_us: Floats) -> Floats | None:
        """The share of such labels that is in at each age; None: not known."""
        curve = self.curves.get((by_alert, label))
        return None if curve is None else curve.share_in(age_us)

    def maturity(self, by_alert: bool, age_us: Floats) -> float | None:
        """Of rows of these ages: the share of the labels that are in, of the class whose labels come later. None: not known."""
        shares = [self.share_in(by_alert, label, age_us) for label in (ATTACK, BENIGN)]
        known = [float(share.mean()) for share in shares if share is not None and len(age_us)]
        return min(known, default=None)

    def age_with(self, share: float) -> float | None:
        """The age in microseconds at which this share of the labels of every kind is in; None: not known."""
        curves = [curve for curve in self.curves.values() if curve is not None]
        return max((curve.age_with(share) for curve in curves), default=None)


def delays_of(rows: RowsWithLabels, now_us: int) -> Delays:
    """From all labels of these rows. A kind with few labels has the curve of its route, or else of all labels."""
    has_label = rows.is_definite & ~np.isnan(rows.delay_us)
    age = (now_us - rows.times_us).astype(np.float64)
    by_alert = rows.route == BY_ALERT

    def curve(which: np.ndarray) -> DelayCurve | None:
        return delay_curve(rows.delay_us[which], np.maximum(age[which], rows.delay_us[which]))

    overall = curve(has_label)
    found: dict[tuple[bool, int], DelayCurve | None] = {}
    for route in (True, False):
        of_route = curve(has_label & (by_alert == route)) or overall
        for label in (ATTACK, BENIGN):
            found[route, label] = curve(has_label & (by_alert == route) & (rows.label == label)) or of_route
    return Delays(found)


def in_days(us: float | None) -> float | None:
    """Microseconds as days."""
    return None if us is None else us / DAY_US
