"""When an event was known: its own `event_time`, else its start and duration as the detector declares them, else when it was produced."""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from serving.features.windows.spec import EventTimeSpec
from serving.stream.codecs.codec import DecodedEvent, Undecodable, shown, undecodable
from serving.stream.codecs.columns import event_time_us

LONGEST_S: Final = 1e9
"""A longer duration is no duration."""
EventTime = Callable[[DecodedEvent, int], int | Undecodable]
"""An event, and when its record was produced (microseconds since the epoch) -> when it was known, in the same, or why it is no event."""


def event_time_of(field: str | None, declared: EventTimeSpec | None) -> EventTime:
    """How to tell when an event was known. field: the event's field that says it. declared: the columns that say it otherwise.

    >>> known = event_time_of("event_time", EventTimeSpec(column="start", timezone="Europe/Prague", duration="duration"))
    >>> known({"start": "2011-08-18T15:47:57", "duration": 1.5}, 0), known({"event_time": 5}, 0), known({}, 7)
    (1313675278500000, 5, 7)
    """
    zone = _zone(declared.timezone) if declared is not None else None

    def known(event: DecodedEvent, produced_us: int) -> int | Undecodable:
        own = None if field is None else event.get(field)
        if own is not None:
            return event_time_us(own, str(field))
        begun = None if declared is None else event.get(declared.column)
        if declared is None or begun is None:
            return produced_us
        start = event_time_us(_in_zone(begun, zone), declared.column)
        if isinstance(start, Undecodable) or declared.duration is None:
            return start
        seconds = event.get(declared.duration)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_S:
            return undecodable(
                f"the event's field {declared.duration!r} is {shown(seconds)}, expected the seconds from {declared.column!r} to its end"
            )
        return start + round(seconds * 1e6)

    return known


def _zone(name: str) -> ZoneInfo | None:
    try:
        return None if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):  # a machine without time zones reads times with an offset only
        return None


def _in_zone(value: object, zone: ZoneInfo | None) -> object:
    """The value with the declared zone, if it is a time without one."""
    if zone is None or not isinstance(value, str | bytes | datetime):
        return value
    try:
        moment = (
            value
            if isinstance(value, datetime)
            else datetime.fromisoformat(value.decode() if isinstance(value, bytes) else value)
        )
    except (ValueError, UnicodeDecodeError):
        return value  # the reader of times says what is wrong
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else value
