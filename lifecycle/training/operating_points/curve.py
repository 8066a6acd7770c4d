"""What alerting at each score would do to the validation rows. Pure.

A score at or over the threshold alerts."""

from dataclasses import dataclass

import numpy as np

from lifecycle.arrays import Floats
from lifecycle.datasets.scenario import RequiredFigure
from lifecycle.training.operating_points.validation import ValidationRows


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Figures at each distinct score, from the highest down, by weight. Arrays of shape (k,)."""

    scores: Floats
    recall: Floats
    false_alarm_rate: Floats
    attack_share: float

    @classmethod
    def of(cls, rows: ValidationRows) -> "ThresholdCurve":
        """Needs an attack and a benign row."""
        order = np.argsort(-rows.scores, kind="stable")
        scores, attack, weights = rows.scores[order], rows.attack[order], rows.weights[order]
        last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
        hits, alarms = np.cumsum(weights * attack)[last], np.cumsum(weights * ~attack)[last]
        return cls(scores[last], hits / hits[-1], alarms / alarms[-1], rows.attack_share)

    def figure(self, measure: RequiredFigure, attack_share: float | None = None) -> Floats:
        """`recall`, `precision` or `f1` at each score, for a share of attacks (default: that of the rows)."""
        share = self.attack_share if attack_share is None else attack_share
        hits, alarms = share * self.recall, (1 - share) * self.false_alarm_rate
        match measure:
            case "recall":
                return self.recall
            case "precision":
                return np.asarray(hits / (hits + alarms))
            case "f1":
                return np.asarray(2 * hits / (hits + alarms + share))

    def cost(self, missed_attack: float, false_alarm: float, attack_share: float) -> Floats:
        """What errors cost, a row on average."""
        return np.asarray(
            attack_share * (1 - self.recall) * missed_attack + (1 - attack_share) * self.false_alarm_rate * false_alarm
        )

    def threshold(self, index: int) -> float:
        """Half way to the next lower score, so that rounding on another processor does not change a verdict."""
        here = self.scores[index]
        below = self.scores[index + 1] if index + 1 < len(self.scores) else 0.0
        middle = float(np.float32((here + below) / 2))
        return middle if below < middle <= here else float(here)
