"""The evidence over time as lines of an SVG: e-values of each gate on a logarithmic scale, the share of traffic below. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from operators.control.looks import EvidencePoint

WIDTH: Final = 720
LEFT: Final = 52
RIGHT: Final = 12
MOST_POINTS: Final = 240
"""Of one line: more cannot be told apart on a screen."""
COLOURS: Final = 6
_LEAST: Final = 1e-6
_Place = Callable[[EvidencePoint], float]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line. points: of an SVG polyline. colour: 1 to COLOURS. last: its newest value."""

    name: str
    points: str
    colour: int
    last: float


@dataclass(frozen=True, slots=True)
class ChartPanel:
    """One panel. top, height: in pixels. limit: where the dashed line is; None: there is none. ticks: (y, words) of the axis."""

    title: str
    top: int
    height: int
    lines: tuple[ChartLine, ...]
    limit: float | None
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class EvidenceChart:
    """The whole picture. ticks: (x, words) of the time. words: the same for people who do not see it."""

    panels: tuple[ChartPanel, ...]
    ticks: tuple[tuple[float, str], ...]
    height: int
    words: str


def evidence_chart(looks: Sequence[EvidencePoint], worse_at: float, fine_at: float) -> EvidenceChart | None:
    """looks: of the newest rollout, the oldest first. worse_at, fine_at: the e-values that decide. None: there is nothing to draw."""
    if len(looks) < 2:
        return None
    seen = _thinned(looks)
    start_s, end_s = seen[0].at.timestamp(), seen[-1].at.timestamp()
    width = WIDTH - LEFT - RIGHT

    def x(point: EvidencePoint) -> float:
        return LEFT + width * (point.at.timestamp() - start_s) / max(end_s - start_s, 1e-9)

    gates = sorted({name for look in seen for name in look.gates})
    panels = (
        _e_values("Worse: aborts at the line", (24, 150), seen, gates, 0, worse_at, x),
        _e_values("No worse: goes on at the line", (214, 150), seen, gates, 1, fine_at, x),
        _shares((404, 70), seen, x),
    )
    ticks = tuple((LEFT + width * i / 4, f"{seen[0].at + (seen[-1].at - seen[0].at) * i / 4:%H:%M:%S}") for i in range(5))
    last = ", ".join(
        f"{gate}: worse {_figure(seen[-1].gates[gate][0])}, no worse {_figure(seen[-1].gates[gate][1])}"
        for gate in gates
        if gate in seen[-1].gates
    )
    words = f"E-values of {len(gates)} gates from {seen[0].at:%H:%M:%S} to {seen[-1].at:%H:%M:%S} UTC. Newest: {last}."
    return EvidenceChart(panels, ticks, 510, words)


def _e_values(
    title: str, box: tuple[int, int], seen: Sequence[EvidencePoint], gates: Sequence[str], side: int, limit: float, x: _Place
) -> ChartPanel:
    top, height = box
    values = [look.gates[gate][side] for look in seen for gate in look.gates]
    high = math.log10(max([limit * 2, *values])) if values else math.log10(limit * 2)
    low = math.log10(max(min([0.5, *values]), _LEAST))

    def y(value: float) -> float:
        share = (math.log10(max(value, _LEAST)) - low) / (high - low)
        return top + height * (1 - min(max(share, 0.0), 1.0))

    lines = tuple(
        ChartLine(
            gate,
            " ".join(f"{x(look):.1f},{y(look.gates[gate][side]):.1f}" for look in seen if gate in look.gates),
            i % COLOURS + 1,
            next((look.gates[gate][side] for look in reversed(seen) if gate in look.gates), math.nan),
        )
        for i, gate in enumerate(gates)
    )
    ticks = tuple((y(10.0**n), f"{10.0**n:g}") for n in _decades(low, high))
    return ChartPanel(title, top, height, lines, y(limit), ticks)


def _decades(low: float, high: float) -> range:
    first, last = math.ceil(low), math.floor(high)
    return range(first, last + 1, max(1, -(-(last - first + 1) // 5)))


def _shares(box: tuple[int, int], seen: Sequence[EvidencePoint], x: _Place) -> ChartPanel:
    top, height = box

    def y(percent: float) -> float:
        return top + height * (1 - min(max(percent, 0.0), 100.0) / 100)

    def line(name: str, colour: int, values: Sequence[float]) -> ChartLine:
        points, before = list[str](), values[0]
        for look, value in zip(seen, values, strict=True):
            points += [f"{x(look):.1f},{y(before):.1f}"] if value != before else []
            points.append(f"{x(look):.1f},{y(value):.1f}")
            before = value
        return ChartLine(name, " ".join(points), colour, values[-1])

    lines = (line("weight", 1, [s.weight for s in seen]), line("mirror", 4, [s.mirror for s in seen]))
    return ChartPanel(
        "Share of entities, and of mirrored requests", top, height, lines, None, ((y(100), "100 %"), (y(0), "0 %"))
    )


def _thinned(looks: Sequence[EvidencePoint]) -> Sequence[EvidencePoint]:
    """At most MOST_POINTS of them, evenly, the newest always."""
    every = -(-len(looks) // MOST_POINTS)
    return looks if every == 1 else [*looks[:-1:every], looks[-1]]


def _figure(value: float) -> str:
    return f"{value:.3g}"
