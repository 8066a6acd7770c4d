"""Verifies the logs of a folder: reads them, hands what was read to the judges, and puts their findings in order.

A run may keep a state: which segments were right, with the digest of their last checkpoint and the size and time of their file. The next
run uses the stored hashes of such a segment instead of its records, and checks them against the checkpoints again. Only a full run finds
a change to the records that restores their size and time."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from lifecycle.governance.acts import LABELS, PREDICTIONS
from lifecycle.governance.acts import LOG as ACTS
from lifecycle.governance.verify import reading
from lifecycle.governance.verify.chain import SegmentAccount, judge_log
from lifecycle.governance.verify.findings import Finding, FindingKind, LogFigures, Place, Remark, RemarkKind, Report, in_order
from lifecycle.governance.verify.reading import RecordSource
from lifecycle.governance.verify.segment import Claim, SegmentEvidence, SegmentJudgement, judge_segment
from lifecycle.governance.verify.statements import Statements, read_statements
from lifecycle.governance.verify.tree import SegmentTree
from serving.audit.keys.trust import Trust
from serving.audit.merkle import HASH_BYTES
from serving.audit.segment_files import SegmentFiles
from serving.audit.tombstones import Tombstone

_NAMED = (ACTS, LABELS)
Advance = Callable[[int], None]
"""Called with how many bytes of records were read since the last call."""


class SeenSegment(msgspec.Struct, frozen=True):
    """A segment that was found right: hex digest of its last checkpoint, size and time of change of its records' file."""

    checkpoint: str
    size_bytes: int
    mtime_ns: int


