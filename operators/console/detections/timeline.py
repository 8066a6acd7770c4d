"""The picture of an entity's time line: alerts as marks by score, the risk as a line, the parts of the risk as bars. Pure: numbers to
places in a drawing; the template draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from operators.console.detections.risks import RiskPoint
from operators.console.log_index.alert_queries import AlertRow

WIDTH: Final = 720
HEIGHT: Final = 180
LEFT: Final = 36
TOP: Final = 12
BOTTOM: Final = 24
HOUR_US: Final = 3_600_000_000
RECENT_US: Final = 30 * 24 * HOUR_US
_TICKS: Final = 4
_HEIGHT_OF_PLOT: Final = HEIGHT - TOP - BOTTOM


@dataclass(frozen=True, slots=True)
class AlertMark:
    """One alert in the drawing. words: what it is, for people who do not see it."""

    x: float
    y: float
    verdict: str
    event: str
    words: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    """marks: the alerts. risk: the points of a polyline, empty where no risk is known. ticks: (x, words) of the axis."""

    marks: tuple[AlertMark, ...]
    risk: str
    ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    floor: int = HEIGHT - BOTTOM


def span_of(times_us: Sequence[int], now_us: int) -> tuple[int, int]:
    """What a drawing covers: the last 30 days that have something, up to now; of an older entity all that it has; an hour at least."""
    recent = [at for at in times_us if now_us - RECENT_US <= at <= now_us]
    if not recent and times_us:
        margin_us = max((max(times_us) - min(times_us)) // 50, HOUR_US // 2)
        return min(times_us) - margin_us, max(times_us) + margin_us
    since_us = min([*recent, now_us - HOUR_US])
    return since_us - (now_us - since_us) // 50, now_us


def time_line(alerts: Sequence[AlertRow], risk: Sequence[RiskPoint], since_us: int, until_us: int) -> TimeLine:
    """The drawing of a span of time. An alert without a score lies on the upper edge."""
    span = max(until_us - since_us, 1)

    def x(at_us: int) -> float:
        share = min(max((at_us - since_us) / span, 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - 8), 1)

    def y(value: float) -> float:
        return round(TOP + (1 - min(max(value, 0.0), 1.0)) * _HEIGHT_OF_PLOT, 1)

    marks = [
        AlertMark(
            x(a.time_us),
            y(1.0 if a.score is None else a.score),
            a.verdict,
            a.event,
            f"{a.verdict} of {a.model} at {_words(a.time_us)}",
        )
        for a in alerts
        if since_us <= a.time_us <= until_us
    ]
    ticks = [since_us + span * step // _TICKS for step in range(_TICKS + 1)]
    return TimeLine(
        tuple(marks), " ".join(f"{x(p.at_us)},{y(p.risk)}" for p in risk), tuple([(x(at), _short(at, span)) for at in ticks])
    )


def _words(at_us: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"time_us {at_us}"


def _short(at_us: int, span_us: int) -> str:
    text = _words(at_us)
    return text[5:16] if span_us > 24 * HOUR_US else text[11:19]
