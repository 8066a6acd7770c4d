"""A store with honest logs, acts and a bundle, the package exported from it, and what attackers do to a package."""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.export.choice import ExportChoice
from lifecycle.governance.export.package import ExportedPackage, ExportSource, PackageMaker
from serving.audit.keys.trust import KeyNote
from serving.audit.segment_files import note_line, read_notes
from serving.audit.segments import append_note
from serving.audit.signed_note import Signer, VerifierKey, text_of
from tests.fakes.audit.honest_logs import HonestLogs, write_honest_logs

BUNDLE = b'{"name": "flows", "version": "1"}\n'
DIGEST = f"sha256:{hashlib.sha256(BUNDLE).hexdigest()}"


@dataclass
class AuditedStore:
    logs: HonestLogs
    acts: Path

    def export(
        self,
        out: Path,
        choice: ExportChoice,
        signer: Signer | None = None,
        revoked: Mapping[VerifierKey, int] | None = None,
    ) -> ExportedPackage:
        source = ExportSource(
            self.logs.folder, self.acts, {DIGEST: BUNDLE}, self.logs.pinned, self.logs.anchored, revoked=revoked or {}
        )
        return PackageMaker(source, choice, signer or self.logs.second, self.logs.now_us).make(out)


def write_store(folder: Path) -> AuditedStore:
    """Small logs with few checkpoints: a script in Python takes milliseconds for each signature."""
    logs = write_honest_logs(folder / "audit", 300, checkpoints_a_segment=1)
    clock = itertools.count(logs.now_us - 1000)
    acts = ActsLog(folder / "governance", signer=lambda: logs.second, now_us=lambda: next(clock))
    append_note(acts.folder / "chain" / "keys.jsonl", _vouched(logs))
    for number, subject in enumerate(("modelservice/soc/flows", "modelservice/soc/nsl-kdd", f"bundle/{DIGEST}")):
        acts.record(Act(time_us=logs.now_us - 10 + number, actor="ada", action="rollout.promote", subject=subject, reason="r"))
    return AuditedStore(logs, acts.folder)


def script_main(folder: Path) -> Callable[[list[str]], int]:
    """`main` of the package's own verify.py, in this process. Compiled once, and what it says of a signature is remembered: it takes
    milliseconds for each, and packages of one store hold the same ones."""
    path = folder / "verify.py"
    script = path.read_bytes()
    names: dict[str, Any] = {"__name__": "verify", "__file__": str(path)}
    exec(_compiled(script), names)
    is_signature, known = names["is_signature"], _signatures.setdefault(script, {})

    def remembered(*signed: bytes) -> bool:
        if signed not in known:
            known[signed] = is_signature(*signed)
        return known[signed]

    names["is_signature"] = remembered
    return names["main"]


_signatures: dict[bytes, dict[tuple[bytes, ...], bool]] = {}
"""What each script said."""


@cache
def _compiled(script: bytes) -> CodeType:
    return compile(script, "verify.py", "exec")


def _vouched(logs: HonestLogs) -> str:
    return logs.first.sign(KeyNote(logs.second.verifier, logs.first.verifier, logs.now_us - 2000).text())


_Do = Callable[[Path, HonestLogs, Signer], None]


@dataclass(frozen=True)
class PackageAttack:
    """do: changes the package. kind, where: what the script must say first. whole: to which form of package it is done."""

    name: str
    do: _Do
    kind: str
    where: str
    whole: bool = True


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def _lines(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def _on_lines(pattern: str, change: Callable[[list[bytes]], list[bytes]]) -> _Do:
    return lambda folder, *_: _lines(one(folder, pattern), change)


def _remove(*patterns: str) -> _Do:
    return lambda folder, *_: [path.unlink() for pattern in patterns for path in folder.glob(pattern)]  # type: ignore[return-value]


def _splice(folder: Path, *_: object) -> None:
    other = one(folder, "audit/*-bravo-000004.jsonl").read_bytes().splitlines(keepends=True)[2]
    _lines(one(folder, "audit/*-alpha-000002.jsonl"), lambda lines: [*lines[:4], other, *lines[5:]])


def _sign_anew(folder: Path, _: HonestLogs, foreign: Signer) -> None:
    path = one(folder, "audit/chain/*-delta-000002.checkpoints")
    path.write_bytes(b"".join(note_line(foreign.sign(text_of(note))) for note in read_notes(path)))


def _write_the_manifest_anew(folder: Path, *_: object) -> None:
    """Change a file and its digest in the manifest: what the manifest's own signature is for."""
    readme, path = folder / "README.txt", folder / "manifest.json"
    readme.write_text("Nothing to see here.\n")
    manifest = json.loads(path.read_bytes())
    manifest["files"]["README.txt"]["sha256"] = hashlib.sha256(readme.read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))


def _take_a_proof_for_another_record(lines: list[bytes]) -> list[bytes]:
    first, second = json.loads(lines[1]), json.loads(lines[2])
    first["record"] = second["record"]
    return [lines[0], json.dumps(first).encode() + b"\n", *lines[2:]]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def _edit(pattern: str, old: bytes, new: bytes, *, line: int = 0) -> _Do:
    """Replace some bytes in one line of a file."""
    return _on_lines(pattern, lambda lines: [*lines[:line], lines[line].replace(old, new, 1), *lines[line + 1 :]])


