"""What an attacker has: the files of a folder of logs, an older copy of them, and a key of his own."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lifecycle.governance.verify.findings import FindingKind
from serving.audit.checkpoint import Checkpoint
from serving.audit.merkle import leaf_hash
from serving.audit.segment_files import SegmentFiles, note_line, read_entries, read_notes, segments_in
from serving.audit.signed_note import Signer, text_of
from tests.fakes.audit.honest_logs import HonestLogs


@dataclass(frozen=True)
class Expected:
    """What verification must say. line: must lie within the lines that the finding names; exactly: it must be the first of them."""

    kind: FindingKind
    log: str
    segment: int | None = None
    line: int | None = None
    is_exact: bool = True
    also: tuple[str, ...] = ()
    """Other logs that this attack touches: findings about them accuse nobody wrongly."""


@dataclass(frozen=True)
class Attack:
    name: str
    family: str
    do: Callable[["Scene"], Expected]


@dataclass
class Scene:
    """A copy of honest logs to attack. foreign: a key that nobody trusts. Files are replaced, never written into: they are links."""

    logs: HonestLogs
    foreign: Signer

    @classmethod
    def of(cls, logs: HonestLogs, folder: Path, foreign: Signer) -> "Scene":
        shutil.copytree(logs.folder, folder, copy_function=os.link)
        return cls(replace(logs, folder=folder, anchored=list(logs.anchored)), foreign)

    def files(self, log: str, number: int) -> SegmentFiles:
        return self.logs.segment(log, number)

    def lines(self, log: str, number: int) -> list[bytes]:
        return list(read_entries(self.files(log, number).records))

    def put_lines(self, log: str, number: int, lines: Sequence[bytes], *, with_hashes: bool = False) -> None:
        files = self.files(log, number)
        self.put(files.records, b"".join(line + b"\n" for line in lines))
        if with_hashes:
            self.put(files.hashes, b"".join(map(leaf_hash, lines)))

    def notes(self, log: str, number: int) -> list[str]:
        return read_notes(self.files(log, number).checkpoints)

    def put_notes(self, log: str, number: int, notes: Sequence[str]) -> None:
        self.put(self.files(log, number).checkpoints, b"".join(map(note_line, notes)))

    def checkpoints(self, log: str, number: int) -> list[Checkpoint]:
        return [Checkpoint.parse(text_of(note)) for note in self.notes(log, number)]

    def put(self, path: Path, data: bytes) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def remove(self, log: str, *numbers: int, but_notes: bool = False) -> None:
        """All files of segments; of all where no number is given."""
        for files in segments_in(self.logs.folder):
            if files.log == log and (not numbers or files.number in numbers):
                for path in (files.records, files.hashes, *(() if but_notes else (files.checkpoints,))):
                    path.unlink(missing_ok=True)

    def at(self, log: str, number: int, where: float) -> int:
        """An index of a protected record: 0 is the first, 1 the last."""
        size = max(c.size for c in self.checkpoints(log, number))
        return int(where * (size - 1))

    def stones(self) -> list[str]:
        return read_notes(self.logs.folder / "chain" / "removed.jsonl")

    def put_stones(self, notes: Sequence[str]) -> None:
        self.put(self.logs.folder / "chain" / "removed.jsonl", b"".join(map(note_line, notes)))

    def roll_back(self, log: str, number: int, to: int) -> int:
        """A segment as it was at its checkpoint number `to`, from 0: what an older copy holds. How many records that were."""
        checkpoint = self.checkpoints(log, number)[to]
        lines = self.lines(log, number)[: checkpoint.size]
        self.put_notes(log, number, self.notes(log, number)[: to + 1])
        self.put_lines(log, number, lines, with_hashes=True)
        return checkpoint.size


def edited(line: bytes) -> bytes:
    """A record with another verdict: what somebody would change who has something to hide."""
    record = json.loads(line)
    record["verdicts"] = ["never asked"]
    return json.dumps(record, separators=(",", ":")).encode()
