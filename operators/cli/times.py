"""Times as verbs read and show them. All are UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

TIME_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
"""What an option for a time accepts: a date, which means its first moment, or a date and a time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(moment: datetime | None, default: int) -> int:
    """A moment of an option in microseconds since the epoch; `default` if the option was not given.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, 500_001), 0)
    1500001
    """
    return default if moment is None else (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def iso_time(time_us: int, timespec: str = "seconds") -> str:
    """ISO 8601; the number itself if no calendar has the time.

    >>> iso_time(1_500_000), iso_time(1_500_000, "milliseconds"), iso_time(10**18)
    ('1970-01-01T00:00:01+00:00', '1970-01-01T00:00:01.500+00:00', 'time_us 1000000000000000000')
    """
    moment = _moment(time_us)
    return _number(time_us) if moment is None else moment.isoformat(timespec=timespec)


def time_text(time_us: int, form: str) -> str:
    """As `strftime` writes it; the number itself if no calendar has the time.

    >>> time_text(0, "%Y-%m-%d %H:%M UTC"), time_text(10**18, "%Y")
    ('1970-01-01 00:00 UTC', 'time_us 1000000000000000000')
    """
    moment = _moment(time_us)
    return _number(time_us) if moment is None else moment.strftime(form)


def _moment(time_us: int) -> datetime | None:
    """None: a number that somebody wrote into a log or a file, and that is no time of the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return None


def _number(time_us: int) -> str:
    return f"time_us {time_us}"