def _put(pattern: str, content: bytes) -> _Do:
    """Replace the content of a file."""
    return lambda folder, *_: one(folder, pattern).write_bytes(content) and None


def _strip(lines: list[bytes]) -> list[bytes]:
    return [note_line(text_of(json.loads(lines[0])["note"]) + "\n"), *lines[1:]]


def _put_another_checkpoint(folder: Path, *_: object) -> None:
    other = one(folder, "records/alpha-000003.jsonl").read_bytes().splitlines(keepends=True)[0]
    _lines(one(folder, "records/alpha-000002.jsonl"), lambda lines: [other, *lines[1:]])


def _put_a_stray_file(folder: Path, *_: object) -> None:
    (folder / "audit" / "segment-0.jsonl").write_bytes(b"{}\n")


ALPHA_2, NOTES, STONES = "audit/*-alpha-000002.jsonl", "audit/chain/*-alpha-000002.checkpoints", "audit/chain/removed.jsonl"
HASHES, ALL_OF_ALPHA_2 = "audit/chain/*-alpha-000002.hashes", ("audit/*-alpha-000002.*", "audit/chain/*-alpha-000002.*")
SEALED = "audit/chain/*-charlie-000002.checkpoints"
CHOSEN, ACTS = "records/alpha-000002.jsonl", "acts/governance-000001.jsonl"
_WHOLE: list[tuple[str, _Do, str, str]] = [
    ("flip a bit", _edit(ALPHA_2, b"benign", b"bEnign", line=4), "changed", "line 5"),
    ("drop a record", _on_lines(ALPHA_2, lambda s: [*s[:4], *s[5:]]), "removed", "line 5"),
    ("swap two records", _on_lines(ALPHA_2, _swap), "moved", "line 5"),
    ("insert a record", _on_lines(ALPHA_2, lambda s: [*s[:4], b"{}\n", *s[4:]]), "inserted", "line 5"),
    ("duplicate a record", _on_lines(ALPHA_2, lambda s: [*s[:4], s[3], *s[4:]]), "duplicated", "line 5"),
    ("append to an ended segment", _on_lines(ALPHA_2, lambda s: [*s, b"{}\n"]), "inserted", "line 31"),
    ("truncate", _on_lines(ALPHA_2, lambda s: s[:9]), "cut off", "line 10"),
    ("splice a record of another log", _splice, "spliced", "line 5"),
    ("edit a checkpoint", _edit(NOTES, b"time_us 17", b"time_us 16"), "forged checkpoint", "line 1"),
    ("sign a segment anew with a foreign key", _sign_anew, "forged checkpoint", "delta-000002.checkpoints, line 1"),
    ("strip a signature", _on_lines(NOTES, _strip), "unsigned", "line 1"),
    ("remove the last checkpoint", _on_lines(NOTES, lambda s: s[:-1]), "checkpoint missing", "alpha, segment 2"),
    ("swap two checkpoints", _on_lines(NOTES, lambda s: [s[1], s[0], *s[2:]]), "moved", "line 2"),
    ("remove the checkpoints", _remove(NOTES), "checkpoint file missing", "alpha, segment 2"),
    ("remove the records of a segment", _remove(ALPHA_2), "segment missing", "alpha, segment 2"),
    ("remove a segment", _remove(*ALL_OF_ALPHA_2), "segment missing", "alpha, segment 2"),
    ("remove a replica", _remove("audit/*-charlie-*", "audit/chain/*-charlie-*"), "replica missing", "charlie"),
    (
        "take away the checkpoints of a sealed segment's own writer",
        _on_lines(SEALED, lambda s: s[-1:]),
        "unsigned",
        "charlie, segment 2",
    ),
    ("edit a tombstone", _edit(STONES, b"past retention", b"by order"), "forged tombstone", STONES),
    ("remove a tombstone", _on_lines(STONES, lambda s: s[1:]), "segment missing", "bravo, segment 1"),
    ("edit the stored hashes", _put(HASHES, bytes(32 * 30)), "hashes changed", "alpha-000002.hashes"),
    ("edit the README", _put("README.txt", b"Trust me."), "file changed", "README.txt"),
    ("edit the README and the manifest", _write_the_manifest_anew, "forged manifest", "manifest.json"),
    ("edit the manifest of a bundle", _put("bundles/*.json", b"{}"), "file changed", "bundles/"),
    ("put a file there", _put_a_stray_file, "stray file", "audit/segment-0.jsonl"),
    ("edit an act", _edit(ACTS, b"ada", b"eve", line=1), "changed", f"{ACTS}, line 2"),
]
_CHOSEN: list[tuple[str, _Do, str, str]] = [
    ("edit a chosen record", _edit(CHOSEN, b"benign", b"alerts", line=1), "changed", f"{CHOSEN}, line 2"),
    ("take a proof for another record", _on_lines(CHOSEN, _take_a_proof_for_another_record), "changed", f"{CHOSEN}, line 2"),
    ("put the checkpoint of another segment over them", _put_another_checkpoint, "changed", f"{CHOSEN}, line 2"),
    ("drop a chosen record", _on_lines(CHOSEN, lambda s: [*s[:2], *s[3:]]), "file changed", CHOSEN),
]
ATTACKS = [
    *(PackageAttack(name, do, kind, where) for name, do, kind, where in _WHOLE),
    *(PackageAttack(name, do, kind, where, whole=False) for name, do, kind, where in _CHOSEN),
]
