"""What a threshold costs at a site: alerts and false alerts a day, analyst time, and the precision at the site's attack share. Pure.

Recall and false-alarm rate are taken from judged rows; they carry over to another attack share, precision does not. Bounds of a sum or
a ratio are put together from those of its parts by MOVER: Zou & Donner (2008), Statistics in Medicine 27(10); Donner & Zou (2012),
Statistical Methods in Medical Research 21(4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, hypot, inf, log

from lifecycle.evaluation.report import UnitReport
from lifecycle.metrics.intervals import UNDEFINED, Interval


@dataclass(frozen=True, slots=True)
class Site:
    """Where alerts would arrive. attack_share: of its events. minutes: an analyst's for one false alarm, from and to.

    analysts: people who look at alerts in a day, each for `hours`; None: not said."""

    events_per_day: float
    attack_share: float
    minutes: tuple[float, float] = (5.0, 10.0)
    analysts: float | None = None
    hours: float = 8.0

    def __post_init__(self) -> None:
        for name, value in (("events_per_day", self.events_per_day), ("hours", self.hours), ("analysts", self.analysts)):
            if value is not None and not 0 < value < inf:
                raise ValueError(f"{name} is {value}, expected a number over 0")
        if not 0 <= self.attack_share <= 1:
            raise ValueError(f"attack_share is {self.attack_share}, expected 0 to 1, e.g. 0.001 for one event in a thousand")
        if not 0 <= self.minutes[0] <= self.minutes[1] < inf:
            raise ValueError(f"minutes are {self.minutes[0]:g} to {self.minutes[1]:g}, expected FROM <= TO, e.g. 5 to 10")


@dataclass(frozen=True, slots=True)
class Cost:
    """One threshold. Per day: alerts, false alerts, attacks that raise none. precision: at the site's attack share.

    minutes: a day, at the lower and at the upper time for a false alarm; team_shares: the same as a share of the team's day."""

    threshold: float
    recall: Interval
    false_alarm_rate: Interval
    precision: Interval
    alerts: Interval
    false_alerts: Interval
    missed: Interval
    minutes: tuple[Interval, Interval]
    team_shares: tuple[Interval, Interval] | None


def cost(threshold: float, intervals: Mapping[str, Interval], site: Site, unit: UnitReport) -> Cost:
    """Of one threshold. intervals: `recall` and `false_alarm_rate`, as measured. unit: what an alert is (a row, an entity-window)."""
    recall, false_alarm_rate = intervals["recall"], intervals["false_alarm_rate"]
    attacks = site.events_per_day * site.attack_share * unit.attacks_per_row
    benign = site.events_per_day * (1 - site.attack_share) * unit.benign_per_row
    hits, false_alerts = _scaled(recall, attacks), _scaled(false_alarm_rate, benign)
    minutes = tuple(_scaled(false_alerts, each) for each in site.minutes)
    team = None if site.analysts is None else site.analysts * site.hours * 60
    return Cost(
        threshold, recall, false_alarm_rate, precision_at(hits, false_alerts), _sum(hits, false_alerts), false_alerts,
        _missed(recall, attacks), (minutes[0], minutes[1]),
        None if team is None else (_scaled(minutes[0], 1 / team), _scaled(minutes[1], 1 / team)),
    )  # fmt: skip


def point_costs(unit: UnitReport, site: Site) -> dict[str, Cost]:
    """Of every operating point."""
    return {p.scenario: cost(p.threshold, p.intervals, site, unit) for p in unit.points}


def what_if(unit: UnitReport, site: Site) -> tuple[Cost, ...]:
    """Of other thresholds, the highest first."""
    return tuple(cost(at.threshold, at.intervals, site, unit) for at in unit.what_if)


def precision_at(hits: Interval, false_alerts: Interval) -> Interval:
    """Share of the alerts that are attacks, from both a day. Undefined without alerts."""
    if hits.value is None or false_alerts.value is None or hits.value + false_alerts.value == 0:
        return UNDEFINED
    if not hits.high or not false_alerts.high:
        value = 0.0 if not hits.high else 1.0
        return Interval(value, value, value, "bounds", min(hits.units, false_alerts.units))
    ratio = _log_ratio(hits, false_alerts)
    shares = [1.0 if odds == inf else odds / (1 + odds) for odds in (exp(v) if v < 700 else inf for v in ratio)]
    return Interval(
        hits.value / (hits.value + false_alerts.value), shares[0], shares[1], "bounds", min(hits.units, false_alerts.units)
    )


def _log_ratio(over: Interval, under: Interval) -> tuple[float, float]:
    """Bounds of the logarithm of a ratio. Where a part is 0, the worst ratio of the two intervals."""
    value, least, most = _logs(over)
    other, other_least, other_most = _logs(under)
    low = value - other - hypot(value - least, other_most - other) if -inf not in (value, other, least) else least - other_most
    high = (
        value - other + hypot(most - value, other - other_least)
        if -inf not in (value, other, other_least)
        else most - other_least
    )
    return low, high


def _logs(interval: Interval) -> tuple[float, float, float]:
    value, low, high = (-inf if not v else log(v) for v in (interval.value, interval.low, interval.high))
    return value, low, high


def _sum(one: Interval, other: Interval) -> Interval:
    if one.value is None or other.value is None:
        return UNDEFINED
    (a, la, ua), (b, lb, ub) = _numbers(one), _numbers(other)
    low, high = a + b - hypot(a - la, b - lb), a + b + hypot(ua - a, ub - b)
    return Interval(a + b, low, high, "bounds", min(one.units, other.units))


def _scaled(interval: Interval, factor: float) -> Interval:
    if interval.value is None:
        return Interval(0.0, 0.0, 0.0, "bounds") if factor == 0 else UNDEFINED
    value, low, high = (v * factor for v in _numbers(interval))
    return Interval(value, low, high, "bounds", interval.units)


def _missed(recall: Interval, attacks: float) -> Interval:
    if recall.value is None:
        return UNDEFINED
    value, low, high = _numbers(recall)
    return Interval((1 - value) * attacks, (1 - high) * attacks, (1 - low) * attacks, "bounds", recall.units)


def _numbers(interval: Interval) -> tuple[float, float, float]:
    value, low, high = interval.value or 0.0, interval.low or 0.0, interval.high or 0.0
    return value, low, high
