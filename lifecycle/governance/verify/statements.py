"""Reads the checkpoints of one segment and judges them by themselves: form, signature, order. Pure.

A statement is a checkpoint that may be right: its form is right, and a trusted key or nobody signed it.
lifecycle.governance.verify.segment judges what it says of the records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lifecycle.governance.verify.findings import Finding, FindingKind, Place, Remark, RemarkKind
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import decode_note
from serving.audit.signed_note import NoteError, text_of

CLOCK_US: Final = 60 * 1_000_000
"""How far in the future a checkpoint's time may be without a remark."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One checkpoint. line: in the segment's file of checkpoints, from 1. digest: SHA-256 of its text."""

    line: int
    checkpoint: Checkpoint
    digest: bytes
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of one segment, in the order of their file, with findings and remarks about the rest of the file."""

    good: tuple[Statement, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def last(self) -> Statement | None:
        """The newest; None if there is none."""
        return self.good[-1] if self.good else None

    @property
    def own_size(self) -> int:
        """How many records the log's own writer made a checkpoint of. Checkpoints of a writer that sealed the segment for it do not
        count."""
        return max((s.checkpoint.size for s in self.good if s.checkpoint.sealed_by is None), default=0)

    def signed_own_size(self, *, must_sign: bool) -> int | None:
        """How many records the own writer's last checkpoint covers that counts by its signature; None if none counts."""
        return max(
            (s.checkpoint.size for s in self.good if s.checkpoint.sealed_by is None and (s.is_signed or not must_sign)),
            default=None,
        )

    @property
    def links(self) -> frozenset[bytes]:
        """What the next segment may name as `previous`: the last checkpoint of the log's own writer, or the last of all if another
        sealed it."""
        own = [statement.digest for statement in self.good if statement.checkpoint.sealed_by is None]
        return frozenset([*own[-1:], *(statement.digest for statement in self.good[-1:])])


def read_statements(log: str, segment: int, lines: Sequence[bytes], trust: Trust, now_us: int) -> Statements:
    """Judge the lines of a file of checkpoints, given without newlines. If no key is trusted at all, no statement counts as signed."""
    good: list[Statement] = []
    findings: list[Finding] = []
    for number, line in enumerate(lines, start=1):
        place = Place(log, segment, number, file="checkpoints")
        found = _read(line, place, trust)
        if isinstance(found, Finding):
            findings.append(found)
            continue
        wrong = _out_of_order(good[-1], found, place) if good else None
        if wrong is not None:
            findings.append(wrong)
        else:
            good.append(found)
    return Statements(tuple(good), tuple(findings), tuple(_clock_remarks(good, now_us)))


def _read(line: bytes, place: Place, trust: Trust) -> Statement | Finding:
    forged = FindingKind.FORGED_CHECKPOINT
    try:
        note = decode_note(line)
        checkpoint = Checkpoint.parse(text_of(note))
    except NoteError as error:
        return Finding(forged, place, f"not a checkpoint: it was changed ({error})")
    if (checkpoint.log, checkpoint.segment) != (place.log, place.segment):
        return Finding(
            FindingKind.SPLICED, place, f"a checkpoint of {checkpoint.log}, segment {checkpoint.segment}, stands here"
        )
    try:
        is_signed = bool(trust.signers(note))
        why = "" if is_signed or _is_unsigned(note) or not trust.keys else trust.why_not(note)
    except NoteError as error:
        return Finding(forged, place, f"changed after it was signed, or signed by another key under this one's name: {error}")
    if why:
        return Finding(forged, place, why)
    return Statement(place.line or 0, checkpoint, checkpoint.digest(), is_signed)


def _is_unsigned(note: str) -> bool:
    return note == text_of(note) + "\n"


def _out_of_order(before: Statement, now: Statement, place: Place) -> Finding | None:
    if now.digest == before.digest:
        return Finding(FindingKind.DUPLICATED, place, "a copy of the checkpoint before it")
    is_behind_the_end = before.checkpoint.is_final and now.checkpoint.size <= before.checkpoint.size
    if now.checkpoint.size < before.checkpoint.size or is_behind_the_end:
        return Finding(FindingKind.MOVED, place, "an earlier checkpoint stands behind a later one")
    if before.checkpoint.is_final:
        return Finding(FindingKind.REWRITTEN, place, "a checkpoint follows the segment's final one")
    return None


def _clock_remarks(statements: Iterable[Statement], now_us: int) -> Iterable[Remark]:
    latest = 0
    for statement in statements:
        time_us = statement.checkpoint.time_us
        place = Place(statement.checkpoint.log, statement.checkpoint.segment, statement.line, file="checkpoints")
        if time_us < latest:
            yield Remark(
                RemarkKind.CLOCK, place, f"its time is {(latest - time_us) / 1e6:.3f} s before that of the one above it"
            )
        if time_us > now_us + CLOCK_US:
            yield Remark(RemarkKind.CLOCK, place, f"its time is {(time_us - now_us) / 1e6:.0f} s in the future")
        latest = max(latest, time_us)
