"""Draws the strip of one figure: a dot for the median, a line for the range, a bar where its target lies. SVG text; pure.

The rows of one figure share a scale. It begins at zero, or is logarithmic if the figures lie far apart."""

import math
from collections.abc import Sequence
from typing import Any, Final

FAR_APART: Final = 20.0
WIDTH: Final = 400.0
_EDGE: Final = 8.0

StripCells = dict[str, Any]


def strip(cells: StripCells, rows: Sequence[StripCells]) -> str:
    """The drawing of `cells` on the scale of `rows` (rows as JSON has them)."""
    ends = _ends(rows)
    low, high = (_place(bound, ends) for bound in cells["range"])
    at, target = _place(cells["value"], ends), _target(cells, rows)
    color = "#b3261e" if cells["is_met"] is False else "#1b5e9b"
    drawn = [f'<line x1="{_EDGE}" y1="9" x2="{WIDTH - _EDGE}" y2="9" stroke="#e3e8ed"/>']
    if target is not None:
        x = min(max(_place(target, ends), 2.0), WIDTH - 2.0)
        drawn.append(
            f'<line x1="{x:.1f}" y1="1" x2="{x:.1f}" y2="17" stroke="#1c2733" stroke-dasharray="3 2" stroke-width="1.5"/>'
        )
    drawn.append(f'<line x1="{low:.1f}" y1="9" x2="{high:.1f}" y2="9" stroke="{color}" stroke-width="3" stroke-opacity=".45"/>')
    drawn.append(f'<circle cx="{at:.1f}" cy="9" r="4.5" fill="{color}"/>')
    label = f"{cells['name']}: {cells['value']:.4g} {cells['unit']}"
    return f'<svg viewBox="0 0 {WIDTH:.0f} 18" role="img" aria-label="{label}">{"".join(drawn)}</svg>'


def is_far_apart(rows: Sequence[StripCells]) -> bool:
    """Whether the scale is logarithmic."""
    ends = _ends(rows)
    return bool(ends) and min(ends) > 0 and max(ends) / min(ends) > FAR_APART


def _ends(rows: Sequence[StripCells]) -> list[float]:
    """All values that the scale must show."""
    measured = [r for r in rows if r["range"] is not None]
    aims = (_target(r, rows) for r in measured)
    return [end for r in measured for end in (*r["range"], r["value"])] + [aim for aim in aims if aim is not None]


def _place(value: float, ends: Sequence[float]) -> float:
    """Where a value lies, 0 to WIDTH."""
    top, least = max(ends), min(ends)
    if top <= 0:
        return _EDGE
    share = max(value, 0.0) / top
    if least > 0 and top / least > FAR_APART:
        share = math.log(max(value, least) / least) / math.log(top / least)
    return _EDGE + share * (WIDTH - 2 * _EDGE)


def _target(cells: StripCells, rows: Sequence[StripCells]) -> float | None:
    """The value that would just meet the target. A target on a ratio is multiplied by the figure that the row is compared with."""
    if not cells["target"]:
        return None
    number = cells["target"].split()[1]  # behind it stands the unit, which may be "x" too
    bound = float(number.removesuffix("x"))
    if not number.endswith("x"):
        return bound
    by_name = {r["name"]: r["value"] for r in rows}
    reference = by_name.get(cells["ratio_to"])
    if reference is None:
        return None if not cells["ratio"] else bound * float(cells["value"]) / float(cells["ratio"])
    return bound * float(reference)
