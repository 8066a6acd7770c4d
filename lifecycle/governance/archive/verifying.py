"""Whether an archive has what tombstones say it has: each file there, signed for, and with the digest that its note says."""

from base64 import b64encode
from hashlib import file_digest
from pathlib import Path

from lifecycle.governance.archive.archiving import ARCHIVED, KIND
from lifecycle.governance.archive.place import SUFFIX, ArchiveError, ArchivePlace
from lifecycle.governance.verify import reading
from lifecycle.governance.verify.findings import Finding, FindingKind, Place
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import SegmentFiles, decode_note
from serving.audit.signed_note import NoteError, text_of
from serving.audit.tombstones import Tombstone, tombstones_file

_MOST_NOTE_BYTES = 1 << 20


def judge_archive(folder: Path, place: ArchivePlace, trust: Trust, *, must_sign: bool) -> list[Finding]:
    """What is wrong with the archived segments of a folder. Files are hashed whole. Raises OSError."""
    stones: dict[tuple[str, int], Tombstone] = {}
    for line in reading.note_lines(tombstones_file(folder)):
        try:
            stone = Tombstone.parse(text_of(decode_note(line)))
        except NoteError:
            continue  # the verification of the log finds it
        stones[stone.log, stone.segment] = stone  # the last: retention removes archived segments with a tombstone of its own
    findings = []
    for files in reading.find_segments(folder)[0]:
        found = stones.get((files.log, files.number))
        if found is not None and found.reason == ARCHIVED and not files.records.exists():
            findings += _judge(files, found, place, trust, must_sign=must_sign)
    return findings


def _judge(files: SegmentFiles, stone: Tombstone, place: ArchivePlace, trust: Trust, *, must_sign: bool) -> list[Finding]:
    where = Place(files.log, files.number, file="archived")
    name = f"{files.stem}{SUFFIX}"
    if not place.has(name):
        what = f"its tombstone says that it was archived, and the archive {place.url} has no {name}"
        return [Finding(FindingKind.SEGMENT_MISSING, where, what)]
    said = f"chain/{files.stem}.archived"
    try:
        with place.opened(said) as stream:
            note = stream.read(_MOST_NOTE_BYTES).decode()
        words = text_of(note)
        is_signed = bool(trust.signers(note))
    except (ArchiveError, NoteError, UnicodeDecodeError) as error:
        return [Finding(FindingKind.FORGED_ARCHIVE_NOTE, where, f"the note {said} is gone or was changed: {error}")]
    if not is_signed and (must_sign or note != words + "\n"):
        return [Finding(FindingKind.FORGED_ARCHIVE_NOTE, where, f"the note {said} counts for nothing: {trust.why_not(note)}")]
    expected = [KIND, f"segment {files.log}/{files.number}", f"size {stone.size}", f"root {b64encode(stone.root).decode()}"]
    expected += [f"checkpoint {b64encode(stone.checkpoint).decode()}", f"file {name}"]
    lines = words.split("\n")
    if lines[: len(expected)] != expected:
        return [Finding(FindingKind.FORGED_ARCHIVE_NOTE, where, f"the note {said} speaks of another segment or file")]
    with place.opened(name) as stream:
        digest = file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # fsspec's files have readinto
    if lines[len(expected)] != f"sha256 {digest}":
        what = f"{name} is not the file that was archived: its SHA-256 is {digest}, and the signed note has another"
        return [Finding(FindingKind.ARCHIVE_CHANGED, where, what)]
    return []
