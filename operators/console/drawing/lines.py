"""Lines over time: the last minutes of a figure. Pure: values in, paths of an SVG out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 320
HEIGHT: Final = 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 6.0, 8.0, 18.0


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """One line. path: of an SVG; empty where nothing is known. now: its newest value; None: not known."""

    name: str
    path: str
    now: float | None


@dataclass(frozen=True, slots=True)
class LineChart:
    """A chart of WIDTH x HEIGHT units. title, unit: what is drawn. ticks: (y, value) of the axis. span: of the time, for people."""

    title: str
    unit: str
    lines: tuple[DrawnLine, ...]
    ticks: tuple[tuple[float, str], ...]
    span: str
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def left(self) -> float:
        """Where the time begins."""
        return _LEFT

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        """Where 0 is."""
        return self.height - _BOTTOM

    @property
    def words(self) -> str:
        """The chart in words, for people who do not see it."""
        said = [f"{line.name} {_short(line.now)}" if line.now is not None else f"{line.name} not known" for line in self.lines]
        return f"{self.title}, {self.unit}, over {self.span}: now {', '.join(said)}; the axis ends at {self.ticks[-1][1]}"


def line_chart(
    title: str, unit: str, ages_s: Sequence[float], series: Sequence[tuple[str, Sequence[float | None]]], span_s: float
) -> LineChart:
    """A chart. ages_s: how long ago each point was, seconds. series: (name, a value for each point; None: not known, the line has a gap).

    >>> chart = line_chart("requests", "a second", [2, 0], [("all", [0.0, 10.0])], 2)
    >>> chart.lines[0].path, chart.lines[0].now
    ('M44 78L314 8', 10.0)
    """
    known = [value for _, values in series for value in values if value is not None and math.isfinite(value)]
    top = nice_ceiling(max(known, default=0.0))
    bottom, width = HEIGHT - _BOTTOM, WIDTH - _LEFT - _RIGHT

    def place(age_s: float, value: float) -> str:
        x = _LEFT + width * (1 - min(max(age_s / span_s, 0.0), 1.0)) if span_s > 0 else _LEFT + width
        y = bottom - (bottom - _TOP) * min(value / top, 1.0)
        return f"{round(x, 1):g} {round(y, 1):g}"

    lines = []
    for name, values in series:
        path, is_down = list[str](), False
        for age_s, value in zip(ages_s, values, strict=True):
            if value is None or not math.isfinite(value) or age_s > span_s:
                is_down = False
                continue
            path.append(("L" if is_down else "M") + place(age_s, max(value, 0.0)))
            is_down = True
        lines.append(DrawnLine(name, "".join(path), values[-1] if len(values) else None))
    ticks = ((bottom, "0"), (_TOP, _short(top)))
    return LineChart(title, unit, tuple(lines), ticks, f"{span_s / 60:.0f} min" if span_s >= 60 else f"{span_s:.0f} s")


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, ... that is not below the value; 1 for 0.

    >>> nice_ceiling(0), nice_ceiling(0.03), nice_ceiling(7), nice_ceiling(2000)
    (1.0, 0.05, 10.0, 2000.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    found = next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))
    return float(f"{found:.6g}")


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1000:g}k" if value >= 10_000 and value % 100 == 0 else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
