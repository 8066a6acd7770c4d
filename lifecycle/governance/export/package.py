"""Makes an audit package: a folder, or a .tar.gz of one, that a single script checks without Vedette. Its README.txt explains it.

README.txt  verify.py          how to check the package, and the script that does
manifest.json  manifest.note   the digest of every file, and the signed digest of that
keys/trusted.txt  notes.jsonl  public keys, and the notes by which one vouched for the next; never a private key
audit/...                      segments as in the log's own folder (whole), or their last checkpoints only
records/LOG-N.jsonl            chosen records: a line with a signed checkpoint, then one {index, record, inclusion} per line
acts/LOG-N.jsonl               governed acts of that time, about these models, in the same form
bundles/DIGEST.json            what the models were, as their bundles say
anchors.jsonl                  checkpoints of these segments that anchors hold"""

import json
import tarfile
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from lifecycle.governance.export.choice import MOST_CHECKPOINTS, ExportChoice, last_signed, thinned
from lifecycle.governance.export.texts import README, script
from lifecycle.governance.verify import reading
from lifecycle.governance.verify.reading import RecordSource
from lifecycle.governance.verify.tree import SegmentTree
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.keyring import key_notes
from serving.audit.keys.trust import Trust
from serving.audit.merkle import HASH_BYTES
from serving.audit.segment_files import SegmentFiles, newest_checkpoint, note_line, open_to_read, read_entries, read_notes
from serving.audit.signed_note import NoteError, Signer, VerifierKey, text_of, unsigned
from serving.audit.tombstones import tombstones_file

FORMAT: Final = "vedette-audit-package/1"
KIND: Final = "vedette-audit-package"
"""First line of the note about a manifest."""


class PackageError(Exception):
    """A package cannot be made; the message says what, where, and the way out."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What is exported.

    log, acts: the folders of the two logs. bundles: digest (`sha256:...`) -> the manifest's bytes. pinned: keys that the store trusts.
    anchored: names of anchors and notes that they hold. archived: gives the records of a segment that is in the archive. revoked: key ->
    the last time at which it may sign, microseconds since the epoch."""

    log: Path
    acts: Path
    bundles: Mapping[str, bytes]
    pinned: Sequence[VerifierKey]
    anchored: Sequence[tuple[str, str]] = ()
    archived: RecordSource = lambda _: None
    revoked: Mapping[VerifierKey, int] = field(default_factory=dict)

    def trust_of(self, folder: Path) -> Trust:
        """The keys whose checkpoints count in the log of a folder. Raises OSError."""
        return Trust.read(folder, self.pinned, self.revoked)


@dataclass(frozen=True, slots=True)
class ExportedPackage:
    """What a package holds. left_out: chosen records that no signed checkpoint covers, which cannot be proved yet."""

    path: Path
    segments: int
    records: int
    acts: int
    left_out: int
    is_signed: bool


