"""Figures as people read them, and the tables that several pages have. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from lifecycle.documents.document import Grid, Section, percent
from lifecycle.evaluation.bootstrap import FEW
from lifecycle.evaluation.costs import Cost, Site
from lifecycle.metrics.intervals import Interval

UNITS: Final = {"row": "Per row", "entity_window": "Per entity-window"}
BENIGN: Final = {"all": "unverified rows counted as benign", "verified": "verified rows only"}
LABELS: Final = {
    "roc_auc": "ROC-AUC", "f1": "F1", "pr_auc": "PR-AUC", "average_precision": "average precision", "brier": "Brier score",
    "log_loss": "log loss", "expected_calibration_error": "calibration error (ECE)",
}  # fmt: skip


def share(interval: Interval, digits: int = 3) -> str:
    """A figure between 0 and 1 with its bounds."""
    return bounds(interval, lambda v: f"{v:.{digits}f}")


def rate(interval: Interval) -> str:
    """A share in percent with its bounds."""
    return bounds(interval, percent)


def count(interval: Interval) -> str:
    """A number a day with its bounds."""
    return bounds(interval, _number)


def _number(value: float) -> str:
    if value == 0 or value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.1 else "< 0.1"


def seconds(interval: Interval) -> str:
    """A time with its bounds; a missing upper bound: it may be that so many are never found."""
    if interval.value is not None and interval.high is None:
        return f"{interval.value:,.1f} s ({interval.low or 0:,.1f} s to never)"
    return bounds(interval, lambda v: f"{v:,.1f} s")


def bounds(interval: Interval, form: Callable[[float], str]) -> str:
    """The figure and, in brackets, its 95 % bounds."""
    if interval.value is None:
        return "-"
    if interval.low is None or interval.high is None:
        return form(interval.value)
    return f"{form(interval.value)} ({form(interval.low)} to {form(interval.high)})"


def mean(figure: Mapping[str, float | None], form: Callable[[float], str]) -> str:
    """A figure over seeds: mean, and standard deviation where there are several."""
    value, sd = figure["mean"], figure["sd"]
    if value is None:
        return "-"
    return f"{form(value)} ± {form(sd)}" if sd else form(value)


def few(intervals: Mapping[str, Interval], what: str) -> tuple[str, ...]:
    """A warning where bounds rest on few entities."""
    least = min((i.units for i in intervals.values() if i.method == "bootstrap" and i.value is not None), default=FEW)
    if least >= FEW:
        return ()
    return (
        f"Some of these figures rest on {least} {what} only: their bounds are wide, and still say little about other ones.",
    )


def site_facts(site: Site) -> tuple[tuple[str, str], ...]:
    """Where alerts would arrive."""
    team = () if site.analysts is None else (("team", f"{site.analysts:g} analysts, {site.hours:g} hours a day each"),)
    return (
        ("events a day", f"{site.events_per_day:,.0f}"), ("of them attacks", f"{site.attack_share:.4%}".replace("%", " %")),
        ("time for a false alarm", f"{site.minutes[0]:g} to {site.minutes[1]:g} minutes"), *team,
    )  # fmt: skip


def cost_grid(costs: Mapping[str, Cost]) -> Grid:
    """Costs by name (an operating point, or a threshold)."""
    has_team = any(c.team_shares is not None for c in costs.values())
    team = ("of the team's day",) if has_team else ()
    columns = ("threshold", "recall", "precision here", "alerts/day", "false/day", "missed/day", "minutes/day", *team)
    rows = [
        (
            name, share(c.recall), share(c.precision), count(c.alerts), count(c.false_alerts), count(c.missed), _range(c.minutes, count),
            *(() if c.team_shares is None else (_range(c.team_shares, _of_a_day),)),
        )
        for name, c in costs.items()
    ]  # fmt: skip
    return Grid(columns, tuple(rows), right=columns[1:])


def _of_a_day(interval: Interval) -> str:
    """A share of the team's day: far over 100 % where it cannot be done."""
    return bounds(interval, lambda v: (f"{v:,.0%}" if v >= 0.1 else f"{v:.1%}").replace("%", " %"))


def _range(pair: tuple[Interval, Interval], form: Callable[[Interval], str]) -> str:
    low, high = (form(Interval(i.value, None, None)) for i in pair)
    return low if low == high else f"{low} to {high}"


def section(title: str, grid: Grid, *text: str, facts: tuple[tuple[str, str], ...] = ()) -> Section:
    """A section with a table."""
    return Section(title, text, facts, grid)
