"""Charts of a page: data for plotly.js, which is written into the page once, so that it needs no network. The one user of plotly here.

Values are plain numbers and text. Text from data is escaped, as plotly.js reads a little HTML in labels."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

Axis = Literal["linear", "log"]
COLOURS: Final = ("#2f6db3", "#c8553d", "#4f8f4f", "#8a5ca8", "#a8832a")
"""Told apart by people who see few colours too, on light and on dark."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line or set of points. x, y: as many of each; names may have line ends. low, high: bounds of y. text: said of each point.

    is_band: the bounds are a band around the line, which ends where a bound is missing; else they are bars."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    text: Sequence[str] = ()
    is_points: bool = False
    is_dashed: bool = False
    is_bars: bool = False
    is_band: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn. about: the same in words, for people who cannot see it. is_sideways: x goes up and y to the right, for long names."""

    about: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    x_axis: Axis = "linear"
    y_axis: Axis = "linear"
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    is_sideways: bool = False


def plotly_script() -> str:
    """plotly.js as text: about 4.6 MB."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def chart_json(chart: Chart) -> str:
    """The chart as plotly.js takes it; JSON that may stand in a page's script."""
    body = {"data": [trace for i, line in enumerate(chart.lines) for trace in _traces(line, i)], "layout": _layout(chart)}
    if chart.is_sideways:
        body = _turned(chart, body)
    return json.dumps(body, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _traces(line: Line, place: int) -> list[dict[str, Any]]:
    return [_band(line, place), _trace(line, place)] if line.is_band else [_trace(line, place)]


def _band(line: Line, place: int) -> dict[str, Any]:
    """One shape for each run of points that have both bounds: along the upper ones, and back along the lower ones."""
    x: list[float | str | None] = []
    y: list[float | str | None] = []
    for is_known, run in groupby(
        zip(line.x, line.low, line.high, strict=True), lambda p: p[1] is not None and p[2] is not None
    ):
        if is_known:
            points = list(run)
            x += [*(_value(p[0]) for p in points), *(_value(p[0]) for p in reversed(points)), None]
            y += [
                *(_value(p[2]) for p in points if p[2] is not None),
                *(_value(p[1]) for p in reversed(points) if p[1] is not None),
                None,
            ]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "fill": "toself", "line": {"width": 0},
        "fillcolor": COLOURS[place % len(COLOURS)], "opacity": 0.2, "hoverinfo": "skip", "showlegend": False,
        "name": html.escape(line.name),
    }  # fmt: skip


def _trace(line: Line, place: int) -> dict[str, Any]:
    colour = COLOURS[place % len(COLOURS)]
    trace: dict[str, Any] = {"name": html.escape(line.name), "x": [_value(v) for v in line.x], "y": [_value(v) for v in line.y]}
    if line.is_bars:
        trace |= {"type": "bar", "marker": {"color": colour, "opacity": 0.8}}
    else:
        trace |= {"type": "scatter", "mode": "markers" if line.is_points else "lines+markers" if line.is_band else "lines"}
        trace |= (
            {"marker": {"color": colour, "size": 9}}
            if line.is_points
            else {"line": {"color": colour, "width": 2, **_dash(line)}}
        )
    if line.text:
        trace |= {"text": [html.escape(t) for t in line.text], "hovertemplate": "%{text}<extra>%{fullData.name}</extra>"}
    if line.high and not line.is_band:
        trace["error_y"] = {
            "type": "data", "symmetric": False, "thickness": 1,
            "array": _distances(line.high, line.y), "arrayminus": _distances(line.y, line.low),
        }  # fmt: skip
    return trace


def _turned(chart: Chart, body: dict[str, Any]) -> dict[str, Any]:
    """Axes swapped, the first name at the top, and as high as the names need."""
    swap = {"x": "y", "y": "x", "error_y": "error_x", "xaxis": "yaxis", "yaxis": "xaxis"}
    data = [{swap.get(key, key): value for key, value in trace.items()} for trace in body["data"]]
    layout = {swap.get(key, key): value for key, value in body["layout"].items()}
    layout["yaxis"] = {**layout["yaxis"], "autorange": "reversed"}
    return {"data": data, "layout": {**layout, "height": 100 + 36 * max(len(line.x) for line in chart.lines)}}


def _dash(line: Line) -> dict[str, str]:
    return {"dash": "dash"} if line.is_dashed else {}


def _distances(upper: Sequence[float | None], lower: Sequence[float | None]) -> list[float]:
    return [0.0 if u is None or v is None else max(0.0, _number(u - v)) for u, v in zip(upper, lower, strict=True)]


def _layout(chart: Chart) -> dict[str, Any]:
    axes: dict[str, Any] = {}
    for name, title, kind, limits in (
        ("xaxis", chart.x_title, chart.x_axis, chart.x_range), ("yaxis", chart.y_title, chart.y_axis, chart.y_range),
    ):  # fmt: skip
        is_named = name == "xaxis" and all(isinstance(v, str) for line in chart.lines for v in line.x)
        axes[name] = {
            "title": {"text": html.escape(title)},
            "type": "category" if is_named else kind,
            "automargin": True,
            "gridcolor": "rgba(128,128,128,.25)",
            "zeroline": False,
            **({} if limits is None else {"range": list(limits)}),
        }
        if kind == "log":
            axes[name] |= {"dtick": 1, "exponentformat": "power"}
    return {
        **axes, "height": 380, "margin": {"l": 10, "r": 10, "t": 10, "b": 10}, "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}, "showlegend": len(chart.lines) > 1,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#888", "activecolor": "#888"},
    }  # fmt: skip


def _value(value: float | str | None) -> float | str | None:
    if value is None or isinstance(value, str):
        return value if value is None else html.escape(value).replace("\n", "<br>")
    return _number(value)


def _number(value: float) -> float:
    """Six significant digits: a page is read, not computed with."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


def script_of(charts: Sequence[Chart]) -> Mapping[str, str]:
    """Element id -> JSON of each chart of a page, in order."""
    return {f"chart-{i}": chart_json(chart) for i, chart in enumerate(charts, 1)}
