"""Reads what verification needs from a folder, in an order that is safe while a writer appends. No judgement here.

A writer appends records, then their hashes, then a checkpoint. They are read the other way round, so every record that a checkpoint or a
stored hash covers is among the records that are read after it. A tombstone is written before its records go, so tombstones are read
after records were found missing."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.verify.findings import Finding, FindingKind, Place
from lifecycle.governance.verify.segment import Claim
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.merkle import leaf_hash
from serving.audit.segment_files import (
    IrregularFile,
    SegmentFiles,
    decode_note,
    open_to_read,
    read_entries,
    read_leaves,
    segments_in,
)
from serving.audit.segment_files import note_lines as read_note_lines
from serving.audit.signed_note import NoteError, text_of
from serving.audit.tombstones import Tombstone, tombstones_file

RecordSource = Callable[[SegmentFiles], Iterable[bytes] | None]
"""Gives the records of a segment whose own file is gone, without newlines, as an archive keeps them; None if it has none."""
MOST_HASH_BYTES: Final = 512 * 1024 * 1024
"""The most bytes of stored hashes that are read: more than the records of one segment need."""
_WITNESS: Final = b"\\nwitness"
_BESIDE: Final = b"\\nwitness_beside "


class _Stamped(msgspec.Struct):
    """The fields of a record that say when it was written and whose answer it is."""

    time_us: int = 0
    receipt: str | None = None


_STAMP: Final = msgspec.json.Decoder(_Stamped)


def find_segments(folder: Path) -> tuple[list[SegmentFiles], list[Finding]]:
    """The segments of a folder, one for each log and number, and findings about files that look like segments and are not."""
    found: dict[tuple[str, int], SegmentFiles] = {}
    strays = []
    for files in segments_in(folder):
        key = (files.log, files.number)
        first = found.setdefault(key, files)
        if first is files:
            continue
        kept, stray = (files, first) if files.checkpoints.exists() > first.checkpoints.exists() else (first, files)
        found[key] = kept
        what = f"{stray.records.name} is a second file for the segment of {kept.records.name}"
        strays.append(Finding(FindingKind.STRAY_FILE, Place(files.log, files.number), what))
    return list(found.values()), [*strays, *_stray_files(folder)]


def _stray_files(folder: Path) -> Iterator[Finding]:
    """Findings about files that look like files of a log and are not."""
    known = {files.stem for files in segments_in(folder)}
    for place in (folder, folder / "chain"):
        for entry in sorted(_entries_in(place), key=lambda entry: entry.name):
            is_records = place == folder and entry.name.startswith("segment-") and entry.name.endswith(".jsonl")
            if not is_records and place == folder:
                continue
            name = _shown(entry.name)
            if not entry.is_file(follow_symlinks=False):
                what = f"{name} is a link, a pipe or a folder. Writers make regular files only, so it is not read"
                yield Finding(FindingKind.STRAY_FILE, Place(""), what)
            elif is_records and entry.name.removesuffix(".jsonl") not in known:
                what = f"{name} is not a segment of a chained log: readers would take its lines for records, but no checkpoint covers them"
                yield Finding(FindingKind.STRAY_FILE, Place(""), what)


def _entries_in(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _shown(name: str) -> str:
    """A file's name that is safe to print: it may hold control characters of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def note_lines(path: Path) -> list[bytes]:
    """The whole lines of a file of notes. Empty if there is no such file, or it is not a regular file (that is a finding of its own)."""
    try:
        return read_note_lines(path)
    except IrregularFile:
        return []


def stored_hashes(files: SegmentFiles) -> bytes:
    """The stored leaf hashes of a segment, 32 bytes each; empty if there are none."""
    try:
        with open_to_read(files.hashes) as file:
            return file.read(MOST_HASH_BYTES)
    except (FileNotFoundError, IrregularFile):
        return b""


def leaves_of(files: SegmentFiles, archived: RecordSource) -> list[bytes] | None:
    """The leaf hashes of a segment's records, from its own file or an archive; None if neither has the records."""
    try:
        return read_leaves(files.records)[0]
    except (FileNotFoundError, IrregularFile):
        kept = archived(files)
        return [leaf_hash(entry) for entry in kept] if kept is not None else None


def witness_claims(segments: Sequence[SegmentFiles], trust: Trust) -> list[Claim]:
    """What signed checkpoints of these segments say of other logs. If no key is trusted, every checkpoint counts.

    What a checkpoint says of a log that may be in another folder counts only if that log is in this one."""
    claims: dict[tuple[str, int, int, bytes], Claim] = {}
    here = {files.log for files in segments}
    for files in segments:
        for line in note_lines(files.checkpoints):
            if _WITNESS not in line:
                continue
            checkpoint = trusted_checkpoint(line, trust)
            if checkpoint is None:
                continue
            elsewhere = [witness for witness in checkpoint.elsewhere if witness.log in here]
            for witness in (*checkpoint.witnesses, *elsewhere):
                source = f"a checkpoint of {files.log}, segment {files.number},"
                key = (witness.log, witness.segment, witness.size, witness.root)
                claims.setdefault(key, Claim(*key, source))
    return list(claims.values())


