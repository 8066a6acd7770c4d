"""Figures about alerts and scores. Pure numpy; each is undefined (None) rather than 0 where it has nothing to count.

Checked in the tests against scikit-learn's."""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask

Scores = NDArray[np.floating]
Z95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its 95 % bounds; None where nothing was counted."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """What alerting did. Counts are of rows or of entity-windows."""

    hits: int
    misses: int
    false_alarms: int
    quiet: int

    @property
    def total(self) -> int:
        """All that was judged."""
        return self.hits + self.misses + self.false_alarms + self.quiet

    @property
    def recall(self) -> Interval:
        """Share of the attacks that alert."""
        return wilson(self.hits, self.hits + self.misses)

    @property
    def precision(self) -> Interval:
        """Share of the alerts that are attacks; holds for this attack share only."""
        return wilson(self.hits, self.hits + self.false_alarms)

    @property
    def false_alarm_rate(self) -> Interval:
        """Share of the benign that alert."""
        return wilson(self.false_alarms, self.false_alarms + self.quiet)

    @property
    def attack_share(self) -> float | None:
        """Share of attacks among all that was judged."""
        return (self.hits + self.misses) / self.total if self.total else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        whole = 2 * self.hits + self.misses + self.false_alarms
        return 2 * self.hits / whole if whole else None


def rates(alert: Mask, attack: Mask) -> Rates:
    """Count. Both of shape (n,)."""
    hits, alarms = int((alert & attack).sum()), int((alert & ~attack).sum())
    return Rates(hits, int(attack.sum()) - hits, alarms, int((~attack).sum()) - alarms)


def wilson(count: int, total: int) -> Interval:
    """A proportion with its Wilson 95 % interval. Source: Wilson (1927), JASA 22."""
    if total == 0:
        return Interval(None, None, None)
    share, z2 = count / total, Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def ranking(scores: Scores, attack: Mask) -> dict[str, float | None]:
    """roc_auc, pr_auc (trapezoids over precision and recall) and average_precision (steps); None with one class only."""
    if attack.all() or not attack.any():
        return {"roc_auc": None, "pr_auc": None, "average_precision": None}
    order = np.argsort(-scores, kind="stable")
    ordered, hit = scores[order], attack[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = np.cumsum(hit)[last].astype(np.float64)
    alarms = (last + 1) - hits
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    roc = np.trapezoid(np.append(0.0, recall), np.append(0.0, alarms / alarms[-1]))
    pr = np.trapezoid(np.append(1.0, precision), np.append(0.0, recall))
    return {
        "roc_auc": float(roc),
        "pr_auc": float(pr),
        "average_precision": float(np.sum(np.diff(np.append(0.0, recall)) * precision)),
    }
