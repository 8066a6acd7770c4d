"""Archiving: a finished segment becomes Parquet, is proved to hold every line to the byte, and only then leaves the live log.

Order: the segment is checked against its final checkpoint; the Parquet file is written aside and its lines are checked against the same
root; the act is recorded; the file, the checkpoints, the hashes and a signed note are put into the archive; then the records go and leave
a tombstone with the reason `archived`. After a crash at any point the records are live, archived or both; archiving again completes it."""

import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final, Protocol

from lifecycle.governance.archive.parquet import read_lines, write_segment
from lifecycle.governance.archive.place import SUFFIX, ArchiveError, ArchivePlace
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.segment_files import SegmentFiles, read_entries, read_notes, segments_in
from serving.audit.signed_note import Signer, text_of, unsigned
from serving.audit.tombstones import remove_segment

KIND: Final = "vedette-audit-archived"
"""First line of the note about an archived segment."""
ARCHIVED: Final = "archived"
"""Reason of the tombstone of a segment that is in the archive."""


class RecordsAct(Protocol):
    """Records a governed act before it is carried out. If it raises, the act cannot be kept and must not be carried out."""

    def __call__(self, action: str, subject: str, reason: str, evidence: Mapping[str, Any]) -> None:
        """action: `archive.segment`, ...; subject: `segment/LOG/NUMBER`, ..."""
        ...


@dataclass(frozen=True, slots=True)
class ArchivedSegment:
    """What was archived. size_bytes: of the Parquet file; line_bytes: of the records as they were."""

    segment: str
    records: int
    line_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Archiver:
    """Archives the segments of a log. trust: the keys whose checkpoints count; if it has none, unsigned ones count. by: who archives."""

    folder: Path
    place: ArchivePlace
    signer: Callable[[], Signer | None]
    now_us: Callable[[], int]
    record: RecordsAct
    by: str
    trust: Trust

    def finished(self) -> list[SegmentFiles]:
        """Segments that have a final checkpoint and whose records are still live."""
        return [files for files in segments_in(self.folder) if files.records.exists() and _final_of(files) is not None]

    def archive(self, files: SegmentFiles, reason: str) -> ArchivedSegment:
        """Archive one finished segment. Raises ArchiveError if its records or its Parquet file do not match its final checkpoint, or if
        a running writer still uses it; OSError."""
        found = _final_of(files)
        where = f"{files.log}/{files.number}"
        if found is None:
            raise ArchiveError(
                f"segment {where} has no final checkpoint yet; it can be archived after its writer has sealed it"
            )
        final, note = found
        if self.trust.keys and not self.trust.signers(note):
            raise ArchiveError(f"segment {where}: its final checkpoint is not valid: {self.trust.why_not(note)}")
        _check(read_entries(files.records), final, f"{files.records} does not hold what its final checkpoint says")
        with tempfile.TemporaryDirectory(prefix="vedette-archive-") as scratch:
            draft = Path(scratch) / f"{files.stem}{SUFFIX}"
            write_segment(read_entries(files.records), draft, about={"segment": where, "size": str(final.size)})
            aside = ArchivePlace(scratch)
            _check(read_lines(aside, draft.name), final, f"{where}: its Parquet file does not hold the same lines")
            with draft.open("rb") as stream:
                digest = file_digest(stream, "sha256").hexdigest()
            evidence = {"records": final.size, "root": b64encode(final.root).decode(), "sha256": digest, "to": self.place.url}
            self.record("archive.segment", f"segment/{where}", reason, evidence)
            line_bytes, size_bytes = files.records.stat().st_size, draft.stat().st_size
            note_file = Path(scratch) / "note"
            note_file.write_text(self._note(final, draft.name, digest), encoding="utf-8")
            self.place.put(files.checkpoints, f"chain/{files.checkpoints.name}")
            self.place.put(files.hashes, f"chain/{files.hashes.name}")
            self.place.put(note_file, f"chain/{files.stem}.archived")
            self.place.put(draft, draft.name)
        if not remove_segment(files, self.signer(), now_us=self.now_us(), reason=ARCHIVED, by=self.by):
            raise ArchiveError(
                f"segment {where} is in the archive, but a running writer still uses its records; archive again later"
            )
        return ArchivedSegment(where, final.size, line_bytes, size_bytes)

    def _note(self, final: Checkpoint, name: str, digest: str) -> str:
        lines = [KIND, f"segment {final.log}/{final.segment}", f"size {final.size}", f"root {b64encode(final.root).decode()}"]
        lines += [f"checkpoint {b64encode(final.digest()).decode()}", f"file {name}", f"sha256 {digest}"]
        text = "\n".join([*lines, f"time_us {self.now_us()}", f"by {self.by}"]) + "\n"
        signer = self.signer()
        return signer.sign(text) if signer is not None else unsigned(text)


def archived_records(place: ArchivePlace) -> Callable[[SegmentFiles], Iterable[bytes] | None]:
    """For verification: takes a segment and gives its lines as the archive keeps them; None if the archive does not have it."""
    stems = frozenset(place.stems())
    return lambda files: read_lines(place, f"{files.stem}{SUFFIX}") if files.stem in stems else None


def _final_of(files: SegmentFiles) -> tuple[Checkpoint, str] | None:
    try:
        notes = read_notes(files.checkpoints)
    except FileNotFoundError:
        return None
    final = Checkpoint.parse(text_of(notes[-1])) if notes else None
    return (final, notes[-1]) if final is not None and final.is_final else None


def _check(entries: Iterable[bytes], final: Checkpoint, problem: str) -> None:
    hashes = [leaf_hash(entry) for entry in entries]
    if len(hashes) != final.size or root_of(hashes) != final.root:
        raise ArchiveError(f"{problem}; `vedette audit verify` says what was changed. Nothing was removed")
