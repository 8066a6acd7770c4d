"""Times that people write in filters, and times of records that people read. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

from operators.values import parse_duration

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def moment_us(text: str, now: datetime, problems: list[str]) -> int | None:
    """A time (ISO 8601, UTC where it says no zone) or an age such as `7d`, in microseconds since the epoch; None for nothing.

    What is wrong with the text is added to the problems."""
    if not text:
        return None
    try:
        if text[-1] in "smhd" and text[0].isdigit() and "-" not in text:
            at = now - parse_duration(text)
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return (at - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        problems.append(
            f"{text[:40]!r} is not a time. Write an age such as 2h or 7d, or a time such as 2026-01-31T08:00 (UTC)."
        )
        return None


def moment(time_us: int) -> datetime:
    """The time of a record; the end of the calendar if it is outside the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return _LAST