def claims_beside(folder: Path, trust: Trust) -> list[Claim]:
    """What the signed checkpoints of a folder say of the logs in the store's other folders."""
    claims: dict[tuple[str, int, int, bytes], Claim] = {}
    for files in find_segments(folder)[0]:
        for line in note_lines(files.checkpoints):
            checkpoint = trusted_checkpoint(line, trust) if _BESIDE in line else None
            for witness in checkpoint.beside if checkpoint is not None else ():
                key = (witness.log, witness.segment, witness.size, witness.root)
                claims.setdefault(key, Claim(*key, f"a checkpoint of {folder.name}/{files.log}, segment {files.number},"))
    return list(claims.values())


def trusted_checkpoint(line: bytes, trust: Trust) -> Checkpoint | None:
    """The checkpoint in one line of notes, if a trusted key signed it or no key is trusted; else None."""
    try:
        note = decode_note(line)
        checkpoint = Checkpoint.parse(text_of(note))
        return checkpoint if not trust.keys or trust.signers(note) else None
    except NoteError:
        return None


def anchor_claims(notes: Iterable[tuple[str, str]], trust: Trust) -> tuple[list[Claim], list[str]]:
    """What anchors hold, from pairs of an anchor's name and a note. The second list says which notes do not count, and why."""
    claims, ignored = [], []
    for name, note in notes:
        try:
            checkpoint = Checkpoint.parse(text_of(note))
            if trust.keys and not trust.signers(note):
                raise NoteError(trust.why_not(note))
        except NoteError as error:
            ignored.append(f"{name}: a note is not valid: {error}")
            continue
        c = checkpoint
        claims.append(Claim(c.log, c.segment, c.size, c.root, f"the anchor {name}", c.digest()))
    return claims, ignored


def read_stones(folder: Path, trust: Trust, *, must_sign: bool) -> tuple[dict[tuple[str, int], Tombstone], list[Finding]]:
    """The tombstones that count, by (log, segment), and findings about the others."""
    stones: dict[tuple[str, int], Tombstone] = {}
    findings = []
    for number, line in enumerate(note_lines(tombstones_file(folder)), start=1):
        place = Place("", None, number, file="removed")
        try:
            note = decode_note(line)
            stone = Tombstone.parse(text_of(note))
            place = Place(stone.log, stone.segment, number, file="removed")
            if not is_counted(note, trust, must_sign=must_sign):
                is_unsigned = note == text_of(note) + "\n"
                kind = FindingKind.UNSIGNED if is_unsigned else FindingKind.FORGED_TOMBSTONE
                findings.append(Finding(kind, place, f"the tombstone is not valid: {trust.why_not(note)}"))
                continue
        except NoteError as error:
            what = f"the tombstone was changed, or another key signed it: {error}"
            findings.append(Finding(FindingKind.FORGED_TOMBSTONE, place, what))
            continue
        earlier = stones.setdefault((stone.log, stone.segment), stone)
        if earlier.checkpoint != stone.checkpoint:
            findings.append(Finding(FindingKind.FORGED_TOMBSTONE, place, "two tombstones of one segment disagree"))
    return stones, findings


def is_counted(note: str, trust: Trust, *, must_sign: bool) -> bool:
    """Whether a tombstone counts: a trusted key signed it, or no key is trusted, or it is unsigned and that is allowed. Raises
    NoteError."""
    is_unsigned = note == text_of(note) + "\n"
    return not trust.keys or bool(trust.signers(note)) or (is_unsigned and not must_sign)


def line_at(files: SegmentFiles, number: int) -> bytes | None:
    """One line of the records, counted from 1; None if there is none."""
    try:
        return next((entry for at, entry in enumerate(read_entries(files.records), start=1) if at == number), None)
    except (FileNotFoundError, IrregularFile):
        return None


def receipt_of(entry: bytes | None) -> str | None:
    """The receipt of a record; None if the line is not a record."""
    return _stamp(entry).receipt


def tail_us(files: SegmentFiles, first: int) -> int:
    """Microseconds from record number `first`, from 1, to the last one; 0 if these are not records."""
    begin = end = None
    try:
        for number, entry in enumerate(read_entries(files.records), start=1):
            if number == first:
                begin = entry
            end = entry
    except (FileNotFoundError, IrregularFile):
        return 0
    began, ended = _stamp(begin).time_us, _stamp(end).time_us
    return max(0, ended - began) if began else 0


def _stamp(entry: bytes | None) -> _Stamped:
    try:
        return _STAMP.decode(entry or b"{}")
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
        return _Stamped()
