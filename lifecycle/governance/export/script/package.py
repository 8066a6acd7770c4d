"""The second half of verify.py: checks the content of an audit package file by file. Standard library only."""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import sys
from typing import Any, NamedTuple

from lifecycle.governance.export.script.proofs import (
    Key,
    Tree,
    Trust,
    Wrong,
    check_inclusion,
    check_receipt,
    difference,
    name_of,
    read_checkpoint,
    read_json,
    read_key,
    read_revoked,
    sha256,
    shown,
    text_of,
    unbase64,
    whole_number,
    words_of,
)

NAME = re.compile(r"segment-[0-9]{16}-([^\s/]+)-([0-9]{6})")
BY_HAND = ("manifest.json", "manifest.note")


class Found(NamedTuple):
    """One finding: what was done, where, and what shows it."""

    kind: str
    where: str
    what: str


def read_bytes(*parts: str) -> bytes:
    """A file's content. Empty if it is missing, is not a regular file, or is outside the folder that the first part names."""
    path = os.path.join(*parts)
    try:
        is_inside = len(parts) == 1 or os.path.realpath(path).startswith(os.path.join(os.path.realpath(parts[0]), ""))
        if not is_inside or not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        return b""


def names_in(*parts: str) -> list[str]:
    """The names in a folder, sorted; none where there is no folder."""
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []


def read_notes(*parts: str) -> list[str]:
    """The signed notes of a file, one per line. A line that holds no note is returned as it is, and no signature fits it."""
    notes = []
    for line in read_bytes(*parts).split(b"\n"):
        if line:
            try:
                notes.append(str(read_json(line)["note"]))
            except (ValueError, KeyError, TypeError):
                notes.append(line.decode("utf-8", "replace"))
    return notes


