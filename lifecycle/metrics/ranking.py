"""How well scores put attacks before benign rows, over all thresholds. Pure.

Rows may weigh: a whole weight counts a row so many times. Many sets of weights are judged at once, which is what a bootstrap asks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask

Scores = NDArray[np.floating]
RANKED: Final = ("roc_auc", "pr_auc", "average_precision")


@dataclass(frozen=True, slots=True)
class Curve:
    """What alerting at or over each distinct score does, from the highest score down. All of shape (k,); counts are weighted."""

    thresholds: Floats
    hits: Floats
    false_alarms: Floats

    @property
    def recall(self) -> Floats:
        """Share of the attacks that alert."""
        return np.asarray(self.hits / self.hits[-1], dtype=np.float64)

    @property
    def false_alarm_rate(self) -> Floats:
        """Share of the benign that alert."""
        return np.asarray(self.false_alarms / self.false_alarms[-1], dtype=np.float64)

    @property
    def precision(self) -> Floats:
        """Share of the alerts that are attacks."""
        return np.asarray(self.hits / (self.hits + self.false_alarms), dtype=np.float64)


class RankedRows:
    """Rows in the order of their scores, ready to be weighed. scores, attack: shape (n,), at least one row of each class."""

    def __init__(self, scores: Scores, attack: Mask) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._attack = attack[self._order]
        self._last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        self._thresholds = ordered[self._last].astype(np.float64)

    def curve(self) -> Curve:
        """With every row counted once."""
        hits = np.cumsum(self._attack)[self._last].astype(np.float64)
        return Curve(self._thresholds, hits, (self._last + 1) - hits)

    def place_of(self, threshold: float) -> int:
        """Index of the lowest distinct score that alerts at this threshold; -1 if none does. Compared as scores are served, in FP32."""
        return int(np.count_nonzero(self._thresholds >= np.float32(threshold))) - 1

    def totals(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weighted (hits, false alarms) at or over each distinct score. weights: shape (b, n); results (b, k)."""
        ordered = weights[:, self._order]
        hits = np.cumsum(np.where(self._attack, ordered, 0.0), axis=1)[:, self._last]
        alerts = np.cumsum(ordered, axis=1)[:, self._last]
        return hits, alerts - hits

    def figures(self, weights: Floats) -> Floats:
        """RANKED of each set of weights. weights: shape (b, n), each with both classes; result (b, 3)."""
        return areas(*self.totals(weights))


def ranking(scores: Scores, attack: Mask) -> dict[str, float | None]:
    """roc_auc, pr_auc (trapezoids over precision and recall) and average_precision (steps); None with one class only."""
    if attack.all() or not attack.any():
        return dict.fromkeys(RANKED)
    curve = RankedRows(scores, attack).curve()
    found = areas(curve.hits[None], curve.false_alarms[None])[0]
    return dict(zip(RANKED, found.tolist(), strict=True))


def areas(hits: Floats, alarms: Floats) -> Floats:
    """RANKED of cumulative counts at each distinct score, each row with both classes. Shape (b, k); result (b, 3)."""
    origin = np.zeros((len(hits), 1))
    recall = np.hstack([origin, hits / hits[:, -1:]])
    false_alarm_rate = np.hstack([origin, alarms / alarms[:, -1:]])
    alerts = hits + alarms
    precision = np.hstack([origin + 1.0, np.divide(hits, alerts, out=np.ones_like(hits), where=alerts > 0)])
    roc = np.trapezoid(recall, false_alarm_rate, axis=1)
    pr = np.trapezoid(precision, recall, axis=1)
    steps = np.sum(np.diff(recall, axis=1) * precision[:, 1:], axis=1)
    return np.stack([roc, pr, steps], axis=1)