class VerifyState(msgspec.Struct):
    """The segments that earlier runs found right, by the path of their records."""

    segments: dict[str, SeenSegment] = {}

    @classmethod
    def read(cls, path: Path) -> "VerifyState":
        """The state in this file. Without such a file, or if it holds no state, the state is empty: then everything is hashed again."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()
        except (msgspec.DecodeError, RecursionError):
            return cls()

    def write(self, path: Path) -> None:
        """Replace the file as a whole. Raises OSError."""
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(msgspec.json.encode(self))
        new.replace(path)


@dataclass(slots=True)
class Verification:
    """Verifies folders.

    trust_of: folder -> the keys that count there. must_sign: unsigned checkpoints protect nothing. anchored: names of anchors and notes
    that they hold. is_anchor_shared: the anchors hold logs of other folders too, so a log with no file here is not missing. beside:
    folder -> the other folders of the same store, whose checkpoints name the logs of this one. archived, archived_hashes: give the
    records, and their leaf hashes, of a segment whose own files are gone. state: segments to skip. keep: called with the state after
    each segment found right."""

    now_us: int
    trust_of: Callable[[Path], Trust]
    must_sign: bool = True
    anchored: Sequence[tuple[str, str]] = ()
    is_anchor_shared: bool = False
    beside: Callable[[Path], Iterable[Path]] = lambda _: ()
    archived: RecordSource = lambda _: None
    archived_hashes: Callable[[SegmentFiles], bytes] = lambda _: b""
    advance: Advance = lambda _: None
    state: VerifyState | None = None
    keep: Callable[[VerifyState], None] = lambda _: None
    _bytes: int = field(default=0, init=False)
    _skipped: int = field(default=0, init=False)

    def verify(self, folder: Path) -> Report:
        """Verify every log of a folder. Raises OSError, NoteError for keys that cannot be read."""
        self._bytes = self._skipped = 0
        started = time.perf_counter()
        trust = self.trust_of(folder)
        held, ignored = reading.anchor_claims(self.anchored, trust)
        began, _ = reading.find_segments(folder)
        claims = [*self._meant(held, folder, began), *reading.witness_claims(began, trust)]
        told = [claim for other in self.beside(folder) for claim in reading.claims_beside(other, self.trust_of(other))]
        claims += _about(told, folder, began)
        segments, findings = reading.find_segments(folder)  # after the claims: whatever they speak of is there by now
        findings += [
            Finding(FindingKind.FORGED_KEY, Place("", file="keys"), problem) for problem in trust.problems if trust.keys
        ]
        remarks = [Remark(RemarkKind.ANCHOR, Place(""), what) for what in ignored]
        elsewhere = _OtherSegments(segments)
        judged: dict[str, list[_Judged]] = {}
        for files in segments:
            judged.setdefault(files.log, []).append(self._segment(files, trust, claims, elsewhere))
        stones, wrong = reading.read_stones(folder, trust, must_sign=self.must_sign)
        findings += wrong
        unaccounted = {(finding.place.log, finding.place.segment) for finding in wrong}
        figures: list[LogFigures] = []
        for log in sorted({*judged, *(name for name, _ in stones), *(claim.log for claim in claims)}):
            accounts = _accounts(log, judged.get(log, []), stones)
            whole = judge_log(log, accounts, claims, must_sign=self.must_sign)
            findings += [f for f in whole.findings if not _is_explained(f, unaccounted)]
            findings += _with_receipts(judged.get(log, []))
            remarks += [*whole.remarks, *(remark for one in judged.get(log, []) for remark in one.remarks)]
            figures.append(whole.figures)
        took_s = time.perf_counter() - started
        return Report(str(folder), tuple(figures), in_order(findings), tuple(remarks), self._bytes, self._skipped, took_s)

    def _meant(self, held: Sequence[Claim], folder: Path, segments: Sequence[SegmentFiles]) -> list[Claim]:
        """The claims that are about this folder. An anchor of a store holds the checkpoints of all its logs."""
        here = {files.log for files in segments}
        meant = _about(held, folder, segments)
        return [claim for claim in meant if claim.log in here] if self.is_anchor_shared else meant

    def _segment(self, files: SegmentFiles, trust: Trust, claims: Iterable[Claim], elsewhere: "_OtherSegments") -> "_Judged":
        lines = reading.note_lines(files.checkpoints)
        statements = read_statements(files.log, files.number, lines, trust, self.now_us)
        stored = reading.stored_hashes(files)
        leaves = self._leaves(files, statements, stored)
        if leaves is None:
            return _Judged(files, statements, None)
        is_archived = not files.records.exists()
        if is_archived:
            stored = self.archived_hashes(files)
        about_it = [claim for claim in claims if (claim.log, claim.segment) == (files.log, files.number)]
        evidence = SegmentEvidence(files.log, files.number, leaves, stored, statements, about_it)
        judgement = judge_segment(evidence, lambda leaf: elsewhere.find(leaf, files))
        own = statements.own_size
        tail_us = reading.tail_us(files, own + 1) if len(leaves) > own else 0
        found = _Judged(files, statements, judgement, tail_us, self._sealed_us(files, statements, len(leaves)), is_archived)
        if self.state is not None and not found.findings:
            self._remember(files, statements)
        return found

    def _sealed_us(self, files: SegmentFiles, statements: Statements, records: int) -> int:
        """Time from the first to the last record that another writer signed and the log's own writer did not."""
        last, own = statements.last, statements.signed_own_size(must_sign=self.must_sign) or 0
        is_sealed = last is not None and last.checkpoint.sealed_by is not None
        return reading.tail_us(files, own + 1) if is_sealed and records > own else 0

    def _leaves(self, files: SegmentFiles, statements: Statements, stored: bytes) -> list[bytes] | None:
        seen = _seen(files, statements)
        if self.state is not None and seen is not None and self.state.segments.get(_key(files)) == seen:
            kept = _hashes_if_proved(stored, statements)
            if kept is not None:
                self._skipped += 1
                self.advance(seen.size_bytes)
                return kept
        leaves = reading.leaves_of(files, self.archived)
        with suppress(FileNotFoundError):
            size_bytes = files.records.stat().st_size
            self._bytes += size_bytes
            self.advance(size_bytes)
        return leaves

    def _remember(self, files: SegmentFiles, statements: Statements) -> None:
        seen = _seen(files, statements)
        if self.state is not None and seen is not None:
            self.state.segments[_key(files)] = seen
            self.keep(self.state)


