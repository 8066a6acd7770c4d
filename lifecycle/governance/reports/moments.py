"""Moments as reports show them: always in UTC. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def when(time_us: int) -> str:
    """A moment for people, UTC. One that no calendar has is shown as it is recorded.

    >>> when(60_000_000)
    '1970-01-01 00:01:00 UTC'
    """
    try:
        return _shown(_EPOCH + timedelta(microseconds=time_us))
    except OverflowError:
        return f"{time_us} us since 1970 (no date)"


def when_iso(text: str) -> str:
    """A moment of ISO 8601 for people, UTC. What names no moment, or no time zone, is shown as it is.

    >>> when_iso("2026-01-01T02:00:00+02:00")
    '2026-01-01 00:00:00 UTC'
    """
    moment = _moment(text)
    return text if moment is None else _shown(moment)


def microseconds(text: str) -> int | None:
    """A moment of ISO 8601 in microseconds since the epoch; None where it names no moment, or no time zone."""
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
