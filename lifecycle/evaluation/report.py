"""What a bundle's alerts were worth on rows it never saw: per row and per entity-window, at each operating point, by segment.

Pure: scores and labels in, figures out. Scoring is scoring.py's. Unverified rows are counted as benign (`all`) and, beside it,
left out (`verified`): the truth is in between."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from lifecycle.arrays import Floats, Mask
from lifecycle.evaluation.estimates import Estimates, ThresholdFigures, bins_by_entity, estimate
from lifecycle.evaluation.scored import Scored, by_window
from lifecycle.metrics.calibration import ReliabilityBin, reliability
from lifecycle.metrics.intervals import Interval
from lifecycle.metrics.ranking import RankedRows
from lifecycle.metrics.rates import Rates
from serving.models.manifest import Expected, OperatingPoint

DAY_US: Final = 86_400_000_000
WHAT_IF_RECALLS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
"""Recalls whose highest thresholds the what-if table shows."""
_DRAWN_SHARES: Final = np.unique(np.concatenate([np.linspace(0, 1, 101), np.logspace(-5, 0, 100)]))
Benign = Literal["all", "verified"]


@dataclass(frozen=True, slots=True)
class PointReport:
    """One operating point. per_day figures are None without event times; minutes are an analyst's for the false alarms."""

    scenario: str
    requirement: str
    threshold: float
    rates: Rates
    expected: Expected | None
    alerts_per_day: float | None
    false_alarm_minutes: float
    false_alarm_minutes_per_day: float | None
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """The curve over all thresholds, thinned to some 200 of them. All of shape (k,), the highest threshold first."""

    thresholds: Floats
    recall: Floats
    precision: Floats
    false_alarm_rate: Floats


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """How far the probabilities can be taken at their word. figures: `brier`, `log_loss`, `expected_calibration_error`."""

    figures: Mapping[str, Interval]
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class UnitReport:
    """One way of counting. unit: `row` or `entity_window`. entities: distinct ones with an attack, None if rows have none.

    attacks_per_row, benign_per_row: units for each judged row of the class (1 for rows; fewer windows than rows). rows_per_day: None
    without times."""

    unit: str
    benign: Benign
    attacked_entities: int | None
    ranking: Mapping[str, float | None]
    points: tuple[PointReport, ...]
    ranking_intervals: Mapping[str, Interval] = field(default_factory=dict)
    what_if: tuple[ThresholdFigures, ...] = ()
    curve: DrawnCurve | None = None
    calibration: CalibrationReport | None = None
    attacks_per_row: float = 1.0
    benign_per_row: float = 1.0
    rows_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One value of one segment at one operating point, per row, unverified rows as benign."""

    segment: str
    value: str
    scenario: str
    rates: Rates
    intervals: Mapping[str, Interval] = field(default_factory=dict)


def report(
    scored: Scored,
    points: Mapping[str, OperatingPoint],
    *,
    window_s: int,
    minutes_per_alert: float,
    draws: int | None = None,
    seed: int = 0,
) -> tuple[UnitReport, ...]:
    """Every unit and treatment of the unverified that these rows allow. draws, seed: of the bootstrap."""
    units = [("row", scored)]
    if scored.entity is not None and scored.at_us is not None:
        units.append(("entity_window", by_window(scored, window_s)))
    days = None if scored.at_us is None or len(scored.at_us) == 0 else max(int(np.ptp(scored.at_us)), 1) / DAY_US
    reports = []
    for unit, rows in units:
        choices: list[tuple[Benign, Mask]] = [("all", np.ones(len(rows.score), dtype=bool))]
        if not rows.verified.all():
            choices.append(("verified", rows.verified))
        for benign, mask in choices:
            of = scored if benign == "all" else scored.take(scored.verified)
            unit_report = _Unit(unit, benign, rows.take(mask), of, days, minutes_per_alert)
            reports.append(unit_report.report(points, draws, seed))
    return tuple(reports)


def by_segment(scored: Scored, scenario: str, point: OperatingPoint, most: int = 12) -> tuple[SegmentReport, ...]:
    """The most frequent values of each segment."""
    found = []
    for name, values in scored.segments.items():
        kinds, counts = np.unique(values.astype(str), return_counts=True)
        for value in kinds[np.argsort(-counts, kind="stable")][:most]:
            part = scored.take(values.astype(str) == value)
            at = estimate(part, (point.threshold,)).at[0]
            found.append(SegmentReport(name, str(value), scenario, at.rates, at.intervals))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Unit:
    """One way of counting. judged: what is counted; rows: the rows that it was made of."""

    name: str
    benign: Benign
    judged: Scored
    rows: Scored
    days: float | None
    minutes: float

    def report(self, points: Mapping[str, OperatingPoint], draws: int | None, seed: int) -> UnitReport:
        judged, attack = self.judged, self.judged.attack
        ranked = RankedRows(judged.score, attack) if attack.any() and not attack.all() else None
        what_if = () if ranked is None else _thresholds_at(ranked, WHAT_IF_RECALLS)
        estimates = estimate(judged, (*(p.threshold for p in points.values()), *what_if), draws=draws, seed=seed)
        attacked = None if judged.entity is None else len(set(judged.entity[attack].tolist()))
        return UnitReport(
            self.name, self.benign, attacked,
            {name: interval.value for name, interval in estimates.ranking.items()},
            tuple(self._point(*named, at) for named, at in zip(points.items(), estimates.at, strict=False)),
            estimates.ranking, estimates.at[len(points) :], None if ranked is None else _drawn(ranked),
            _calibration(judged, estimates, draws, seed),
            _per(int(attack.sum()), int(self.rows.attack.sum())), _per(int((~attack).sum()), int((~self.rows.attack).sum())),
            None if self.days is None else len(self.rows.score) / self.days,
        )  # fmt: skip

    def _point(self, name: str, point: OperatingPoint, at: ThresholdFigures) -> PointReport:
        counted = at.rates
        cost = counted.false_alarms * self.minutes
        return PointReport(
            scenario=name, requirement=point.requirement, threshold=point.threshold, rates=counted, expected=point.expected,
            alerts_per_day=None if self.days is None else (counted.hits + counted.false_alarms) / self.days,
            false_alarm_minutes=cost, false_alarm_minutes_per_day=None if self.days is None else cost / self.days,
            intervals=at.intervals,
        )  # fmt: skip


def _calibration(judged: Scored, estimates: Estimates, draws: int | None, seed: int) -> CalibrationReport | None:
    if judged.probability is None or len(judged.score) == 0:
        return None
    bins = reliability(judged.probability, judged.attack)
    if judged.entity is not None:
        bins = bins_by_entity(judged, judged.probability, bins, draws=draws, seed=seed)
    return CalibrationReport(estimates.calibration, bins)


def _thresholds_at(ranked: RankedRows, recalls: tuple[float, ...]) -> tuple[float, ...]:
    """The highest threshold that reaches each recall, without repetition."""
    curve = ranked.curve()
    places = np.unique(np.searchsorted(curve.recall, np.array(recalls) - 1e-12))
    return tuple(curve.thresholds[places].tolist())


def drawn_curve(scored: Scored) -> DrawnCurve:
    """The thinned curve of rows with both classes."""
    return _drawn(RankedRows(scored.score, scored.attack))


def _drawn(ranked: RankedRows) -> DrawnCurve:
    """Thresholds spread over recall and, finer towards 0, over the false-alarm rate."""
    curve = ranked.curve()
    places = np.unique(
        np.concatenate(
            [np.searchsorted(curve.recall, _DRAWN_SHARES), np.searchsorted(curve.false_alarm_rate, _DRAWN_SHARES), [0]]
        )
    )
    places = places[places < len(curve.thresholds)]
    return DrawnCurve(curve.thresholds[places], curve.recall[places], curve.precision[places], curve.false_alarm_rate[places])


def _per(units: int, rows: int) -> float:
    return units / rows if rows else 0.0


def spread(values: list[float | None]) -> Interval:
    """Mean, and mean -+ one standard deviation (n - 1), over seeds; None if any seed has none."""
    known = [v for v in values if v is not None]
    if len(known) < len(values) or not known:
        return Interval(None, None, None, "seeds")
    mean = float(np.mean(known))
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return Interval(mean, mean - sd, mean + sd, "seeds", len(known))