def _about(claims: Iterable[Claim], folder: Path, segments: Sequence[SegmentFiles]) -> list[Claim]:
    """The claims about logs of this folder. The log of acts and the log of labels are known by their names; other logs are prediction
    logs.

    The name of a store's folder decides which log it holds, so that a log planted in it turns no claim away."""
    here = {folder.name} if folder.name in (PREDICTIONS, *_NAMED) else {files.log for files in segments}
    own = next((name for name in _NAMED if name in here), None)
    return [claim for claim in claims if (claim.log if claim.log in _NAMED else None) == own]


def bytes_of(folder: Path) -> int:
    """How many bytes of records a folder holds, for a progress bar."""
    return sum(files.records.stat().st_size for files in reading.find_segments(folder)[0] if files.records.exists())


@dataclass(frozen=True, slots=True)
class _Judged:
    files: SegmentFiles
    statements: Statements
    judgement: SegmentJudgement | None
    tail_us: int = 0
    sealed_us: int = 0
    is_archived: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.statements.findings, *(self.judgement.findings if self.judgement is not None else ()))

    @property
    def remarks(self) -> tuple[Remark, ...]:
        return (*self.statements.remarks, *(self.judgement.remarks if self.judgement is not None else ()))


class _OtherSegments:
    """Finds where else a record stands. It looks into the stored hashes, and only when something is wrong."""

    def __init__(self, segments: Sequence[SegmentFiles]) -> None:
        self._segments = segments

    def find(self, leaf: bytes, own: SegmentFiles) -> str | None:
        for files in self._segments:
            if files.stem == own.stem:
                continue
            stored = reading.stored_hashes(files)
            at = stored.find(leaf)
            while at >= 0 and at % HASH_BYTES:
                at = stored.find(leaf, at + 1)
            if at >= 0:
                return f"{files.log}, segment {files.number}, line {at // HASH_BYTES + 1}"
        return None


def _accounts(log: str, judged: Sequence[_Judged], stones: Mapping[tuple[str, int], Tombstone]) -> list[SegmentAccount]:
    found = {
        one.files.number: SegmentAccount(
            one.files.number,
            one.statements,
            one.judgement,
            stones.get((log, one.files.number)),
            one.tail_us,
            one.sealed_us,
            one.is_archived,
        )
        for one in judged
    }
    for (name, number), stone in stones.items():
        if name == log and number not in found:
            found[number] = SegmentAccount(number, Statements(), None, stone)
    return [found[number] for number in sorted(found)]


def _with_receipts(judged: Sequence[_Judged]) -> list[Finding]:
    """The findings of segments. A finding in the records names the receipt that stands there, or the one before."""
    named = []
    for one in judged:
        for finding in one.findings:
            line = finding.place.line
            if finding.place.file != "jsonl" or line is None:
                named.append(finding)
                continue
            is_there = finding.kind not in (FindingKind.REMOVED, FindingKind.CUT_OFF, FindingKind.ROLLED_BACK)
            receipt = reading.receipt_of(reading.line_at(one.files, line if is_there else line - 1))
            named.append(replace(finding, receipt=receipt, is_after=not is_there))
    return named


def _is_explained(finding: Finding, unaccounted: Set[tuple[str, int | None]]) -> bool:
    """Whether a segment is missing only because its tombstone does not count, which is a finding of its own."""
    return finding.kind is FindingKind.SEGMENT_MISSING and (finding.place.log, finding.place.segment) in unaccounted


def _hashes_if_proved(stored: bytes, statements: Statements) -> list[bytes] | None:
    """The stored hashes, if they give the root of the last checkpoint; else None."""
    last = statements.last
    leaves = [stored[i : i + HASH_BYTES] for i in range(0, len(stored), HASH_BYTES)]
    if last is None or len(leaves) != last.checkpoint.size or SegmentTree(leaves).root_at(len(leaves)) != last.checkpoint.root:
        return None
    return leaves


def _key(files: SegmentFiles) -> str:
    return str(files.records)


def _seen(files: SegmentFiles, statements: Statements) -> SeenSegment | None:
    """What the state keeps of a segment; None while the segment is open."""
    last = statements.last
    if last is None or not last.checkpoint.is_final:
        return None
    try:
        stat = files.records.stat()
    except FileNotFoundError:
        return None
    return SeenSegment(last.digest.hex(), stat.st_size, stat.st_mtime_ns)
