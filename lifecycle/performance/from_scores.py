"""Precision, recall and F1 before labels arrive, from calibrated scores: if a probability is right, the sum of the probabilities of the
alerts is the number of attacks among them. Pure.

It sees what changes in the inputs (data drift). It cannot see that the same scores have come to mean something else (concept drift), so
it is never taken for a figure from labels, and its error is kept once labels are in.

Source: confidence-based performance estimation as in NannyML; Bialek, Kuberski, Perrakis & Bifet (2024), "Estimating model performance
under covariate shift without labels", arXiv:2401.08348. The standard error is that of sums of independent draws."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from lifecycle.arrays import Floats, Mask
from lifecycle.metrics.intervals import Z95
from lifecycle.performance.figures import Figure, NotEstimated, is_estimate
from serving.models.verdicts import CalibrationTable


@dataclass(frozen=True, slots=True)
class ScoreEstimate:
    """low, high: what the bounds of the probabilities allow, and 1.96 standard errors beyond. estimated_from: always `scores`."""

    value: float
    low: float
    high: float
    standard_error: float
    estimated_from: Literal["scores"] = "scores"


ScoreFigure = ScoreEstimate | NotEstimated


@dataclass(frozen=True, slots=True)
class ScorePerformance:
    """What scores say of one set of rows."""

    precision: ScoreFigure
    recall: ScoreFigure
    f1: ScoreFigure


@dataclass(frozen=True, slots=True)
class ScoreError:
    """How far the estimate from scores was from the one from labels. is_within: whether it lies within the bounds of the latter."""

    error: float
    is_within: bool


def score_performance(scores: Floats, alert: Mask, table: CalibrationTable | None) -> ScorePerformance:
    """Estimate. scores, alert: shape (n,); a row without a score is left out. table: None: the bundle has no calibration."""
    known = ~np.isnan(scores)
    if table is None or not known.any():
        nothing = NotEstimated("no_probabilities" if table is None else "no_rows")
        return ScorePerformance(nothing, nothing, nothing)
    step = table.look_up(scores[known])
    middle, low, high = (values[step].astype(np.float64) for values in (table.merged, table.low, table.high))
    in_alerts, in_quiet = (_Sums.of(middle[of], low[of], high[of]) for of in (alert[known], ~alert[known]))
    n = int(alert[known].sum())
    hits, missed = in_alerts.middle, in_quiet.middle
    attacks = hits + missed
    no_attacks = NotEstimated("no_attacks")
    if not attacks:
        return ScorePerformance(_precision(in_alerts, n), no_attacks, no_attacks)
    recall = hits / attacks
    recall_error = sqrt((1 - recall) ** 2 * in_alerts.variance + recall**2 * in_quiet.variance) / attacks
    f1 = 2 * hits / (n + attacks)
    f1_error = sqrt((2 - f1) ** 2 * in_alerts.variance + f1**2 * in_quiet.variance) / (n + attacks)
    return ScorePerformance(
        _precision(in_alerts, n),
        _estimate(recall, _ratio(in_alerts.low, in_quiet.high), _ratio(in_alerts.high, in_quiet.low), recall_error),
        _estimate(
            f1,
            _ratio(2 * in_alerts.low, n - in_alerts.low + in_quiet.high),
            _ratio(2 * in_alerts.high, n - in_alerts.high + in_quiet.low),
            f1_error,
        ),
    )


def score_error(by_scores: ScoreFigure, by_labels: Figure) -> ScoreError | None:
    """The error once labels are in; None while one of them is no figure."""
    if isinstance(by_scores, NotEstimated) or not is_estimate(by_labels):
        return None
    return ScoreError(by_scores.value - by_labels.value, by_labels.low <= by_scores.value <= by_labels.high)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Expected attacks among some rows, and their variance."""

    middle: float
    low: float
    high: float
    variance: float

    @classmethod
    def of(cls, middle: Floats, low: Floats, high: Floats) -> "_Sums":
        return cls(float(middle.sum()), float(low.sum()), float(high.sum()), float(middle @ (1 - middle)))


def _precision(in_alerts: _Sums, n: int) -> ScoreFigure:
    if not n:
        return NotEstimated("no_alerts")
    return _estimate(in_alerts.middle / n, in_alerts.low / n, in_alerts.high / n, sqrt(in_alerts.variance) / n)


def _ratio(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else 0.0


def _estimate(value: float, low: float, high: float, error: float) -> ScoreEstimate:
    return ScoreEstimate(value, max(0.0, min(value, low) - Z95 * error), min(1.0, max(value, high) + Z95 * error), error)