@dataclass(slots=True)
class PackageMaker:
    """Makes one package. signer: signs its manifest; None leaves it unsigned. advance: called after each segment."""

    source: ExportSource
    choice: ExportChoice
    signer: Signer | None
    now_us: int
    advance: Callable[[], None] = lambda: None
    _records: int = field(default=0, init=False)
    _acts: int = field(default=0, init=False)
    _left_out: int = field(default=0, init=False)

    def make(self, out: Path) -> ExportedPackage:
        """Write the package. Raises PackageError if `out` exists and is not an empty folder or a record does not match, OSError,
        NoteError."""
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise PackageError(f"{out}: exists already; give another name")
        if out.name.endswith((".tar.gz", ".tgz")):
            with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
                folder = Path(scratch) / out.name.partition(".")[0]
                segments = self._fill(folder)
                _pack(folder, out)
        else:
            segments = self._fill(out)
        return ExportedPackage(out, segments, self._records, self._acts, self._left_out, self.signer is not None)

    def segments(self) -> list[SegmentFiles]:
        """The segments that may hold records of the chosen time, also those whose records retention removed."""
        found = reading.find_segments(self.source.log)[0]
        return [files for files in found if self.choice.may_hold(files, newest_checkpoint(files))]

    def _fill(self, folder: Path) -> int:
        for name in ("audit/chain", "records", "acts", "keys", "bundles"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        chosen = self.segments()
        trust = self.source.trust_of(self.source.log)
        for files in chosen:
            (self._whole if self.choice.is_whole else self._chosen)(files, folder, trust)
            self.advance()
        self._write_acts(folder)
        _copy(tombstones_file(self.source.log), folder / "audit" / "chain" / "removed.jsonl")
        notes = dict.fromkeys([*key_notes(self.source.log), *key_notes(self.source.acts)])
        (folder / "keys" / "notes.jsonl").write_bytes(b"".join(map(note_line, notes)))
        (folder / "keys" / "trusted.txt").write_text("".join(f"{key}\n" for key in self.source.pinned), encoding="utf-8")
        revocations = "".join(f"{key} time_us {time_us}\n" for key, time_us in self.source.revoked.items())
        (folder / "keys" / "revoked.txt").write_text(revocations, encoding="utf-8")
        for digest, manifest in self.source.bundles.items():
            (folder / "bundles" / f"{digest.removeprefix('sha256:')}.json").write_bytes(manifest)
        self._write_anchors(folder, chosen)
        (folder / "README.txt").write_text(README, encoding="utf-8")
        (folder / "verify.py").write_text(script(), encoding="utf-8")
        self._write_manifest(folder, chosen)
        return len(chosen)

    def _whole(self, files: SegmentFiles, folder: Path, trust: Trust) -> None:
        """Copy a segment up to its last signed checkpoint. Later records are not protected yet."""
        notes = _notes_of(files)
        _write_notes(folder, files, list(thinned(notes, MOST_CHECKPOINTS)))
        signed = last_signed(notes, trust)
        newest = newest_checkpoint(files)
        entries = self._entries(files)
        if entries is None:
            return
        size = signed[1].size if signed is not None else 0
        limit = None if newest is not None and newest.is_final and signed is not None and signed[1] == newest else size
        count = 0
        with (folder / "audit" / files.records.name).open("wb") as file:
            for count, entry in enumerate(entries, start=1):
                if limit is not None and count > limit:
                    self._left_out += 1
                else:
                    file.write(entry + b"\n")
        self._records += count if limit is None else min(count, limit)
        stored = reading.stored_hashes(files)
        (folder / "audit" / "chain" / files.hashes.name).write_bytes(stored if limit is None else stored[: limit * HASH_BYTES])

    def _chosen(self, files: SegmentFiles, folder: Path, trust: Trust) -> None:
        """Write the chosen records of a segment with their proofs, and its last checkpoints, which link the segments."""
        _write_notes(folder, files, list(thinned(_notes_of(files), 1)))
        entries = self._entries(files)
        if entries is not None:
            name = f"{files.log}-{files.number:06d}.jsonl"
            self._records += self._write_proved(files, entries, folder / "records" / name, trust, self.choice.wants_record)

    def _write_acts(self, folder: Path) -> None:
        if not self.source.acts.is_dir():
            return
        trust = self.source.trust_of(self.source.acts)
        for files in reading.find_segments(self.source.acts)[0]:
            if files.records.exists():
                target = folder / "acts" / f"{files.log}-{files.number:06d}.jsonl"
                self._acts += self._write_proved(
                    files,
                    read_entries(files.records),
                    target,
                    trust,
                    lambda entry: self.choice.wants_act(entry, self.source.bundles),
                )

    def _write_proved(
        self, files: SegmentFiles, entries: Iterable[bytes], target: Path, trust: Trust, wants: Callable[[bytes], bool]
    ) -> int:
        """Write the wanted records, each with its inclusion proof under the segment's last signed checkpoint; how many were written."""
        chosen, leaves = [], []
        for index, entry in enumerate(entries):
            leaves.append(sha256(b"\x00" + entry).digest())
            if wants(entry):
                chosen.append((index, entry))
        signed = last_signed(_notes_of(files), trust)
        covered = [(index, entry) for index, entry in chosen if signed is not None and index < signed[1].size]
        self._left_out += len(chosen) - len(covered)
        if signed is None or not covered:
            return 0
        note, checkpoint = signed
        tree = SegmentTree(leaves)
        if checkpoint.size > tree.size or tree.root_at(checkpoint.size) != checkpoint.root:
            raise PackageError(
                f"{files.records}: the records do not match the last checkpoint, so none of them can be proved; "
                "`vedette audit verify` names the one that was changed, and --whole exports the segment as it is"
            )
        with target.open("wb") as file:
            file.write(_json({"log": files.log, "segment": files.number, "checkpoint": note}))
            for index, entry in covered:
                proof = [b64encode(step).decode() for step in tree.inclusion(index, checkpoint.size)]
                file.write(_json({"index": index, "record": entry.decode(), "inclusion": proof}))
        return len(covered)

    def _entries(self, files: SegmentFiles) -> Iterable[bytes] | None:
        return read_entries(files.records) if files.records.exists() else self.source.archived(files)

    def _write_anchors(self, folder: Path, chosen: Sequence[SegmentFiles]) -> None:
        here = {(files.log, files.number) for files in chosen}
        with (folder / "anchors.jsonl").open("wb") as file:
            for name, note in self.source.anchored:
                try:
                    checkpoint = Checkpoint.parse(text_of(note))
                except NoteError:
                    continue
                if (checkpoint.log, checkpoint.segment) in here:
                    file.write(_json({"anchor": name, "note": note}))

    def _write_manifest(self, folder: Path, chosen: Sequence[SegmentFiles]) -> None:
        logs: dict[str, list[int]] = {}
        for files in chosen:
            logs.setdefault(files.log, []).append(files.number)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        listed = {path.relative_to(folder).as_posix(): _digest(path) for path in paths}
        choice = self.choice
        manifest = {
            "format": FORMAT,
            "made_us": self.now_us,
            "from_us": choice.from_us,
            "to_us": min(choice.to_us, self.now_us),
            "models": sorted(choice.models),
            "tenants": sorted(choice.tenants),
            "whole": choice.is_whole,
            "logs": logs,
            "records": self._records,
            "acts": self._acts,
            "files": {path: {"sha256": digest} for path, digest in listed.items()},
        }
        raw = json.dumps(manifest, indent=1).encode() + b"\n"
        (folder / "manifest.json").write_bytes(raw)
        text = f"{KIND}\nmanifest {b64encode(sha256(raw).digest()).decode()}\ntime_us {self.now_us}\n"
        note = self.signer.sign(text) if self.signer is not None else unsigned(text)
        (folder / "manifest.note").write_text(note, encoding="utf-8")


def _notes_of(files: SegmentFiles) -> list[str]:
    return read_notes(files.checkpoints) if files.checkpoints.exists() else []


def _write_notes(folder: Path, files: SegmentFiles, notes: Sequence[str]) -> None:
    (folder / "audit" / "chain" / files.checkpoints.name).write_bytes(b"".join(map(note_line, notes)))


def _copy(source: Path, target: Path) -> None:
    """Copy a file of a log. Links are not followed: they may lead to a private key."""
    try:
        with open_to_read(source) as file:
            target.write_bytes(file.read())
    except FileNotFoundError:
        return


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _pack(folder: Path, out: Path) -> None:
    """Make a .tar.gz that does not tell on which machine, or by whom, it was made."""

    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(out, "w:gz") as archive:
        archive.add(folder, folder.name, filter=anonymous)
