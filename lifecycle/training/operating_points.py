"""Operating points: the threshold that a scenario's requirement asks for, chosen on validation scores. Pure.

A score at or over the threshold alerts. The test part is never used here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.datasets.detector import Detector, Scenario
from serving.models.manifest import Expected, OperatingPoint


@dataclass(frozen=True, slots=True)
class _Curve:
    """What alerting at or over each distinct score would do, from the highest score down. All of shape (k,)."""

    scores: Floats
    recall: Floats
    precision: Floats
    f1: Floats
    false_alarm_rate: Floats


def choose_points(
    detector: Detector, scores: NDArray[np.float32], attack: NDArray[np.bool_], weights: Floats
) -> dict[str, OperatingPoint]:
    """One operating point per scenario. weights: what each row counts for, shape (n,), positive."""
    curve = _curve(scores.astype(np.float64), attack, weights)
    share = float(weights[attack].sum() / weights.sum())
    chosen = {name: _choose(curve, scenario) for name, scenario in detector.operating_points.items()}
    thresholds = {name: _threshold(curve, index) for name, (index, _) in chosen.items()}
    # Rows that alert in the scenario of the highest recall are at least `investigate` in every other one.
    cautious = min((t for name, t in thresholds.items() if detector.operating_points[name].rule[0] == "recall"), default=1.0)
    return {
        name: OperatingPoint(
            threshold=thresholds[name],
            investigate=min(cautious, thresholds[name]),
            requirement=detector.operating_points[name].require,
            expected=_expected(curve, index, share, len(attack), is_met=is_met),
        )
        for name, (index, is_met) in chosen.items()
    }


def _curve(scores: Floats, attack: NDArray[np.bool_], weights: Floats) -> _Curve:
    order = np.argsort(-scores, kind="stable")
    scores, attack, weights = scores[order], attack[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits, alarms = np.cumsum(weights * attack)[last], np.cumsum(weights * ~attack)[last]
    recall, false_alarms = hits / hits[-1], alarms / alarms[-1]
    precision = hits / (hits + alarms)
    f1 = 2 * hits / (hits + alarms + hits[-1])
    return _Curve(scores[last], recall, precision, f1, false_alarms)


def _choose(curve: _Curve, scenario: Scenario) -> tuple[int, bool]:
    """(index into the curve, whether the requirement is met): of the thresholds that meet it, the one with the best F1.

    So a requirement that is easy to meet does not push the threshold to where it is only just met. If none meets it: the one that
    comes nearest."""
    measure, least = scenario.rule
    values = {"recall": curve.recall, "f1": curve.f1, "precision": curve.precision}[measure]
    enough = np.flatnonzero(values >= min(least + scenario.margin, 1.0))
    if len(enough) == 0:
        best = int(np.argmax(values))
        return best, bool(values[best] >= least)
    return int(enough[np.argmax(curve.f1[enough])]), True


def _threshold(curve: _Curve, index: int) -> float:
    """Half way to the next lower score, so that rounding on another processor does not change a verdict."""
    here = curve.scores[index]
    below = curve.scores[index + 1] if index + 1 < len(curve.scores) else 0.0
    middle = float(np.float32((here + below) / 2))
    return middle if below < middle <= here else float(here)


def _expected(curve: _Curve, index: int, share: float, rows: int, *, is_met: bool) -> Expected:
    return Expected(
        precision=float(curve.precision[index]),
        recall=float(curve.recall[index]),
        f1=float(curve.f1[index]),
        false_alarm_rate=float(curve.false_alarm_rate[index]),
        attack_share=share,
        rows=rows,
        is_met=is_met,
    )
