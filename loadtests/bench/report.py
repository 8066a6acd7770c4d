"""The figures of a benchmark: rows, a table for people and JSON for programs.

Names of figures are paths, `what/who/...`: the second part is the alternative, the rest says what was measured of it. Rows whose
names differ in that part only are shown side by side."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from rich.table import Table

from loadtests.bench.targets import Target

FOLDER: Final = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Course:
    """A figure over time, for the page. points: (x, median, least and greatest of the rounds), in ascending x. marks: (x, what happened
    then)."""

    x_title: str
    points: tuple[tuple[float, float, float, float], ...]
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. value: the median over `rounds`. range: the least and the greatest round. course: the figure over time, if it is
    drawn.

    ratio: the median over the rounds of this figure divided by the figure named by ratio_to. It is taken round by round, so a machine
    that was slow for a moment was slow for both. problem: why there is no figure; then value, ratio and range are None."""

    name: str
    value: float | None
    unit: str
    ratio_to: str | None
    ratio: float | None
    rounds: int
    range: tuple[float, float] | None
    target: Target | None = None
    problem: str | None = None
    course: Course | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the target was met; None if there is no target. A figure that could not be measured meets none."""
        if self.target is None:
            return None
        return self.value is not None and self.target.is_met(self.value, self.ratio)


def who(name: str) -> str:
    """The alternative that a figure was measured of."""
    parts = name.split("/")
    return parts[1] if len(parts) > 1 else name


def what(name: str) -> str:
    """What a figure measures: equal for the rows that are shown side by side."""
    parts = name.split("/")
    return "/".join(parts[:1] + parts[2:])


def row(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    against: tuple[str, Sequence[float]] | None = None,
    target: Target | None = None,
    course: Course | None = None,
) -> Row:
    """Summarise the rounds of one figure. against: name and rounds of the figure it is compared with, measured in the same rounds;
    there is no ratio to a figure that is zero. A round that gave no finite figure makes the row unmeasured.

    >>> row("http/ours/p50", [2.0, 2.2, 9.0], "ms", against=("http/bare/p50", [1.0, 1.0, 3.0]))  # doctest: +ELLIPSIS
    Row(name='http/ours/p50', value=2.2, unit='ms', ratio_to='http/bare/p50', ratio=2.2, rounds=3, range=(2.0, 9.0), ...)
    """
    if not values:
        raise ValueError(f"{name}: no rounds were measured")
    if missing := sum(not math.isfinite(v) for v in values):
        return unmeasured(name, f"{missing} of {len(values)} rounds gave no figure", unit=unit, target=target)
    ratio_to, ratio = None, None
    if against is not None:
        ratio_to, others = against
        pairs = list(zip(values, others, strict=True))
        ratio = statistics.median(v / o for v, o in pairs) if all(o and math.isfinite(o) for _, o in pairs) else None
    return Row(
        name, statistics.median(values), unit, ratio_to, ratio, len(values), (min(values), max(values)), target, course=course
    )


def unmeasured(name: str, why: str, *, unit: str = "", target: Target | None = None) -> Row:
    """The row of a figure that could not be measured."""
    return Row(name, None, unit, None, None, 0, None, target, " ".join(why.split()))


def plain(r: Row) -> dict[str, Any]:
    """A row as JSON."""
    return {
        "name": r.name,
        "value": r.value,
        "unit": r.unit,
        "ratio_to": r.ratio_to,
        "ratio": r.ratio,
        "rounds": r.rounds,
        "range": r.range,
        "target": None if r.target is None else r.target.words(r.unit),
        "is_met": r.is_met,
        "problem": r.problem,
        **({} if r.course is None else {"course": asdict(r.course)}),
    }


def as_json(rows: Sequence[Row]) -> bytes:
    """The rows as a JSON list."""
    return orjson.dumps([plain(r) for r in rows], option=orjson.OPT_INDENT_2)


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows as a table for people."""
    result = Table(title=title, title_justify="left")
    headings = ("figure", "median", "range", "ratio", "to", "target", "met")
    for heading in headings:
        result.add_column(heading, justify="right" if heading in {"median", "range", "ratio"} else "left", overflow="fold")
    for r in rows:
        target = "" if r.target is None else r.target.words(r.unit)
        if r.value is None or r.range is None:
            result.add_row(r.name, "", "", "", f"could not be measured: {r.problem}", target, _met(r), style="yellow")
            continue
        low, high = r.range
        ratio = "" if r.ratio is None else f"{short(r.ratio)}x"
        style = "red" if r.is_met is False else None
        result.add_row(
            r.name,
            f"{short(r.value)} {r.unit}",
            f"{short(low)} .. {short(high)}",
            ratio,
            r.ratio_to or "",
            target,
            _met(r),
            style=style,
        )
    return result


def _met(r: Row) -> str:
    return {None: "", True: "yes", False: "NO"}[r.is_met]


def short(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
