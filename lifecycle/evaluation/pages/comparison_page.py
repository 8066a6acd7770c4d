"""A comparison of two bundles as a document: what is better beyond chance, every figure of both, and charts in HTML. Pure."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section
from lifecycle.evaluation.bootstrap import FEW
from lifecycle.evaluation.compare.compare import ComparedUnit, PairedFigure
from lifecycle.evaluation.pages import words
from lifecycle.evaluation.report import DrawnCurve
from lifecycle.metrics.intervals import Interval

NAMES: Final = {**words.LABELS, "false_alarm_rate": "false alarms"}
TESTS: Final = {"mcnemar": "McNemar, exact", "delong": "DeLong", "bootstrap": "paired draws"}
_ABOUT = (
    "Both judged on the same rows that they were not trained on, by their own graphs and thresholds. Differences are second less first, "
    "in brackets 95 % bounds. How every figure is defined: docs/reference/evaluation.md."
)


@dataclass(frozen=True, slots=True)
class ComparedBundle:
    """One of the two. curve: over all thresholds, per row."""

    name: str
    version: str
    digest: str
    curve: DrawnCurve


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole result. source: where the rows come from. notes: what to know before the figures are believed."""

    first: ComparedBundle
    second: ComparedBundle
    detector: str
    source: str
    units: tuple[ComparedUnit, ...]
    notes: tuple[str, ...]


def comparison_page(result: Comparison) -> Document:
    """The page."""
    sections = [_what(result), *(s for unit in result.units for s in _unit(result, unit))]
    title = f"{result.first.name} {result.first.version} and {result.second.name} {result.second.version} compared"
    return Document(title, _ABOUT, tuple(sections), comparison_record(result))


def comparison_record(result: Comparison) -> dict[str, Any]:
    """The same for programs."""
    bundles = {
        which: {"name": b.name, "version": b.version, "digest": b.digest}
        for which, b in (("first", result.first), ("second", result.second))
    }
    units = [
        {**dataclasses.asdict(unit), "figures": [{**dataclasses.asdict(f), "better": f.better} for f in unit.figures]}
        for unit in result.units
    ]
    return {**bundles, "detector": result.detector, "rows_from": result.source, "notes": list(result.notes), "units": units}


def _what(result: Comparison) -> Section:
    facts = tuple(
        (which, f"{b.name} {b.version}, {b.digest}") for which, b in (("first", result.first), ("second", result.second))
    )
    found = [sentence for unit in result.units for sentence in _found(unit)]
    return Section("What was found", (*found, *(f"Note: {note}" for note in result.notes)), (*facts, ("rows", result.source)))


def _found(unit: ComparedUnit) -> Iterator[str]:
    """A sentence on each model that is better in something: over all thresholds, then place by place."""
    way = _way(unit)
    for which in ("second", "first"):
        better: dict[str, list[str]] = {}
        for figure in unit.figures:
            if figure.better == which:
                better.setdefault(figure.where, []).append(NAMES.get(figure.figure, figure.figure))
        if better:
            parts = [f"{_at(unit, where)}in {', '.join(names)}" for where, names in better.items()]
            yield f"{way}: the {which} is better {'; '.join(parts)}."
    if all(f.better == "undecided" for f in unit.figures):
        yield f"{way}: neither is better beyond chance in any figure."


def _at(unit: ComparedUnit, where: str) -> str:
    if not where:
        return ""
    is_point = any(where == d.scenario for d in unit.discordant)
    return f"at {where} " if is_point else f"at an equal budget of alerts ({where}) "


def _name(figure: PairedFigure) -> str:
    return f"{NAMES.get(figure.figure, figure.figure)}{f' at {figure.where}' if figure.where else ''}"


def _way(unit: ComparedUnit) -> str:
    benign = "" if unit.benign == "all" else ", verified rows only"
    return f"{words.UNITS[unit.unit]}{benign}"


