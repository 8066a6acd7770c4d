"""Alarms: findings about the inputs and answers of a model, and the file that keeps them. The other rooms find them.

    STORE/monitoring/alarms.jsonl   one alarm a line, oldest first

An alarm is kept once, however often it is given: its id names the finding and not the moment at which it was found. It is on the disk
when `add` returns. A major alarm is also an act `monitor.alarm` in the log of governed acts, which is signed; the file of alarms is not."""

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Final, Literal

import msgspec

from lifecycle.governance.acts import Act, ActsLog
from serving.audit.note_files import cut_torn_line
from serving.audit.segment_files import open_file, read_entries
from serving.files.folder_sync import sync_folder

ALARM_ACT: Final = "monitor.alarm"
ACTOR: Final = "monitor"

AlarmKind = Literal["data_drift", "prediction_drift", "concept_drift", "performance", "coverage"]
"""data_drift: what is asked has changed. prediction_drift: what is answered has. concept_drift: what the same inputs mean has.
performance: precision or recall fell. coverage: the conformal sets leave the true class out too often."""
Severity = Literal["minor", "major"]
"""major: the evidence is strong and the change is large. minor: one of them, or a sign that no evidence confirms yet."""


class AlarmError(Exception):
    """The file of alarms cannot be read; the message says where, and the way out."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One finding about one model. Its JSON is one line of the file."""

    alarm_id: str
    """Names the finding; see `alarm_id_of`."""
    model: str
    revision: str
    """Digest of the revision that answered."""
    kind: AlarmKind
    subject: str
    """What changed: a column, `score`, `verdict`, `precision`, `recall`, ..."""
    segment: str | None = None
    """The segment in which it changed; None: in all rows together."""
    severity: Severity
    statistic: str
    """What was measured, e.g. `e-process`, `psi`, `ks`."""
    value: float
    """The statistic."""
    threshold: float
    """The value from which on it is an alarm."""
    began_us: int
    """Since when, as far as is known; microseconds since the epoch, UTC."""
    time_us: int
    """When it was found."""
    words: str
    """What was seen, in a sentence."""
    advice: str
    """What to do."""

    def __post_init__(self) -> None:
        if not (isfinite(self.value) and isfinite(self.threshold)):  # JSON has no infinity: the line could not be read again
            raise ValueError(f"alarm about {self.subject!r}: value {self.value} and threshold {self.threshold} must be finite")


def alarm_id_of(
    *, model: str, revision: str, kind: AlarmKind, subject: str, segment: str | None, statistic: str, began_us: int
) -> str:
    """The id of a finding: the same whenever and however often it is found."""
    parts = msgspec.json.encode([model, revision, kind, subject, segment, statistic, began_us])
    return f"alarm-{sha256(parts).hexdigest()[:20]}"


class AlarmLog:
    """The alarms of one store, in `FOLDER/alarms.jsonl`. acts: where major alarms are recorded too; None: nowhere.

    Several processes may write: each holds the file's lock while it does."""

    def __init__(self, folder: Path, acts: ActsLog | None = None) -> None:
        self.path = folder / "alarms.jsonl"
        self._acts = acts
        self._ids: set[str] = set()
        self._read_bytes = 0

    def add(self, alarm: Alarm) -> bool:
        """Keep an alarm; whether it is new. It is synced to the disk before this returns.

        Raises OSError and AlarmError if it cannot be kept. Raises NoteError if the act of a major alarm cannot be recorded: the alarm is
        kept, and `record_acts` records the act later."""
        with self._locked() as fd:
            self._learn_ids(fd)
            is_new = alarm.alarm_id not in self._ids
            if is_new:
                self._append(fd, msgspec.json.encode(alarm) + b"\n")
                self._ids.add(alarm.alarm_id)
            if alarm.severity == "major":
                self._record([alarm])
        return is_new

    def record_acts(self) -> int:
        """Record the act of each major alarm that has none, as a crash between the two leaves it; how many. Raises OSError, NoteError,
        AlarmError."""
        with self._locked():
            return self._record([alarm for alarm in self.read() if alarm.severity == "major"])

    def read(self) -> Iterator[Alarm]:
        """Every alarm, oldest first; an incomplete last line is left out. Raises AlarmError for an invalid line, OSError."""
        if self.path.exists():
            for number, line in enumerate(read_entries(self.path), 1):
                yield _decode(line, f"{self.path}, line {number}")

    def _learn_ids(self, fd: int) -> None:
        """The ids of the lines that were appended since the last time, by whomever."""
        size = cut_torn_line(fd)
        if size < self._read_bytes:  # the file was replaced by a shorter one
            self._ids, self._read_bytes = set(), 0
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(self._read_bytes)
            for line in file:
                self._ids.add(_decode(line, f"{self.path}, after byte {self._read_bytes}").alarm_id)
                self._read_bytes += len(line)

    def _append(self, fd: int, line: bytes) -> None:
        size = os.fstat(fd).st_size
        try:
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            os.ftruncate(fd, size)
            raise
        os.fsync(fd)
        if not size:
            sync_folder(self.path.parent)
        self._read_bytes = size + len(line)

    def _record(self, alarms: Sequence[Alarm]) -> int:
        """Record the acts of major alarms, except those that are there; how many were recorded now."""
        if self._acts is None or not alarms:
            return 0
        known = {act.evidence.get("alarm_id") for act in self._acts.read() if act.action == ALARM_ACT}
        missing = [alarm for alarm in alarms if alarm.alarm_id not in known]
        for alarm in missing:
            self._acts.record(
                Act(
                    time_us=alarm.time_us,
                    actor=ACTOR,
                    action=ALARM_ACT,
                    subject=f"modelservice/local/{alarm.model}",
                    reason=alarm.words,
                    evidence=msgspec.to_builtins(alarm),
                )
            )
        return len(missing)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)


def _decode(line: bytes, where: str) -> Alarm:
    try:
        return msgspec.json.decode(line, type=Alarm)
    except (ValueError, RecursionError) as problem:  # no JSON, no alarm, no UTF-8, or nested without end
        raise AlarmError(
            f"{where}: is not an alarm ({problem}); remove the line from the file. Major alarms are also in the log of acts "
            "(`vedette audit acts`)"
        ) from problem
