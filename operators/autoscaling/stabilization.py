"""Stabilization windows and step limits, from the counts wanted and decided before. Pure. The windows keep only points that can still
matter (the monotonic queue of a sliding maximum), so that at rest they hold one point."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from operators.autoscaling.spec import StepLimit
from operators.autoscaling.values import Point


def with_peak(peaks: Sequence[Point], wanted: int, now: datetime, window: timedelta) -> tuple[Point, ...]:
    """The queue whose first is the greatest number wanted within the window, `wanted` now included."""
    return (*(p for p in _within(peaks, now, window) if p.replicas > wanted), Point(at=now, replicas=wanted))


def with_trough(troughs: Sequence[Point], wanted: int, now: datetime, window: timedelta) -> tuple[Point, ...]:
    """The queue whose first is the least number wanted within the window, `wanted` now included."""
    return (*(p for p in _within(troughs, now, window) if p.replicas < wanted), Point(at=now, replicas=wanted))


def _within(points: Sequence[Point], now: datetime, window: timedelta) -> list[Point]:
    return [p for p in points if now - window < p.at < now]


def count_before(counts: Sequence[Point], now: datetime) -> int | None:
    """The last count decided before now."""
    return next((p.replicas for p in reversed(counts) if p.at < now), None)


def with_count(counts: Sequence[Point], replicas: int, now: datetime, keep: timedelta) -> tuple[Point, ...]:
    """The counts with this one, if it is another; what is older than `keep` goes, but for the one that held then."""
    past = [p for p in counts if p.at < now]
    if not past or past[-1].replicas != replicas:
        past.append(Point(at=now, replicas=replicas))
    old = [p for p in past if p.at <= now - keep]
    return tuple(past[max(len(old) - 1, 0) :])


def most_allowed(counts: Sequence[Point], current: int, limit: StepLimit, now: datetime) -> int:
    """How far up from what was the least in the limit's stretch."""
    base = min(_held_within(counts, current, limit.per, now))
    return base + max(limit.replicas, math.ceil(base * limit.percent / 100 - 1e-9))


def least_allowed(counts: Sequence[Point], current: int, limit: StepLimit, now: datetime) -> int:
    """How far down from what was the most in the limit's stretch."""
    base = max(_held_within(counts, current, limit.per, now))
    return max(base - max(limit.replicas, math.floor(base * limit.percent / 100 + 1e-9)), 0)


def _held_within(counts: Sequence[Point], current: int, per: timedelta, now: datetime) -> list[int]:
    """Every count that held at some moment of the last `per`."""
    past = [p for p in counts if p.at < now]
    held = [current]
    for point in reversed(past):
        held.append(point.replicas)
        if point.at <= now - per:
            break
    return held
