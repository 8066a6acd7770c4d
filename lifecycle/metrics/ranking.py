"""How well scores put attacks before benign rows, over all thresholds. Pure.

Rows may weigh: a whole weight counts a row so many times. Many sets of weights are judged at once, which is what a bootstrap asks."""

from collections.abc import Sequence
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
    """Rows in the order of their scores, ready to be weighed. scores, attack: shape (n,), n > 0.

    most: of more distinct scores only about so many are told apart when rows are weighed, `keep` (thresholds) among them; counts at
    those are exact, and the areas are corrected by what the others add to them unweighed. None: all are."""

    def __init__(self, scores: Scores, attack: Mask, *, most: int | None = None, keep: Sequence[float] = ()) -> None:
        order = np.argsort(-scores, kind="stable")
        ordered, is_attack = scores[order], attack[order]
        last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        hits = np.cumsum(is_attack)[last]
        distinct = ordered[last].astype(np.float64)
        self._curve = Curve(distinct, hits.astype(np.float64), (last + 1 - hits).astype(np.float64))
        self._attacks, self._benign = order[is_attack], order[~is_attack]
        places, self._shift = np.arange(len(last)), np.zeros(len(RANKED))
        if most is not None and len(last) > most:
            kept = [_place(distinct, threshold) for threshold in keep]
            even = np.searchsorted(last, np.linspace(0, len(ordered) - 1, most))
            places = np.unique([*even.tolist(), *(p for p in kept if p >= 0), len(last) - 1])
            if is_attack.any() and not is_attack.all():
                whole, part = ((c[None] for c in cs) for cs in self._both(places))
                self._shift = (areas(*whole) - areas(*part))[0]
        self._thresholds, self._hits, self._alarms = distinct[places], hits[places], (last + 1 - hits)[places]

    def _both(self, places: NDArray[np.int64]) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        hits, alarms = self._curve.hits, self._curve.false_alarms
        return (hits, alarms), (hits[places], alarms[places])

    def curve(self) -> Curve:
        """With every row counted once, at every distinct score."""
        return self._curve

    def place_of(self, threshold: float) -> int:
        """Index of the lowest score told apart that alerts at this threshold; -1 if none does. Compared as scores are served, in FP32."""
        return _place(self._thresholds, threshold)

    def totals(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weighted (hits, false alarms) at or over each score told apart. weights: shape (b, n); results (b, k)."""
        return _up_to(weights, self._attacks, self._hits), _up_to(weights, self._benign, self._alarms)

    def areas_of(self, hits: Floats, alarms: Floats) -> Floats:
        """RANKED of `totals`, each with both classes; result (b, 3)."""
        return areas(hits, alarms) + self._shift

    def figures(self, weights: Floats) -> Floats:
        """RANKED of each set of weights. weights: shape (b, n), each with both classes; result (b, 3)."""
        return self.areas_of(*self.totals(weights))


def _place(thresholds: Floats, threshold: float) -> int:
    return int(np.count_nonzero(thresholds >= np.float32(threshold))) - 1


def _up_to(weights: Floats, rows: NDArray[np.int64], ends: NDArray[np.int64]) -> Floats:
    """Sums of the first `ends` of these rows. weights: shape (b, n); result (b, len(ends))."""
    running = np.zeros((len(weights), len(rows) + 1))
    np.cumsum(weights[:, rows], axis=1, out=running[:, 1:])
    return running[:, ends]


def ranking(scores: Scores, attack: Mask) -> dict[str, float | None]:
    """roc_auc, pr_auc (trapezoids over precision and recall) and average_precision (steps); None with one class only."""
    if attack.all() or not attack.any():
        return dict.fromkeys(RANKED)
    curve = RankedRows(scores, attack).curve()
    found = areas(curve.hits[None], curve.false_alarms[None])[0]
    return dict(zip(RANKED, found.tolist(), strict=True))


def areas(hits: Floats, alarms: Floats) -> Floats:
    """RANKED of cumulative counts at each distinct score, NaN what needs a class that is missing. Shape (b, k); result (b, 3)."""
    origin = np.zeros((len(hits), 1))
    recall, false_alarm_rate = (np.hstack([origin, _shares(counts)]) for counts in (hits, alarms))
    alerts = hits + alarms
    precision = np.hstack([origin + 1.0, np.divide(hits, alerts, out=np.ones_like(hits), where=alerts > 0)])
    roc = np.trapezoid(recall, false_alarm_rate, axis=1)
    pr = np.trapezoid(precision, recall, axis=1)
    steps = np.sum(np.diff(recall, axis=1) * precision[:, 1:], axis=1)
    return np.stack([roc, pr, steps], axis=1)


def _shares(counts: Floats) -> Floats:
    """Of the last count of each row; NaN where that is 0."""
    return np.asarray(np.divide(counts, counts[:, -1:], out=np.full(counts.shape, np.nan), where=counts[:, -1:] > 0))
