"""Checks that an archive holds what tombstones say it holds: each file is there, is signed for, and has the digest that its note says."""

from base64 import b64encode
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path

from lifecycle.governance.archive.archiving import ARCHIVED, KIND
from lifecycle.governance.archive.parquet import read_lines
from lifecycle.governance.archive.place import SUFFIX, ArchiveError, ArchivePlace
from lifecycle.governance.archive.record_log import LogSegment
from lifecycle.governance.verify import reading
from lifecycle.governance.verify.findings import Finding, FindingKind, Place, Remark, RemarkKind, Report, in_order
from lifecycle.governance.verify.run import Verification
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.segment_files import SegmentFiles, decode_note, read_notes
from serving.audit.signed_note import NoteError, text_of
from serving.audit.tombstones import Tombstone, check_records, tombstones_file

_MOST_NOTE_BYTES = 1 << 20


def verify_with_archive(verification: Verification, folders: Sequence[Path], place: ArchivePlace | None) -> list[Report]:
    """Verify logs together with the archive that has their older segments; one report for each folder. place: None if no archive is
    given.

    Files of the archive are judged first. Records are read only from files that are as they were archived. Raises ArchiveError, OSError."""
    reports = []
    for folder in folders:
        if place is None:
            archived = _archived_segments(folder, verification.trust_of(folder), must_sign=verification.must_sign)
            report = verification.verify(folder)
            if archived:
                what = f"{len(archived)} segments are in an archive that was not checked; name it with --archive"
                report = replace(report, remarks=(*report.remarks, Remark(RemarkKind.ARCHIVE, Place(""), what)))
        else:
            found = judge_archive(folder, place, verification.trust_of(folder), must_sign=verification.must_sign)
            _read_from(verification, place, {(finding.place.log, finding.place.segment) for finding in found})
            report = verification.verify(folder)
            report = replace(report, findings=in_order([*report.findings, *found]))
        reports.append(report)
    return reports


def _read_from(verification: Verification, place: ArchivePlace, bad: Set[tuple[str, int | None]]) -> None:
    """Let the verification read records whose own file is gone from the archive, except those of the bad segments."""
    stems = frozenset(place.stems())

    def records_of(files: SegmentFiles) -> Iterable[bytes] | None:
        is_good = files.stem in stems and (files.log, files.number) not in bad
        return read_lines(place, f"{files.stem}{SUFFIX}") if is_good else None

    def hashes_of(files: SegmentFiles) -> bytes:
        name = f"chain/{files.hashes.name}"
        if not place.has(name):
            return b""
        with place.opened(name) as file:
            return file.read(reading.MOST_HASH_BYTES)

    verification.archived, verification.archived_hashes = records_of, hashes_of


def judge_archive(folder: Path, place: ArchivePlace, trust: Trust, *, must_sign: bool) -> list[Finding]:
    """Findings about the archived segments of a folder. Each file is hashed whole. Raises OSError."""
    findings = []
    for files, stone in _archived_segments(folder, trust, must_sign=must_sign):
        findings += _judge(files, stone, place, trust, must_sign=must_sign)
    return findings


def why_not_as_signed(segment: LogSegment, trust: Trust) -> str:
    """Why a finished segment, live or archived, does not match what was signed; empty if it does. Without any trusted key unsigned notes
    count. Raises OSError, ArchiveError."""
    files, place, must_sign = segment.files, segment.archive, bool(trust.keys)
    try:
        notes = read_notes(files.checkpoints)
        final = Checkpoint.parse(text_of(notes[-1]))
        if must_sign and not trust.signers(notes[-1]):
            return f"its final checkpoint is not valid: {trust.why_not(notes[-1])}"
        if place is None:
            check_records(files, final)
            return ""
    except (FileNotFoundError, IndexError, NoteError) as error:
        return str(error)
    stone = Tombstone.over(final, time_us=0, reason=ARCHIVED, by="nobody")
    found = _judge(files, stone, place, trust, must_sign=must_sign)
    if found:
        return found[0].what
    hashes = [leaf_hash(line) for line in segment.entries()]
    is_whole = len(hashes) == final.size and root_of(hashes) == final.root
    return "" if is_whole else f"the archive {place.url} does not hold what its final checkpoint says"


def _archived_segments(folder: Path, trust: Trust, *, must_sign: bool) -> list[tuple[SegmentFiles, Tombstone]]:
    """Segments whose records are gone and whose last valid tombstone says that they were archived."""
    stones: dict[tuple[str, int], Tombstone] = {}
    for line in reading.note_lines(tombstones_file(folder)):
        try:
            note = decode_note(line)
            stone = Tombstone.parse(text_of(note))
            if not reading.is_counted(note, trust, must_sign=must_sign):
                continue  # as below; else a forged one of a removal would hide what is wrong with the archive
        except NoteError:
            continue  # the verification of the log finds it
        stones[stone.log, stone.segment] = stone  # the last: retention removes archived segments with a tombstone of its own
    return [
        (files, last)
        for files in reading.find_segments(folder)[0]
        if (last := stones.get((files.log, files.number))) is not None
        and last.reason == ARCHIVED
        and not files.records.exists()
    ]


def _judge(files: SegmentFiles, stone: Tombstone, place: ArchivePlace, trust: Trust, *, must_sign: bool) -> list[Finding]:
    where = Place(files.log, files.number, file="archived")
    name = f"{files.stem}{SUFFIX}"
    if not place.has(name):
        what = f"its tombstone says that it was archived, but the archive {place.url} has no {name}"
        return [Finding(FindingKind.SEGMENT_MISSING, where, what)]
    note_name = f"chain/{files.stem}.archived"
    try:
        with place.opened(note_name) as stream:
            note = stream.read(_MOST_NOTE_BYTES).decode()
        words = text_of(note)
        is_signed = bool(trust.signers(note))
    except (ArchiveError, NoteError, UnicodeDecodeError) as error:
        return [Finding(FindingKind.FORGED_ARCHIVE_NOTE, where, f"the note {note_name} is missing or was changed: {error}")]
    if not is_signed and (must_sign or note != words + "\n"):
        return [Finding(FindingKind.FORGED_ARCHIVE_NOTE, where, f"the note {note_name} is not valid: {trust.why_not(note)}")]
    expected = [KIND, f"segment {files.log}/{files.number}", f"size {stone.size}", f"root {b64encode(stone.root).decode()}"]
    expected += [f"checkpoint {b64encode(stone.checkpoint).decode()}", f"file {name}"]
    lines = words.split("\n")
    if lines[: len(expected)] != expected:
        return [Finding(FindingKind.FORGED_ARCHIVE_NOTE, where, f"the note {note_name} names another segment or file")]
    with place.opened(name) as stream:
        digest = file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # fsspec's files have readinto
    if lines[len(expected)] != f"sha256 {digest}":
        what = f"{name} is not the file that was archived: its SHA-256 is {digest}, and the signed note has another"
        return [Finding(FindingKind.ARCHIVE_CHANGED, where, what)]
    return []
