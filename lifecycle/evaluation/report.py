"""What a bundle's alerts were worth on rows it never saw: per row and per entity-window, at each operating point, by segment.

Pure: scores and labels in, figures out. Scoring is evaluate.py's. Unverified rows are counted as benign (`all`) and, beside it,
left out (`verified`): the truth is in between."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.metrics import Interval, Rates, ranking, rates
from serving.models.manifest import Expected, OperatingPoint

DAY_US: Final = 86_400_000_000
Benign = Literal["all", "verified"]


@dataclass(frozen=True, slots=True)
class Scored:
    """Judged rows, arrays of shape (n,). entity and at_us: None without an entity or time. segments: name -> value of each row."""

    score: NDArray[np.float32]
    attack: Mask
    verified: Mask
    entity: NDArray[np.object_] | None
    at_us: NDArray[np.int64] | None
    segments: Mapping[str, NDArray[np.object_]]

    def take(self, rows: Mask) -> "Scored":
        """Some of the rows."""
        return Scored(
            self.score[rows], self.attack[rows], self.verified[rows],
            None if self.entity is None else self.entity[rows],
            None if self.at_us is None else self.at_us[rows],
            {name: values[rows] for name, values in self.segments.items()},
        )  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class UnitReport:
    """One way of counting. unit: `row` or `entity_window`. entities: distinct ones with an attack, None if rows have none."""

    unit: str
    benign: Benign
    attacked_entities: int | None
    ranking: Mapping[str, float | None]
    points: tuple[PointReport, ...]


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One value of one segment at one operating point, per row, unverified rows as benign."""

    segment: str
    value: str
    scenario: str
    rates: Rates


def report(
    scored: Scored, points: Mapping[str, OperatingPoint], *, window_s: int, minutes_per_alert: float
) -> tuple[UnitReport, ...]:
    """Every unit and treatment of the unverified that these rows allow."""
    units = [("row", scored)]
    if scored.entity is not None and scored.at_us is not None:
        units.append(("entity_window", by_window(scored, window_s)))
    whole = None if scored.at_us is None or len(scored.at_us) == 0 else max(int(np.ptp(scored.at_us)), 1) / DAY_US
    reports = []
    for unit, rows in units:
        choices: list[tuple[Benign, Mask]] = [("all", np.ones(len(rows.score), dtype=bool))]
        if not rows.verified.all():
            choices.append(("verified", rows.verified))
        for benign, mask in choices:
            part = rows.take(mask)
            judged = tuple(_judge(part, name, point, whole, minutes_per_alert) for name, point in points.items())
            attacked = None if part.entity is None else len(set(part.entity[part.attack].tolist()))
            reports.append(UnitReport(unit, benign, attacked, ranking(part.score, part.attack), judged))
    return tuple(reports)


def by_segment(scored: Scored, scenario: str, point: OperatingPoint, most: int = 12) -> tuple[SegmentReport, ...]:
    """The most frequent values of each segment."""
    found = []
    for name, values in scored.segments.items():
        kinds, counts = np.unique(values.astype(str), return_counts=True)
        for value in kinds[np.argsort(-counts, kind="stable")][:most]:
            part = scored.take(values.astype(str) == value)
            found.append(
                SegmentReport(name, str(value), scenario, rates(part.score >= np.float32(point.threshold), part.attack))
            )
    return tuple(found)


def by_window(scored: Scored, window_s: int) -> Scored:
    """One row per entity and window: its highest score; an attack if any row is; verified if an attack, or any row is verified."""
    if scored.entity is None or scored.at_us is None:
        raise ValueError("entity-windows need an entity and event times")
    names, who = np.unique(scored.entity.astype(str), return_inverse=True)
    window = scored.at_us // (window_s * 1_000_000)
    keys, which = np.unique(np.stack([who, window]), axis=1, return_inverse=True)
    which, n = which.ravel(), keys.shape[1]
    score = np.full(n, -np.inf, dtype=np.float32)
    np.maximum.at(score, which, scored.score)
    attack = np.bincount(which, weights=scored.attack, minlength=n) > 0
    verified = np.bincount(which, weights=scored.verified, minlength=n) > 0
    return Scored(score, attack, verified, names[keys[0]].astype(object), keys[1] * window_s * 1_000_000, {})


def _judge(part: Scored, name: str, point: OperatingPoint, days: float | None, minutes: float) -> PointReport:
    alert = part.score >= np.float32(point.threshold)
    counted = rates(alert, part.attack)
    cost = counted.false_alarms * minutes
    return PointReport(
        scenario=name, requirement=point.requirement, threshold=point.threshold, rates=counted, expected=point.expected,
        alerts_per_day=None if days is None else int(alert.sum()) / days,
        false_alarm_minutes=cost, false_alarm_minutes_per_day=None if days is None else cost / days,
    )  # fmt: skip


def spread(values: list[float | None]) -> Interval:
    """Mean, and mean -+ one standard deviation (n - 1), over seeds; None if any seed has none."""
    known = [v for v in values if v is not None]
    if len(known) < len(values) or not known:
        return Interval(None, None, None)
    mean = float(np.mean(known))
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return Interval(mean, mean - sd, mean + sd)
