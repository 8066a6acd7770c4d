"""Two distributions side by side: the shares of the reference and of the latest rows in each bin. Pure: shares in, paths of an SVG out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 560
HEIGHT: Final = 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 4.0, 8.0, 20.0
_MOST_NAMES: Final = 8
"""More bins than this have only the names of the first and the last below them."""


@dataclass(frozen=True, slots=True)
class BarChart:
    """A chart of WIDTH x HEIGHT units. paths: of the reference's bars and of the latest rows'. names: (x, anchor, text) below the axis.

    rows: (bin, share of the reference, share of the latest rows), the same as a table."""

    title: str
    paths: tuple[str, str]
    names: tuple[tuple[float, str, str], ...]
    most: float
    rows: tuple[tuple[str, float, float], ...]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def left(self) -> float:
        """Where the bars begin."""
        return _LEFT

    @property
    def right(self) -> float:
        """Where they end."""
        return self.width - _RIGHT

    @property
    def top(self) -> float:
        """Where the largest share is."""
        return _TOP

    @property
    def bottom(self) -> float:
        """Where 0 is."""
        return self.height - _BOTTOM

    @property
    def words(self) -> str:
        """The largest difference, for people who do not see the chart."""
        if not self.rows:
            return f"{self.title}: nothing was counted"
        name, before, now = max(self.rows, key=lambda row: abs(row[2] - row[1]))
        return f"{self.title}: the largest difference is {name}, {before:.1%} in the reference and {now:.1%} lately"


def bar_chart(title: str, names: Sequence[str], reference: Sequence[float], latest: Sequence[float]) -> BarChart:
    """A chart. names: of the bins. reference, latest: counts, one for each bin; bins that both lack are left out.

    >>> bar_chart("x", ["a", "b", "c"], [1, 0, 1], [4, 0, 0]).rows
    (('a', 0.5, 1.0), ('c', 0.5, 0.0))
    """
    all_before, all_now = sum(reference) or 1.0, sum(latest) or 1.0
    rows = tuple(
        (name, before / all_before, now / all_now)
        for name, before, now in zip(names, reference, latest, strict=True)
        if before > 0 or now > 0
    )
    most = max((max(before, now) for _, before, now in rows), default=1.0)
    bottom, step = HEIGHT - _BOTTOM, (WIDTH - _LEFT - _RIGHT) / max(len(rows), 1)
    bar = step * 0.4

    def path(which: int, offset: float) -> str:
        parts = []
        for place, row in enumerate(rows):
            share = (row[1], row[2])[which]
            height = (bottom - _TOP) * share / most
            if height > 0:
                x = _LEFT + place * step + offset
                parts.append(f"M{x:.1f} {bottom:g}v-{height:.1f}h{bar:.1f}v{height:.1f}z")
        return "".join(parts)

    return BarChart(title, (path(0, step * 0.1), path(1, step * 0.5)), _below(rows, step), most, rows)


def _below(rows: Sequence[tuple[str, float, float]], step: float) -> tuple[tuple[float, str, str], ...]:
    if not rows:
        return ()
    if len(rows) <= _MOST_NAMES:
        room = max(4, int(step / 6.2))
        return tuple((round(_LEFT + (place + 0.5) * step, 1), "middle", _cut(row[0], room)) for place, row in enumerate(rows))
    return ((_LEFT, "start", _cut(rows[0][0], 40)), (WIDTH - _RIGHT, "end", _cut(rows[-1][0], 40)))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
