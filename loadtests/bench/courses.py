"""Draws figures over time: a line for the median of each alternative, a band for its range. SVG text; pure."""

import html
from collections.abc import Sequence
from typing import Any, Final

COLOURS: Final = ("#1b5e9b", "#b3261e", "#4f8f4f", "#8a5ca8", "#a8832a", "#44525f", "#00838f")
WIDTH: Final = 900.0
HEIGHT: Final = 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 10.0, 10.0, 34.0
_TICKS: Final = 5

CourseCells = dict[str, Any]
Ends = tuple[float, float, float, float]


def courses(rows: Sequence[CourseCells], names: Sequence[str]) -> str:
    """The drawing of rows as JSON has them, one line each. names: of the rows. The first row says what x is, and what happened when."""
    first, lines = rows[0]["course"], [row["course"]["points"] for row in rows]
    points = [point for line in lines for point in line]
    xs, ys = [p[0] for p in points], [v for p in points for v in p[1:]]
    ends = (min(xs), max(xs), min(0.0, *ys), max(ys) or 1.0)
    drawn = [*_axes(ends, first["x_title"]), *(_mark(x, words, ends) for x, words in first["marks"])]
    drawn += [_band(line, COLOURS[i % len(COLOURS)], ends) for i, line in enumerate(lines)]
    drawn += [_line(line, i, ends) for i, line in enumerate(lines)]
    key = "".join(
        f'<span style="color:{COLOURS[i % len(COLOURS)]};margin-right:1.2em">{_SIGNS[i % len(_SIGNS)]} {html.escape(name)}</span>'
        for i, name in enumerate(names)
    )
    label = html.escape(f"{rows[0]['name']} over {first['x_title']}: {', '.join(names)}", quote=True)
    return (
        f'<p class="key">{key}</p><svg class="course" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{label}">'
        f"{''.join(drawn)}</svg>"
    )


_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 2", "12 4")
_SIGNS: Final = ("━━", "━ ━", "┅┅", "━·━", "╌╌", "····", "━━ ━")
"""Told apart without colours too."""


def _x(value: float, ends: Ends) -> float:
    return _LEFT + (value - ends[0]) / ((ends[1] - ends[0]) or 1.0) * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, ends: Ends) -> float:
    return HEIGHT - _BOTTOM - (value - ends[2]) / ((ends[3] - ends[2]) or 1.0) * (HEIGHT - _TOP - _BOTTOM)


def _axes(ends: Ends, x_title: str) -> list[str]:
    found = []
    x_low, x_high, y_low, y_high = ends
    for i in range(_TICKS + 1):
        value, place = y_low + (y_high - y_low) * i / _TICKS, x_low + (x_high - x_low) * i / _TICKS
        found.append(
            f'<line x1="{_LEFT}" y1="{_y(value, ends):.1f}" x2="{WIDTH - _RIGHT}" y2="{_y(value, ends):.1f}" stroke="#e3e8ed"/>'
            f'<text x="{_LEFT - 6}" y="{_y(value, ends) + 4:.1f}" text-anchor="end" font-size="11" fill="#44525f">{value:.3g}</text>'
            f'<text x="{_x(place, ends):.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle" font-size="11" fill="#44525f">'
            f"{place:.0f}</text>"
        )
    return [
        *found,
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle" font-size="12" fill="#44525f">{html.escape(x_title)}</text>',
    ]


def _mark(x: float, words: str, ends: Ends) -> str:
    at = _x(x, ends)
    return (
        f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{HEIGHT - _BOTTOM}" stroke="#1c2733" stroke-dasharray="3 2"/>'
        f'<text x="{at + 3:.1f}" y="{HEIGHT - _BOTTOM - 5}" font-size="11" fill="#1c2733">{html.escape(words)}</text>'
    )


def _band(course: Sequence[Sequence[float]], colour: str, ends: Ends) -> str:
    there = [f"{_x(p[0], ends):.1f},{_y(p[3], ends):.1f}" for p in course]
    back = [f"{_x(p[0], ends):.1f},{_y(p[2], ends):.1f}" for p in reversed(course)]
    return f'<polygon points="{" ".join(there + back)}" fill="{colour}" fill-opacity=".10"/>'


def _line(course: Sequence[Sequence[float]], place: int, ends: Ends) -> str:
    points = " ".join(f"{_x(p[0], ends):.1f},{_y(p[1], ends):.1f}" for p in course)
    colour, dash = COLOURS[place % len(COLOURS)], _DASHES[place % len(_DASHES)]
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
