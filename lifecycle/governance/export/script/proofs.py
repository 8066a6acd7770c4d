"""Checks an audit package without Vedette: Python 3.8 or later, standard library only. `python3 -I verify.py --help`.

It reads the files beside it and believes only what a key signed. You decide which key to believe: compare the key that it prints with one
that you have from elsewhere, or pass that one with --key. Formats: RFC 9162 (Merkle trees), C2SP signed notes and checkpoints, RFC 8032
(Ed25519). Exit code 0: sound; 1: something was found; 2: the command was wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, NamedTuple

DAY_US = 24 * 3600 * 1000000
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
ROOT_OF_MINUS_1 = pow(2, (PRIME - 1) // 4, PRIME)
BASE_Y = 4 * pow(5, PRIME - 2, PRIME) % PRIME


class Wrong(Exception):
    """A check failed; the message says why."""


def point_add(p: tuple[int, int, int, int], q: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Sum in extended coordinates. RFC 8032, section 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * p[3] * q[3] * CURVE_D % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def point_decode(raw: bytes) -> tuple[int, int, int, int] | None:
    """The curve point that 32 bytes encode; None if they encode none. RFC 8032, section 5.1.3."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= PRIME:
        return None
    x2 = (y * y - 1) * pow(CURVE_D * y * y + 1, PRIME - 2, PRIME) % PRIME
    x = pow(x2, (PRIME + 3) // 8, PRIME)
    if (x * x - x2) % PRIME:
        x = x * ROOT_OF_MINUS_1 % PRIME
    if (x * x - x2) % PRIME or (x == 0 and sign):
        return None
    x = PRIME - x if x & 1 != sign else x
    return x, y, 1, x * y % PRIME


def point_encode(p: tuple[int, int, int, int]) -> bytes:
    """The 32 bytes of a point."""
    inverse = pow(p[2], PRIME - 2, PRIME)
    x, y = p[0] * inverse % PRIME, p[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature fits. RFC 8032, section 5.1.7."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, s = point_decode(public), int.from_bytes(signature[32:], "little")
    if key is None or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    base = point_decode(BASE_Y.to_bytes(32, "little"))
    assert base is not None  # noqa: S101  # nosec B101  # for the type
    minus = (PRIME - key[0], key[1], 1, PRIME - key[3])
    both, total = point_add(base, minus), (0, 1, 1, 0)
    for bit in range(255, -1, -1):  # s * base - h * key, both at once
        total = point_add(total, total)
        pair = (s >> bit & 1, h >> bit & 1)
        if pair != (0, 0):
            total = point_add(total, both if pair == (1, 1) else base if pair == (1, 0) else minus)
    return point_encode(total) == signature[:32]


def sha256(raw: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(raw).digest()


def unbase64(text: str) -> bytes:
    """Decode strict base64. Raises Wrong."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong(f"no base64: {text[:60]!r}") from error


class Tree:
    """The Merkle tree over leaf hashes, and the root of each of its prefixes. RFC 9162, section 2.1.1."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels = [leaves]
        while len(self.levels[-1]) > 1:
            level = self.levels[-1]
            self.levels.append([sha256(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)])

    def root_at(self, size: int) -> bytes:
        """Root of the first `size` leaves."""
        nodes, at = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                nodes.append(self.levels[level][at >> level])
                at += 1 << level
        root = nodes.pop() if nodes else sha256(b"")
        while nodes:
            root = sha256(b"\x01" + nodes.pop() + root)
        return root

    def fits(self, checkpoint: dict[str, Any]) -> bool:
        """Whether a checkpoint has the size and root of a prefix of this tree."""
        return bool(checkpoint["size"] <= len(self.levels[0]) and self.root_at(checkpoint["size"]) == checkpoint["root"])


def check_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """Check that `leaf` is entry `index`, from 0, of a tree with this size and root. RFC 9162, section 2.1.3.2. Raises Wrong."""
    at, last, node = index, size - 1, leaf
    if not 0 <= index < size:
        raise Wrong(f"entry {index} cannot be one of {size}")
    for step in proof:
        if last == 0:
            raise Wrong("the inclusion proof is too long")
        if at & 1 or at == last:
            node = sha256(b"\x01" + step + node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = sha256(b"\x01" + node + step)
        at, last = at >> 1, last >> 1
    if last or node != root:
        raise Wrong("the inclusion proof leads to another root: the record was changed, or is not of this log")


def check_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: list[bytes]) -> None:
    """Check that a tree of `first` entries is a prefix of a tree of `second` entries. RFC 9162, section 2.1.4.2. Raises Wrong."""
    if first == second and not proof and first_root == second_root:
        return
    path = ([first_root] if first & (first - 1) == 0 else []) + proof
    if not 0 < first < second or not path:
        raise Wrong("the consistency proof does not hold")
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            raise Wrong("the consistency proof is too long")
        if at & 1 or at == last:
            old, new = sha256(b"\x01" + step + old), sha256(b"\x01" + step + new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = sha256(b"\x01" + new + step)
        at, last = at >> 1, last >> 1
    if last or old != first_root or new != second_root:
        raise Wrong("the consistency proof does not lead to the anchored checkpoint: history was changed")


def difference(expected: list[bytes], found: list[bytes], elsewhere: dict[bytes, str]) -> tuple[str, int, str]:
    """The first difference: what was done, at which index (from 0), and what shows it. elsewhere: leaf -> its place in another segment."""
    at = next((i for i in range(min(len(expected), len(found))) if expected[i] != found[i]), min(len(expected), len(found)))
    if at == len(found):
        return "cut off", at, f"{len(expected) - at} records are cut off at the end"
    here = found[at]
    comes_later = at == len(expected) or expected[at] in found[at + 1 :]
    if 0 < expected.count(here) < found.count(here):
        return "duplicated", at, f"a copy of the record of line {expected.index(here) + 1}"
    if here in expected:
        origin = expected.index(here)
        if comes_later:
            return "moved", at, f"the record of line {origin + 1} stands here"
        return "removed", at, f"{origin - at} records are missing here"
    if here in elsewhere:
        return "spliced", at, f"the record of {elsewhere[here]} stands here"
    return ("inserted" if comes_later else "changed"), at, "a record that was not written"


def shown(text: str) -> str:
    """Text that is safe to print: a file's name may hold control characters of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_of(segment: tuple[str, int]) -> str:
    """A segment in words."""
    return f"{segment[0]}, segment {segment[1]}"


class Key(NamedTuple):
    """A public key: NAME+ID+BASE64(0x01 || key)."""

    name: str
    public: bytes
    text: str

    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return sha256(self.name.encode() + b"\n\x01" + self.public)[:4]


def read_key(text: str) -> Key:
    """Parse a public key, NAME+ID+KEY. Raises Wrong."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise Wrong(f"not a public key (NAME+ID+KEY): {text[:80]!r}")
    raw = unbase64(parts[2])
    key = Key(parts[0], raw[1:], text.strip())
    if raw[:1] != b"\x01" or len(raw) != 33 or key.id().hex() != parts[1]:
        raise Wrong(f"not a public key: its id does not fit: {text[:80]!r}")
    return key


def read_revoked(text: str) -> dict[Key, int]:
    """Revocations, `NAME+ID+KEY time_us T` a line: by key, the last time at which it may sign. Raises Wrong."""
    found: dict[Key, int] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        match = re.match("^([^ ]+) time_us ([0-9]{1,18})$", line)
        if match is None:
            raise Wrong(f"not a revocation (NAME+ID+KEY time_us T): {line[:80]!r}")
        key = read_key(match.group(1))
        found[key] = min(int(match.group(2)), found.get(key, 1 << 62))
    return found


class Trust:
    """The keys that count, each with the span of time in which it may sign, in microseconds since the epoch.

    notes: by these a trusted key vouches for its successor. revoked: key -> the last time at which it may sign. unknown: notes that no
    trusted key signed."""

    def __init__(self, pinned: list[Key], notes: list[str], revoked: dict[Key, int]) -> None:
        self.revoked = revoked
        self.spans: dict[Key, tuple[int, int]] = {key: (0, revoked.get(key, 1 << 62)) for key in pinned}
        self.unknown: list[str] = []
        self.successors: dict[Key, Key] = {}
        waiting = notes
        while waiting:
            later = [note for note in waiting if not self._accept(note)]
            if len(later) == len(waiting):
                self.unknown = later
                return
            waiting = later

    def _accept(self, note: str) -> bool:
        """Accept a note by which a trusted key vouches for its successor; False if it is not one (yet)."""
        try:
            words = words_of(text_of(note), "vedette-audit-key")
            new, old, time_us = read_key(words["key"]), read_key(words["replaces"]), whole_number(words["time_us"])
            if old not in signers(note, [old]):
                return False
        except (KeyError, ValueError, Wrong):
            return False
        if old not in self.spans or time_us < self.spans[old][0]:
            return False
        if new in self.successors or self.successors.setdefault(old, new) != new:
            return False  # a key has one successor, and does not come back
        self.spans[old] = (self.spans[old][0], min(self.spans[old][1], time_us + DAY_US))
        if old not in self.revoked:  # a thief would vouch for a key of their own
            self.spans.setdefault(new, (time_us - DAY_US, self.revoked.get(new, 1 << 62)))
        return True

    def check(self, note: str) -> list[Key]:
        """The keys that signed the note and might sign at its time. Raises Wrong if there are none."""
        times = re.findall(r"^time_us ([0-9]{1,16})$", text_of(note), re.MULTILINE)
        if len(times) != 1:
            raise Wrong(f"the note does not say one time: {note[:80]!r}")
        time_us = int(times[0])
        found = [key for key in signers(note, list(self.spans)) if self.spans[key][0] <= time_us <= self.spans[key][1]]
        if not found:
            late = ", ".join(key.name for key in signers(note, list(self.spans)))
            if late:
                raise Wrong(f"signed by {late}, which may not sign at that time: it was replaced or revoked")
            who = ", ".join(line.partition(" ")[2].partition(" ")[0] for line in note[len(text_of(note)) + 1 :].splitlines())
            raise Wrong(f"signed by {who}, which is no trusted key" if who else "it has no signature")
        return found


def text_of(note: str) -> str:
    """The text of a note, without its signatures. Raises Wrong."""
    text, separator, _ = note.partition("\n\n")
    if not separator or any("\ud800" <= c <= "\udfff" for c in text):
        raise Wrong(f"not a signed note: {note[:80]!r}")
    return text + "\n"


def signers(note: str, keys: list[Key]) -> list[Key]:
    """Which of the keys signed. Raises Wrong if a signature has the name and id of one of them but does not fit."""
    text, found = text_of(note), []
    lines = note[len(text) + 1 :].splitlines()
    if len(lines) > 100:
        raise Wrong(f"a note has at most 100 signatures, and this one {len(lines)}")
    for line in lines:
        match = re.match("^\u2014 (\\S+) ([A-Za-z0-9+/]+={0,2})$", line)
        if match is None:
            raise Wrong(f"not a signature line: {line[:80]!r}")
        raw = unbase64(match.group(2))
        for key in keys:
            if (key.name, key.id()) == (match.group(1), raw[:4]):
                if not is_signature(key.public, raw[4:], text.encode()):
                    raise Wrong(f"the signature of {key.name} does not fit: the text was changed")
                found.append(key)
    return found


def whole_number(text: str) -> int:
    """A decimal number of at most 16 digits. Raises Wrong."""
    if not re.fullmatch("[0-9]{1,16}", text):
        raise Wrong(f"not a number: {text[:40]!r}")
    return int(text)


def words_of(text: str, kind: str) -> dict[str, str]:
    """The lines after the first, as word -> value. Raises Wrong if the first line is not `kind`."""
    first, *rest = text.rstrip("\n").split("\n")
    if first != kind:
        raise Wrong(f"not a {kind}: {text[:80]!r}")
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in rest}


def segment_of(origin: str) -> tuple[str, int]:
    """Split LOG/NUMBER. Raises Wrong."""
    log, _, number = origin.rpartition("/")
    return log, whole_number(number)


def read_checkpoint(note: str) -> dict[str, Any]:
    """The fields of a checkpoint. Raises Wrong."""
    lines = text_of(note).rstrip("\n").split("\n")
    try:
        log, _, number = lines[0][len("vedette-audit/") :].rpartition("/")
        words = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines[3:] if not line.startswith("witness ")}
        witnesses = [line.split(" ") for line in lines[3:] if line.startswith("witness ")]
        previous = words["previous"]
        found: dict[str, Any] = {
            "log": log, "segment": whole_number(number), "size": whole_number(lines[1]), "root": unbase64(lines[2]),
            "previous": None if previous == "-" else unbase64(previous), "digest": sha256(text_of(note).encode()),
            "is_final": "final" in words, "is_sealed": "sealed_by" in words, "time_us": whole_number(words["time_us"]),
            "witnesses": [(*segment_of(w[1]), whole_number(w[2]), unbase64(w[3])) for w in witnesses],
        }  # fmt: skip
    except (IndexError, KeyError, ValueError) as error:
        raise Wrong(f"not a checkpoint: {note[:80]!r}") from error
    if not lines[0].startswith("vedette-audit/") or len(found["root"]) != 32:
        raise Wrong(f"not a checkpoint: {note[:80]!r}")
    return found


def read_json(raw: bytes | str) -> Any:
    """Parse a JSON document. Raises ValueError, also for one that is nested too deeply."""
    try:
        return json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested without end") from error


def check_receipt(raw: bytes, pinned: list[Key], revoked: dict[Key, int]) -> str:
    """Check the proof of one receipt off line, and say in words what it proves. Raises Wrong."""
    try:
        receipt = read_json(raw)
        found = []
        for proof in receipt["proofs"]:
            trust = Trust(pinned or [read_key(text) for text in proof["signers"]], receipt["keys"], revoked)
            checkpoint = read_checkpoint(proof["checkpoint"])
            trust.check(proof["checkpoint"])
            if (checkpoint["log"], checkpoint["segment"], checkpoint["size"]) != (
                proof["log"],
                proof["segment"],
                proof["size"],
            ):
                raise Wrong("the checkpoint is of another segment")
            if read_json(proof["record"])["receipt"] != receipt["receipt"]:
                raise Wrong("the record is of another receipt")
            leaf = sha256(b"\x00" + proof["record"].encode())
            check_inclusion(leaf, proof["index"], proof["size"], list(map(unbase64, proof["inclusion"])), checkpoint["root"])
            anchored = proof.get("anchored")
            if anchored is not None:
                other = read_checkpoint(anchored["checkpoint"])
                trust.check(anchored["checkpoint"])
                if (other["log"], other["segment"]) != (checkpoint["log"], checkpoint["segment"]):
                    raise Wrong("the anchored checkpoint is of another segment")
                path_up = list(map(unbase64, anchored["consistency"]))
                check_consistency(checkpoint["size"], checkpoint["root"], other["size"], other["root"], path_up)
            found.append(f"{name_of((proof['log'], proof['segment']))}, line {proof['index'] + 1}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Wrong(f"not the proof of a receipt: {error}") from error
    if not found:
        raise Wrong("it holds no proof")
    return shown("receipt {} is proved: {}".format(receipt["receipt"], "; ".join(found)))