def _unit(result: Comparison, unit: ComparedUnit) -> Iterator[Section]:
    way = _way(unit)
    entities = "" if unit.attacked_entities is None else f" of {unit.attacked_entities} attacked entities"
    drawn = f"{unit.draws:,} draws of {'entities' if unit.is_by_entity else 'rows'}"
    what = f"{unit.rows:,} {'rows' if unit.unit == 'row' else 'entity-windows'}, {unit.attacks:,} attacks{entities}"
    how = [f"{what}; {drawn}; p corrected for {len(unit.figures)} figures (Holm)."]
    if unit.attacked_entities is not None and unit.attacked_entities < FEW:
        how.append(
            f"Only {unit.attacked_entities} entities were attacked: what differs may be these entities, so most differences stay undecided."
        )
    is_first = unit is result.units[0]
    yield Section(f"{way}: over all thresholds", tuple(how), grid=_grid([f for f in unit.figures if not f.where]),
                  charts=_curves(result) if is_first else ())  # fmt: skip
    scenarios = [d.scenario for d in unit.discordant]
    at_points = [f for f in unit.figures if f.where in scenarios]
    yield Section(f"{way}: at each operating point", ("Each bundle at its own threshold.",), grid=_grid(at_points),
                  charts=_differences([*(f for f in unit.figures if not f.where), *at_points]) if is_first else ())  # fmt: skip
    budgets = [f for f in unit.figures if f.where and f.where not in scenarios]
    if budgets:
        text = "Each may alert on the same share of the rows, those that it scores highest; so thresholds play no part."
        yield Section(f"{way}: at equal alert budget", (text,), grid=_grid(budgets))
    yield _discordant(unit, way)


def _grid(figures: Sequence[PairedFigure]) -> Grid:
    """One row for each figure; `where` only if one is somewhere."""
    places = ("where",) if any(f.where for f in figures) else ()
    columns = ("figure", *places, "first", "second", "difference", "better", "test", "p", "p, corrected")
    rows = [
        (
            NAMES.get(f.figure, f.figure), *(f.where for _ in places), _value(f.first), _value(f.second), _difference(f), f.better,
            TESTS[f.test], _p(f.p), _p(f.adjusted),
        )
        for f in figures
    ]  # fmt: skip
    return Grid(columns, tuple(rows), right=("first", "second", "difference", "p", "p, corrected"))


def _discordant(unit: ComparedUnit, way: str) -> Section:
    columns = ("operating point", "attacks found by the first only", "by the second only", "p",
               "benign left alone by the first only", "by the second only ", "p ")  # fmt: skip
    rows = tuple(
        (d.scenario, f"{d.attacks.first_right:,}", f"{d.attacks.second_right:,}", _p(d.attacks.p),
         f"{d.benign.first_right:,}", f"{d.benign.second_right:,}", _p(d.benign.p))
        for d in unit.discordant
    )  # fmt: skip
    text = ("McNemar's exact test.",)
    if unit.is_by_entity:
        text = ("McNemar's exact test takes rows as independent; rows of one entity are alike, so its p is too small here.",)
    return Section(f"{way}: rows on which one is right and the other wrong", text, grid=Grid(columns, rows, right=columns[1:]))


def _curves(result: Comparison) -> tuple[Chart, ...]:
    both = (("first", result.first), ("second", result.second))
    labels = [(f"{which}: {b.name} {b.version}", b.curve) for which, b in both]
    recall = Chart(
        "Precision over recall for every threshold of both, per row.", "recall", "precision",
        tuple(Line(label, c.recall.tolist(), c.precision.tolist(), is_dashed=i == 1) for i, (label, c) in enumerate(labels)),
        x_range=(0, 1.01), y_range=(0, 1.02),
    )  # fmt: skip
    seen = [(label, c, c.false_alarm_rate > 0) for label, c in labels]
    alarms = Chart(
        "Recall over the share of benign rows that alert, of both, logarithmic.", "false alarms (share of the benign)", "recall",
        tuple(Line(label, c.false_alarm_rate[s].tolist(), c.recall[s].tolist(), is_dashed=i == 1) for i, (label, c, s) in enumerate(seen)),
        x_axis="log", y_range=(0, 1.02),
    )  # fmt: skip
    return (recall, alarms)


def _differences(figures: Sequence[PairedFigure]) -> tuple[Chart, ...]:
    """Differences with their bounds, one below the other; the log loss is on a scale of its own."""
    shown = [f for f in figures if f.difference.value is not None and f.figure != "log_loss"]
    names = [f"{NAMES.get(f.figure, f.figure)}\n{f.where}".rstrip() for f in shown]
    labels = [f"{_name(f)}: {_difference(f)}, {f.better}" for f in shown]
    values, low, high = ([getattr(f.difference, part) for f in shown] for part in ("value", "low", "high"))
    about = "Differences, second less first, with their 95 % bounds; where they cross 0, it may be chance."
    chart = Chart(
        about, "", "difference", (Line("difference", names, values, low, high, labels, is_points=True),), is_sideways=True
    )
    return (chart,)


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _difference(figure: PairedFigure) -> str:
    return signed(figure.difference)


def signed(interval: Interval) -> str:
    """A difference with its sign and bounds."""
    return words.bounds(interval, lambda v: f"{v:+.4f}")


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
