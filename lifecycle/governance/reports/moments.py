"""Times as reports show them, always in UTC. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def when(time_us: int) -> str:
    """A time for people, UTC. A number outside the calendar is shown as it is recorded.

    >>> when(60_000_000)
    '1970-01-01 00:01:00 UTC'
    """
    try:
        return _shown(_EPOCH + timedelta(microseconds=time_us))
    except OverflowError:
        return f"{time_us} us since 1970 (no date)"


def when_iso(text: str) -> str:
    """An ISO 8601 time for people, UTC. Text that is not a time, or has no time zone, is returned as it is.

    >>> when_iso("2026-01-01T02:00:00+02:00")
    '2026-01-01 00:00:00 UTC'
    """
    moment = _moment(text)
    return text if moment is None else _shown(moment)


def microseconds(text: str) -> int | None:
    """An ISO 8601 time in microseconds since the epoch; None if the text is not a time or has no time zone."""
    moment = _moment(text)
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