class Package:
    """A package, and what was found in it.

    pinned: the keys to believe; empty: those that the package names. revoked: further revocations, as lines. is_whole: the package has
    whole segments rather than chosen records with proofs."""

    def __init__(self, folder: str, pinned: list[Key], revoked: str = "") -> None:
        self.folder = folder
        self.found: list[Found] = []
        self.counts = {"records": 0, "acts": 0, "signed checkpoints": 0}
        try:
            manifest = read_json(read_bytes(folder, "manifest.json"))
            self.listed = {str(path): str(listed["sha256"]) for path, listed in manifest["files"].items()}
            self.is_whole = bool(manifest["whole"])
            self.logs = {(str(log), int(n)) for log, numbers in manifest.get("logs", {}).items() for n in numbers}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Wrong("manifest.json is not the manifest of an audit package") from error
        texts = read_bytes(folder, "keys", "trusted.txt").decode("utf-8", "replace").split()
        self.keys = pinned or [read_key(text) for text in texts]
        revoked += read_bytes(folder, "keys", "revoked.txt").decode("utf-8", "replace")
        self.trust = Trust(self.keys, read_notes(folder, "keys", "notes.jsonl"), read_revoked(revoked))
        self.leaves: dict[tuple[str, int], list[bytes]] = {}
        self.stones: dict[tuple[str, int], dict[str, str]] = {}
        self.claims: list[tuple[str, int, int, bytes, str]] = []

    def add(self, kind: str, where: str, what: str) -> None:
        """Keep a finding."""
        self.found.append(Found(kind, where, what))

    def check(self) -> None:
        """Check everything. The findings are then in `found`; the first one names the first bad record."""
        for note in self.trust.unknown:
            self.add("forged key", "keys/notes.jsonl", f"no trusted key signed, or it had a successor: {note[:160]!r}")
        segments = self.segments()
        for segment, stem in segments.items():
            self.leaves[segment] = self.hashes_of(stem)
        self.read_stones()
        judged = {segment: self.check_segment(segment, stem) for segment, stem in segments.items()}
        self.check_links(judged)
        self.check_claims(judged)
        for folder, count in (("records", "records"), ("acts", "acts")):
            for name in names_in(self.folder, folder):
                self.check_chosen(folder, name, count)
        self.check_files()

    def segments(self) -> dict[tuple[str, int], str]:
        """The segments that have any file: (log, number) -> the stem of its files, in order."""
        found = {}
        names = [name.partition(".")[0] for part in ("audit", "audit/chain") for name in names_in(self.folder, part)]
        for stem in sorted(set(names)):
            match = NAME.fullmatch(stem)
            if match is not None:
                found[match.group(1), int(match.group(2))] = stem
        return dict(sorted(found.items()))

    def hashes_of(self, stem: str) -> list[bytes]:
        """Leaf hashes of a segment's records, 32 bytes each."""
        lines = read_bytes(self.folder, "audit", stem + ".jsonl").split(b"\n")
        return [sha256(b"\x00" + line) for line in lines[:-1]]

    def read_stones(self) -> None:
        """Read the tombstones that a trusted key signed."""
        for note in read_notes(self.folder, "audit", "chain", "removed.jsonl"):
            try:
                words = words_of(text_of(note), "vedette-audit-removed")
                self.trust.check(note)
                log, _, number = words["segment"].rpartition("/")
                unbase64(words["checkpoint"])
                self.stones[log, whole_number(number)] = words
            except (Wrong, KeyError, ValueError) as error:
                self.add("forged tombstone", "audit/chain/removed.jsonl", str(error))

    def check_segment(self, segment: tuple[str, int], stem: str) -> list[dict[str, Any]]:
        """Check a segment's checkpoints, and its records against them. Returns the checkpoints that a trusted key signed."""
        good: list[dict[str, Any]] = []
        where = f"audit/chain/{stem}.checkpoints"
        notes = read_notes(self.folder, where)
        for number, note in enumerate(notes, start=1):
            at = f"{where}, line {number}"
            try:
                checkpoint = read_checkpoint(note)
                if (checkpoint["log"], checkpoint["segment"]) != segment:
                    self.add("spliced", at, f"a checkpoint of {name_of((checkpoint['log'], checkpoint['segment']))}")
                    continue
                self.trust.check(note)
            except Wrong as error:
                self.add("unsigned" if "no signature" in str(error) else "forged checkpoint", at, str(error))
                continue
            if good and checkpoint["digest"] == good[-1]["digest"]:
                self.add("duplicated", at, "a copy of the checkpoint before it")
            elif good and checkpoint["size"] < good[-1]["size"] + good[-1]["is_final"]:
                self.add("moved", at, "an earlier checkpoint stands behind a later one")
            elif good and good[-1]["is_final"]:
                self.add("rewritten", at, "a checkpoint follows the segment's final one")
            else:
                good.append(checkpoint)
                self.claims += [(*claim, name_of(segment)) for claim in checkpoint["witnesses"]]
        self.counts["signed checkpoints"] += len(good)
        if self.is_whole and good and all(c["is_sealed"] for c in good) and good[-1]["size"]:
            what = "its own writer signed no checkpoint of it; another writer ended it"
            self.add("unsigned", name_of(segment), what)
        has_records = os.path.exists(os.path.join(self.folder, "audit", stem + ".jsonl"))
        if self.is_whole and segment not in self.stones and not has_records:
            self.add("segment missing", name_of(segment), "its records are missing, and no tombstone accounts for them")
        elif has_records and good:
            self.check_records(segment, stem, good)
        elif has_records and not notes:
            self.add("checkpoint file missing", name_of(segment), "its records have no checkpoint")
        return good

    def check_records(self, segment: tuple[str, int], stem: str, good: list[dict[str, Any]]) -> None:
        """Compare a segment's records with its checkpoints, and report the first bad record."""
        leaves = self.leaves[segment]
        tree = Tree(leaves)
        wrong = next((c for c in good if not tree.fits(c)), None)
        raw = read_bytes(self.folder, "audit/chain", stem + ".hashes")
        stored = [raw[i : i + 32] for i in range(0, len(raw) - 31, 32)]
        where = f"audit/{stem}.jsonl, line"
        if wrong is None:
            self.counts["records"] += good[-1]["size"]
            if len(leaves) > good[-1]["size"]:
                kind, at, what = difference(leaves[: good[-1]["size"]], leaves, self.elsewhere(segment))
                self.add(kind, f"{where} {at + 1}", what)
            elif stored[: len(leaves)] != leaves[: len(stored)]:
                self.add("hashes changed", f"audit/chain/{stem}.hashes", "the stored hashes are not those of the records")
            return
        written = Tree(stored)
        if any(c["size"] >= wrong["size"] and written.fits(c) for c in good):
            kind, at, what = difference(stored, leaves, self.elsewhere(segment))
            self.add(kind, f"{where} {at + 1}", what)
            return
        intact = max([c["size"] for c in good if tree.fits(c)], default=0)
        kind = "changed" if len(leaves) == good[-1]["size"] else "removed" if len(leaves) < good[-1]["size"] else "inserted"
        kind = "cut off" if len(leaves) == intact else kind
        self.add(kind, f"{where} {intact + 1} to {wrong['size']}", "the stored hashes were changed too")

    def elsewhere(self, segment: tuple[str, int]) -> dict[bytes, str]:
        """Leaf hash -> the place of that record in another segment of the package."""
        others = [other for other in self.leaves if other != segment]
        return {leaf: f"{name_of(o)}, line {i + 1}" for o in others for i, leaf in enumerate(self.leaves[o])}

    def check_links(self, judged: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
        """Check that each segment names the one before it, and that no segment between the first and the last of a log is missing. The
        manifest lists the segments too."""
        for log in sorted({log for log, _ in {*judged, *self.logs}}):
            numbers = {number for name, number in {*judged, *self.logs} if name == log}
            numbers |= {number + 1 for number in numbers if number < max(numbers)}  # the first of each gap
            if not any(name == log for name, _ in judged):
                self.add("replica missing", log, "the manifest lists it, but none of its files is here")
                continue
            for number in sorted(numbers):
                segment, before = (log, number), judged.get((log, number - 1))
                if segment not in judged:
                    self.add("segment missing", name_of(segment), "none of its files is here")
                elif before:
                    own = [c["digest"] for c in before if not c["is_sealed"]]
                    links = {before[-1]["digest"], *own[-1:]} | ({before[-1]["previous"]} if not own else set())
                    wrong = [c for c in judged[segment] if c["previous"] not in links]
                    if wrong and not any(f"{log}-{number - 1:06d}" in found.where for found in self.found):
                        what = f"segment {number} names a last checkpoint of this segment that is not here"
                        self.add("checkpoint missing", name_of((log, number - 1)), what)
                stone = self.stones.get(segment)
                if stone is not None and judged.get(segment) and unbase64(stone["checkpoint"]) != judged[segment][-1]["digest"]:
                    self.add(
                        "checkpoint missing",
                        name_of(segment),
                        "the tombstone names a last checkpoint that is not here",
                    )

    def check_claims(self, judged: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
        """Compare the segments that are here whole with what signed checkpoints of other logs, and anchors, say of them."""
        for line in read_bytes(self.folder, "anchors.jsonl").split(b"\n"):
            if line:
                try:
                    held = read_json(line)
                    note, anchor = str(held["note"]), str(held["anchor"])
                except (ValueError, KeyError, TypeError):
                    self.add("file changed", "anchors.jsonl", "one of its lines does not hold a checkpoint")
                    continue
                try:
                    self.trust.check(note)
                    c = read_checkpoint(note)
                    self.claims.append((c["log"], c["segment"], c["size"], c["root"], f"the anchor {anchor}"))
                except Wrong:
                    continue  # an invalid note proves nothing
        for log, number, size, root, source in self.claims:
            leaves = self.leaves.get((log, number))
            if not leaves or any(log in found.where for found in self.found):
                continue
            if size > len(leaves):
                self.add("rolled back", f"{log}, segment {number}", f"{source} names {size} records")
            elif Tree(leaves).root_at(size) != root:
                self.add("rewritten", f"{log}, segment {number}", f"{source} contradicts its records")

    def check_chosen(self, folder: str, name: str, count: str) -> None:
        """Check a file of chosen records: its first line has the checkpoint, each other line a record and its proof."""
        where = f"{folder}/{name}"
        head, *lines = read_bytes(self.folder, folder, name).split(b"\n")
        try:
            note = str(read_json(head)["checkpoint"])
            checkpoint = read_checkpoint(note)
            self.trust.check(note)
        except (Wrong, ValueError, KeyError, TypeError) as error:
            self.add("forged checkpoint", where + ", line 1", str(error))
            return
        for number, line in enumerate(lines, start=2):
            if not line:
                continue
            try:
                proof = read_json(line)
                leaf = sha256(b"\x00" + proof["record"].encode())
                check_inclusion(
                    leaf, proof["index"], checkpoint["size"], list(map(unbase64, proof["inclusion"])), checkpoint["root"]
                )
                self.counts[count] += 1
            except (Wrong, ValueError, KeyError, TypeError, AttributeError) as error:
                self.add("changed", f"{where}, line {number}", str(error))
                return

    def check_files(self) -> None:
        """Check every file against the manifest, the manifest against its note, and every bundle against its name."""
        for path, listed in sorted(self.listed.items()):
            raw = read_bytes(self.folder, *path.split("/"))
            if not os.path.exists(os.path.join(self.folder, path)):
                self.add("file missing", path, "the manifest lists it")
            elif sha256(raw).hex() != listed:
                self.add("file changed", path, "its digest is not the one in the manifest")
            if path.startswith("bundles/") and sha256(raw).hex() != os.path.basename(path).partition(".")[0]:
                self.add("file changed", path, "it is not the bundle of this digest")
        for parent, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.relpath(os.path.join(parent, name), self.folder).replace(os.sep, "/")
                if path not in self.listed and path not in BY_HAND:
                    self.add("stray file", path, "the manifest does not list it")
        note = read_bytes(self.folder, "manifest.note").decode("utf-8", "replace")
        try:
            words = words_of(text_of(note), "vedette-audit-package")
            self.trust.check(note)
            if unbase64(words["manifest"]) != sha256(read_bytes(self.folder, "manifest.json")):
                raise Wrong("its digest is not that of manifest.json")
        except (Wrong, KeyError) as error:
            self.add("forged manifest", "manifest.json", str(error))


def main(words: list[str] | None = None) -> int:
    """Run the command line; its exit code: 0 sound, 1 not sound."""
    parser = argparse.ArgumentParser(description="Checks an audit package, or the proof of a receipt, without Vedette.")
    parser.add_argument(
        "folder", nargs="?", default=os.path.dirname(os.path.abspath(__file__)), help="package (default: this folder)"
    )
    parser.add_argument("--key", action="append", default=[], help="believe only this key, NAME+ID+KEY; several, or repeated")
    parser.add_argument("--revoked", help="file of revoked keys, NAME+ID+KEY time_us T a line, besides those of the package")
    parser.add_argument("--receipt", help="check this proof of a receipt instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    try:
        pinned = [
            read_key(one) for text in asked.key for one in text.split() or [text]
        ]  # a file of keys, too; an empty one is none
        revoked = ""
        if asked.revoked:
            with open(asked.revoked, encoding="utf-8") as file:
                revoked = file.read() + "\n"
        if asked.receipt:
            print(check_receipt(read_bytes(asked.receipt), pinned, read_revoked(revoked)))
            return 0
        package = Package(asked.folder, pinned, revoked)
        package.check()
    except (Wrong, OSError, UnicodeDecodeError) as error:
        print(shown(f"not sound: {error}"))
        return 1
    if asked.json:
        found = [one._asdict() for one in package.found]
        print(
            json.dumps(
                {
                    "is_sound": not found,
                    "findings": found,
                    "keys": [key.text for key in package.keys],
                    "revoked": {key.text: time_us for key, time_us in package.trust.revoked.items()},
                    **package.counts,
                },
                indent=2,
            )
        )
        return 1 if found else 0
    for one in package.found:
        print(shown(f"{one.kind}: {one.where}: {one.what}"))
    counted = ", ".join(f"{count} {what}" for what, count in package.counts.items())
    print(f"NOT SOUND, {len(package.found)} findings: {counted}" if package.found else f"sound: {counted}")
    for key, time_us in package.trust.revoked.items():
        print(f"revoked: {key.text} may not sign after time_us {time_us}")
    for key in package.keys:
        print("believed:", key.text, "" if pinned else "  (the package says so: compare it, or pass it with --key)")
    return 1 if package.found else 0


if __name__ == "__main__":
    sys.exit(main())
