"""What verification says: findings, remarks and the figures around them. Values only.

A finding means that somebody changed something, or that it cannot be ruled out. A remark is worth knowing and no accusation."""

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
    """What is worth knowing."""

    NOT_PROTECTED = "not yet protected"
    UNSIGNED = "unsigned"
    CLOCK = "clock"
    TORN = "torn line"
    HASHES = "hashes incomplete"
    NOT_REMOVED = "records beside a tombstone"
    ANCHOR = "anchor"
    ARCHIVE = "archive not looked at"
    SEALED = "sealed by another"


@dataclass(frozen=True, slots=True)
class Place:
    """Where: a log, a segment of it, lines from `line` to `last_line`, counted from 1. file: which file of the segment, by suffix."""

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
    """One thing that was done, and where. what: one sentence. receipt: of the record in question, or of the one before it (`is_after`)."""

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
    """One log, counted. protected: records below a signed checkpoint. removed: records that tombstones speak of."""

    log: str
    segments: int
    records: int
    protected: int
    checkpoints: int
    removed: int

    @property
    def unprotected(self) -> int:
        """Records that no signed checkpoint speaks of yet."""
        return self.records - self.protected


@dataclass(frozen=True, slots=True)
class Report:
    """What the verification of one folder found. seconds: how long it took, of which records were hashed at `bytes_read`."""

    folder: str
    logs: tuple[LogFigures, ...]
    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...]
    bytes_read: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By log, segment and line: the first is the first bad record. What is in records comes before what is beside them."""
    return tuple(sorted(findings, key=_order))


def _order(finding: Finding) -> tuple[str, int, bool, int, str]:
    place = finding.place
    return place.log, place.segment or 0, place.file != "jsonl", place.line or sys.maxsize, finding.kind
