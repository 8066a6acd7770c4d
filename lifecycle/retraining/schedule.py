"""When a cron expression is due. Pure: `now` comes in; cronsim reads the expression."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


class CronError(ValueError):
    """An expression cannot be read, or names no time."""


def check_cron(cron: str) -> None:
    """Raises CronError for an expression that cannot be read or names no time."""
    try:
        if len(cron.split()) != 5:  # cronsim takes a sixth, for seconds
            raise CronSimError("not five fields")
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as problem:
        raise CronError(
            f"cron is {cron!r:.60}, expected five fields that match some time, e.g. 0 3 * * 1 for Mondays at 3"
        ) from problem


def last_due(cron: str, timezone: str, now_us: int) -> int:
    """The newest time of the expression that is not after now, microseconds since the epoch."""
    moment = _moment(now_us, timezone) + timedelta(minutes=1)  # cronsim's reverse begins before its start
    for found in CronSim(cron, moment, reverse=True):
        if (due := _us(found)) <= now_us:
            return due
    raise CronError(f"cron {cron!r} names no time before now")


def next_due(cron: str, timezone: str, now_us: int) -> int:
    """The first time of the expression after now, microseconds since the epoch."""
    return _us(next(CronSim(cron, _moment(now_us, timezone))))


def _moment(us: int, timezone: str) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, tz=UTC).astimezone(ZoneInfo(timezone))


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
