"""The results of verification: findings, remarks and figures. Values only.

A finding means that somebody changed something, or that this cannot be ruled out. A remark is worth knowing and accuses nobody."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What was done."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    MOVED = "moved"
    DUPLICATED = "duplicated"
    CUT_OFF = "cut off"
    SPLICED = "spliced"
    FORGED_CHECKPOINT = "forged checkpoint"
    UNSIGNED = "unsigned"
    CHECKPOINT_MISSING = "checkpoint missing"
    CHECKPOINT_FILE_MISSING = "checkpoint file missing"
    ROLLED_BACK = "rolled back"
    REWRITTEN = "rewritten"
    SEGMENT_MISSING = "segment missing"
    REPLICA_MISSING = "replica missing"
    LOG_MISSING = "log missing"
    FORGED_TOMBSTONE = "forged tombstone"
    FORGED_KEY = "forged key"
    HASHES_CHANGED = "hashes changed"
    STRAY_FILE = "stray file"
    ARCHIVE_CHANGED = "archive changed"
    FORGED_ARCHIVE_NOTE = "forged archive note"


class RemarkKind(StrEnum):
    """What the remark is about."""

    NOT_PROTECTED = "not yet protected"
    UNSIGNED = "unsigned"
    CLOCK = "clock"
    HASHES = "hashes incomplete"
    NOT_REMOVED = "records beside a tombstone"
    ANCHOR = "anchor"
    ARCHIVE = "archive not looked at"
    SEALED = "sealed by another"


@dataclass(frozen=True, slots=True)
class Place:
    """A place: a log, a segment of it, and its lines from `line` to `last_line`, from 1. file: which file of the segment, by suffix."""

    log: str
    segment: int | None = None
    line: int | None = None
    last_line: int | None = None
    file: str = "jsonl"

    def __str__(self) -> str:
        place = self.log or "the folder"
        if self.segment is not None:
            place += f", segment {self.segment}"
        if self.line is not None:
            name = "line" if self.file == "jsonl" else f"{self.file} line"
            place += f", {name} {self.line}"
            place += f" to {self.last_line}" if self.last_line not in (None, self.line) else ""
        return place


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was done, and where. what: one sentence. receipt: of the record at that place, or of the one before it if
    `is_after`."""

    kind: FindingKind
    place: Place
    what: str
    receipt: str | None = None
    is_after: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing worth knowing. what: one sentence."""

    kind: RemarkKind
    place: Place
    what: str


@dataclass(frozen=True, slots=True)
class LogFigures:
    """The counts of one log. protected: records that a signed checkpoint covers. removed: records that tombstones account for."""

    log: str
    segments: int
    records: int
    protected: int
    checkpoints: int
    removed: int

    @property
    def unprotected(self) -> int:
        """Records that no signed checkpoint covers yet."""
        return self.records - self.protected


@dataclass(frozen=True, slots=True)
class Report:
    """What the verification of one folder found. bytes_read: of records that were hashed. skipped: segments that an earlier run had
    found right, whose stored hashes were used. seconds: how long it took."""

    folder: str
    logs: tuple[LogFigures, ...]
    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...]
    bytes_read: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by log, segment and line, so that the first is the first bad record. Within a segment, records come before other files."""
    return tuple(sorted(findings, key=_order))


def _order(finding: Finding) -> tuple[str, int, bool, int, str]:
    place = finding.place
    return place.log, place.segment or 0, place.file != "jsonl", place.line or sys.maxsize, finding.kind
