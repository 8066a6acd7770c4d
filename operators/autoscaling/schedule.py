"""When a window is open. Pure: `now` comes in; cron is read by cronsim, the one user of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from operators.autoscaling.spec import ScalingSpec, ScheduleWindow


@dataclass(frozen=True, slots=True)
class Opening:
    """One time that a window is open, or the next it will be. UTC-comparable moments in the window's own zone."""

    opens: datetime
    closes: datetime

    def is_open(self, now: datetime) -> bool:
        """Opens at `opens` and is closed again at `closes`."""
        return self.opens <= now < self.closes


def opening(window: ScheduleWindow, now: datetime) -> Opening | None:
    """The opening that `now` lies in, else the next one; None if there is none any more."""
    since = (now - window.duration).astimezone(ZoneInfo(window.time_zone))
    opens = next(iter(CronSim(window.start, since)), None)
    return None if opens is None else Opening(opens, _after(opens, window.duration))


def _after(moment: datetime, span: timedelta) -> datetime:
    """Real time later, also over a change to or from summer time (adding to a zoned datetime would move its clock hands)."""
    return (moment.astimezone(ZoneInfo("UTC")) + span).astimezone(moment.tzinfo)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most replicas at a moment, and the windows that say so."""

    lower: int
    upper: int
    windows: tuple[str, ...] = ()


def bounds(spec: ScalingSpec, now: datetime) -> Bounds:
    """Bounds from the spec and its open windows. A window's minimum holds already `startUp` before it opens."""
    opened = [w for w in spec.schedule if _is_open(w, now)]
    soon = [w for w in spec.schedule if w in opened or _is_open(w, now + spec.start_up)]
    lower = max([spec.min_replicas, *_given(w.min_replicas for w in soon)])
    upper = min(_given(w.max_replicas for w in opened), default=spec.max_replicas)
    return Bounds(lower, max(upper, lower, 1), tuple(w.name for w in soon))


def _is_open(window: ScheduleWindow, now: datetime) -> bool:
    found = opening(window, now)
    return found is not None and found.is_open(now)


def _given(values: Iterable[int | None]) -> list[int]:
    return [v for v in values if v is not None]
