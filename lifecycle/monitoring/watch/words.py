"""The texts of the monitor's alarms, with the advice. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from lifecycle.monitoring.alarm import Alarm, AlarmKind, Severity, alarm_id_of
from lifecycle.monitoring.watch.reference import Subject
from lifecycle.monitoring.watch.stream_set import MAJOR, StreamFinding

STATISTIC: Final = "e-process"
_ADVICE: Final[Mapping[AlarmKind, str]] = {
    "data_drift": (
        "Look at the source of `{name}` first: a changed sensor, parser or unit looks the same as a changed network. If the source is "
        "sound, see what else has changed with `vedette drift {model}`, have new rows labelled, and train again."
    ),
    "prediction_drift": (
        "If columns are alarmed too, begin with them. If none is, the mix of events has changed: compare the alerts of before and after "
        "with `vedette audit query`, label some of them, and train again if the labels contradict the verdicts."
    ),
}


def alarm_of(
    finding: StreamFinding, subject: Subject, model: str, revision: str, segment: str | None, now_us: int, signs: Sequence[str]
) -> Alarm:
    """The alarm of a finding. signs: the quick detectors that have seen a change of the score before."""
    kind: AlarmKind = "prediction_drift" if subject.is_answer else "data_drift"
    severity: Severity = "major" if finding.severity == MAJOR else "minor"
    place = "" if segment is None else f" in segment {segment}"
    gap = "share of rows in another bin" if subject.kind in ("text", "verdict") else "largest gap of the distributions"
    compared = "its first rows" if segment is not None else "the reference"
    words = (
        f"{_what(subject)}{place} of {model} no longer comes from the distribution of {compared}, since {moment(finding.since_us)}: "
        f"PSI {finding.psi:.2f}, {gap} {finding.gap:.2f}, over the latest {finding.rows} rows; evidence {finding.e_value:.3g} to 1."
    )
    if subject.is_answer and signs:
        words += f" Quick signs before: {', '.join(dict.fromkeys(signs))}."
    statistic = STATISTIC if severity == "minor" else f"{STATISTIC}, major"  # a change that grows is a second finding
    named = alarm_id_of(
        model=model,
        revision=revision,
        kind=kind,
        subject=subject.name,
        segment=segment,
        statistic=statistic,
        began_us=finding.since_us,
    )
    return Alarm(
        alarm_id=named,
        model=model,
        revision=revision,
        kind=kind,
        subject=subject.name,
        segment=segment,
        severity=severity,
        statistic=STATISTIC,
        value=finding.e_value,
        threshold=finding.threshold,
        began_us=finding.since_us,
        time_us=now_us,
        words=words,
        advice=_ADVICE[kind].format(name=subject.name, model=model),
    )


def _what(subject: Subject) -> str:
    if subject.kind == "score":
        return "The score"
    return "The verdict" if subject.kind == "verdict" else f"Column {subject.name}"


def moment(time_us: int) -> str:
    """The time, to the second; the number itself if it is outside the calendar."""
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"time_us {time_us}"
