"""Checkpoints: the size and the root of a log at one moment, in the form of C2SP's `tlog-checkpoint`, signed as a note. Pure.

    vedette-audit/LOG/SEGMENT      origin: which tree
    SIZE                           records in the segment
    ROOT                           base64 of its Merkle root (serving.audit.merkle)
    time_us T                      when, microseconds since the epoch, UTC
    before N                       records in the log's earlier segments
    previous HASH                  base64 of SHA-256 over the text of the last checkpoint of the segment before, or `-`
    final                          nothing follows in this segment
    sealed_by LOG                  its writer had ended; another log's writer made this checkpoint
    witness LOG/SEGMENT SIZE ROOT  what another log's newest checkpoint said
    witness_elsewhere ...          the same of a log that may lie in another folder, as an anchor told it
    witness_beside ...             the same of a log of the other folder of this store

The last five are there where they apply."""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from serving.audit.merkle import HASH_BYTES
from serving.audit.signed_note import NoteError, whole_number

_ORIGIN: Final = "vedette-audit/"
_WITNESSES: Final = ("witness", "witness_elsewhere", "witness_beside")


@dataclass(frozen=True, slots=True)
class Witness:
    """What a checkpoint says about another log: the size and root of its newest segment."""

    log: str
    segment: int
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A statement about one segment. root: 32 bytes. previous: SHA-256 of the text of the earlier segment's last checkpoint."""

    log: str
    segment: int
    size: int
    root: bytes
    time_us: int
    before: int
    previous: bytes | None
    is_final: bool = False
    sealed_by: str | None = None
    witnesses: tuple[Witness, ...] = ()
    elsewhere: tuple[Witness, ...] = ()
    beside: tuple[Witness, ...] = ()

    def text(self) -> str:
        """The text that is signed."""
        lines = [f"{_ORIGIN}{self.log}/{self.segment}", str(self.size), _base64(self.root), f"time_us {self.time_us}"]
        lines += [f"before {self.before}", f"previous {_base64(self.previous) if self.previous is not None else '-'}"]
        lines += ["final"] if self.is_final else []
        lines += [f"sealed_by {self.sealed_by}"] if self.sealed_by is not None else []
        for kind, witnesses in zip(_WITNESSES, (self.witnesses, self.elsewhere, self.beside), strict=True):
            lines += [f"{kind} {w.log}/{w.segment} {w.size} {_base64(w.root)}" for w in witnesses]
        return "\n".join(lines) + "\n"

    def digest(self) -> bytes:
        """SHA-256 of the text; the next segment names it as `previous`."""
        return sha256(self.text().encode()).digest()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a checkpoint. Raises NoteError."""
        try:
            origin, size, root, *rest = text.removesuffix("\n").split("\n")
            log, segment = origin.removeprefix(_ORIGIN).rsplit("/", 1)
            words = [line.split(" ") for line in rest]
            single = {first: values[0] for first, *values in words if values and first not in _WITNESSES}
            previous = single["previous"]
            checkpoint = cls(
                log,
                whole_number(segment),
                whole_number(size),
                _hash(root),
                whole_number(single["time_us"]),
                whole_number(single["before"]),
                None if previous == "-" else _hash(previous),
                ["final"] in words,
                single.get("sealed_by"),
                *(tuple(_witness(values) for first, *values in words if first == kind) for kind in _WITNESSES),
            )
        except (KeyError, ValueError) as error:
            raise NoteError(f"not a checkpoint of the prediction log: {text[:80]!r}") from error
        if checkpoint.text() != text:
            raise NoteError(f"not a checkpoint of the prediction log in canonical form: {text[:80]!r}")
        return checkpoint


def _witness(values: list[str]) -> Witness:
    origin, size, root = values
    log, segment = origin.rsplit("/", 1)
    return Witness(log, whole_number(segment), whole_number(size), _hash(root))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _hash(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"no base64: {text[:80]!r}") from error
    if len(raw) != HASH_BYTES:
        raise ValueError(f"not {HASH_BYTES} bytes: {text[:80]!r}")
    return raw
