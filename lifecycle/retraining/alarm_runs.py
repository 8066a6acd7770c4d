"""Which alarms stand: reports of one finding that follow each other, until none came for a while. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lifecycle.monitoring.alarm import Alarm
from lifecycle.retraining.policy import OnDemand

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class AlarmRun:
    """Alarms of one kind, subject and segment, each within `clear_after` of the one before. alarm_ids: oldest first."""

    began_us: int
    last: Alarm
    alarm_ids: tuple[str, ...]


def standing_runs(spec: OnDemand, alarms: Sequence[Alarm], revision: str, now_us: int) -> tuple[AlarmRun, ...]:
    """The runs that stand now, the longest standing first. Only alarms about this revision count, of the kinds and severity wanted.

    Alarms after now are not known yet."""
    by_subject: dict[tuple[str, str, str | None], list[Alarm]] = {}
    for alarm in sorted(alarms, key=lambda a: (a.time_us, a.alarm_id)):
        is_meant = alarm.kind in spec.kinds and (spec.severity == "minor" or alarm.severity == "major")
        if is_meant and alarm.revision == revision and alarm.time_us <= now_us:
            by_subject.setdefault((alarm.kind, alarm.subject, alarm.segment), []).append(alarm)
    found = [run for reports in by_subject.values() if (run := _newest(reports, spec.clear_after, now_us)) is not None]
    return tuple(sorted(found, key=lambda run: (run.began_us, run.alarm_ids)))


def _newest(reports: Sequence[Alarm], clear_after_s: int, now_us: int) -> AlarmRun | None:
    """The last run, if it is not over."""
    longest = clear_after_s * _SECOND_US
    if now_us - reports[-1].time_us >= longest:
        return None
    first = len(reports) - 1
    while first > 0 and reports[first].time_us - reports[first - 1].time_us < longest:
        first -= 1
    run = reports[first:]
    return AlarmRun(min(a.began_us for a in run), run[-1], tuple(a.alarm_id for a in run))
