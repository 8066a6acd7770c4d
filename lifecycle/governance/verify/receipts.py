"""Proofs of single records: a record is in a segment whose checkpoint a key signed; an anchored checkpoint may confirm it. Pure.

A proof is JSON. It holds all that is needed to check it off line, except the verifier's own trust in a key:

    {"format": "vedette-receipt/1", "receipt": ID, "proofs": [{
        "log": LOG, "segment": N, "line": from 1, "record": the line,
        "index": leaf, from 0, "size": of the tree, "inclusion": [base64, lowest first],
        "checkpoint": signed note, "signers": [VERIFIERKEY],
        "anchored": null or {"anchor": URL, "checkpoint": signed note, "consistency": [base64]}}],
     "keys": [notes by which keys vouched for others]}

An answer of several variants has several records, each with its proof. Inclusion and consistency are those of RFC 9162."""

import base64
from collections.abc import Iterable, Sequence
from typing import Final, Self

import msgspec

from lifecycle.governance.verify.tree import SegmentTree
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.merkle import ProofError, check_consistency, check_inclusion, leaf_hash
from serving.audit.signed_note import NoteError, text_of

FORMAT: Final = "vedette-receipt/1"


class ReceiptError(Exception):
    """A receipt cannot be proved, or its proof does not hold; the message says why."""


class AnchoredCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint of the same segment, as old or later, that an anchor holds, and the proof that it continues the proof's own."""

    anchor: str
    checkpoint: str
    consistency: list[str]


class RecordProof(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of one record. The module's docstring says what its fields are."""

    log: str
    segment: int
    line: int
    record: str
    index: int
    size: int
    inclusion: list[str]
    checkpoint: str
    signers: list[str]
    anchored: AnchoredCheckpoint | None = None


class ReceiptProof(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that proves an answer. keys: notes by which one key vouched for the next."""

    receipt: str
    proofs: list[RecordProof]
    keys: list[str]
    format: str = FORMAT

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Parse the JSON. Raises ReceiptError."""
        try:
            proof = msgspec.json.decode(raw, type=cls)
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without end
            raise ReceiptError(f"not a proof of a receipt: {error}") from error
        if proof.format != FORMAT or not proof.proofs:
            raise ReceiptError(f"not a proof of a receipt in the form {FORMAT}: {proof.format!r}, {len(proof.proofs)} proofs")
        return proof

    def encode(self) -> bytes:
        """The JSON, indented, with a newline at the end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class CheckedProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid proof shows. before_us: the record was written before this time, microseconds since the epoch. anchor: empty if none
    confirms it."""

    log: str
    segment: int
    line: int
    size: int
    before_us: int
    signers: list[str]
    anchor: str


def prove(
    entry: bytes, index: int, tree: SegmentTree, notes: Sequence[str], trust: Trust, anchored: Iterable[tuple[str, str]] = ()
) -> RecordProof:
    """Prove that `entry` is leaf `index`, from 0, of a segment, by the first signed checkpoint that covers it. Raises ReceiptError.

    notes: the segment's checkpoints. anchored: names of anchors and notes that they hold; the first one that covers the record is used."""
    note, checkpoint = _first_over(index, tree, notes, trust)
    try:
        record = entry.decode()
    except UnicodeDecodeError as error:
        raise ReceiptError(
            f"line {index + 1} of segment {checkpoint.segment} of {checkpoint.log} is no text: it was changed"
        ) from error
    return RecordProof(
        log=checkpoint.log,
        segment=checkpoint.segment,
        line=index + 1,
        record=record,
        index=index,
        size=checkpoint.size,
        inclusion=list(map(_base64, tree.inclusion(index, checkpoint.size))),
        checkpoint=note,
        signers=[str(key) for key in trust.signers(note)],
        anchored=_anchored(checkpoint, tree, trust, anchored),
    )


def check(receipt: ReceiptProof, trust: Trust) -> list[CheckedProof]:
    """Check every proof off line and return what each shows. Raises ReceiptError for the first that does not hold."""
    return [_check(proof, receipt.receipt, trust) for proof in receipt.proofs]


def _first_over(index: int, tree: SegmentTree, notes: Sequence[str], trust: Trust) -> tuple[str, Checkpoint]:
    """The first checkpoint that covers the record, that a trusted key signed and that the records match. Raises ReceiptError."""
    why = "no checkpoint covers it yet; a writer makes one each second"
    for note in notes:
        try:
            checkpoint = Checkpoint.parse(text_of(note))
            if checkpoint.size <= index:
                continue
            if not trust.signers(note):
                why = f"the checkpoint over it is not signed by a trusted key: {trust.why_not(note)}"
            elif checkpoint.size > tree.size or tree.root_at(checkpoint.size) != checkpoint.root:
                why = "the records do not fit the checkpoint over it; `vedette audit verify` says which was changed"
            else:
                return note, checkpoint
        except NoteError as error:
            why = str(error)
    raise ReceiptError(f"line {index + 1} cannot be proved: {why}")


def _anchored(
    checkpoint: Checkpoint, tree: SegmentTree, trust: Trust, anchored: Iterable[tuple[str, str]]
) -> AnchoredCheckpoint | None:
    for name, note in anchored:
        try:
            other = Checkpoint.parse(text_of(note))
            is_same = (other.log, other.segment) == (checkpoint.log, checkpoint.segment)
            if not is_same or not checkpoint.size <= other.size <= tree.size or not trust.signers(note):
                continue
        except NoteError:
            continue
        if tree.root_at(other.size) == other.root:
            proof = tree.consistency(checkpoint.size, other.size) if other.size > checkpoint.size else []
            return AnchoredCheckpoint(name, note, list(map(_base64, proof)))
    return None


def _check(proof: RecordProof, receipt: str, trust: Trust) -> CheckedProof:
    place = f"segment {proof.segment} of {proof.log}, line {proof.line}"
    try:
        checkpoint = Checkpoint.parse(text_of(proof.checkpoint))
        signers = trust.signers(proof.checkpoint)
        if not signers:
            raise ReceiptError(f"{place}: no trusted key signed the checkpoint: {trust.why_not(proof.checkpoint)}")
        if (checkpoint.log, checkpoint.segment, checkpoint.size) != (proof.log, proof.segment, proof.size):
            raise ReceiptError(f"{place}: the checkpoint is of another segment or size")
        if proof.line != proof.index + 1 or _receipt_in(proof.record) != receipt:
            raise ReceiptError(f"{place}: the record is not that of receipt {receipt}")
        leaf = leaf_hash(proof.record.encode())
        check_inclusion(leaf, proof.index, proof.size, list(map(_raw, proof.inclusion)), checkpoint.root)
        if proof.anchored is not None:
            _check_anchored(proof.anchored, checkpoint, trust, place)
    except (NoteError, ProofError, UnicodeEncodeError) as error:
        raise ReceiptError(f"{place}: the proof does not hold: {error}") from error
    return CheckedProof(
        log=proof.log,
        segment=proof.segment,
        line=proof.line,
        size=proof.size,
        before_us=checkpoint.time_us,
        signers=[str(key) for key in signers],
        anchor=proof.anchored.anchor if proof.anchored is not None else "",
    )


def _check_anchored(anchored: AnchoredCheckpoint, checkpoint: Checkpoint, trust: Trust, place: str) -> None:
    other = Checkpoint.parse(text_of(anchored.checkpoint))
    if (other.log, other.segment) != (checkpoint.log, checkpoint.segment) or not trust.signers(anchored.checkpoint):
        raise ReceiptError(f"{place}: the anchored checkpoint is of another segment, or no trusted key signed it")
    proof = list(map(_raw, anchored.consistency))
    check_consistency(checkpoint.size, checkpoint.root, other.size, other.root, proof)


class _HasReceipt(msgspec.Struct):
    receipt: str


_RECEIPT: Final = msgspec.json.Decoder(_HasReceipt)


def _receipt_in(record: str) -> str | None:
    try:
        return _RECEIPT.decode(record).receipt
    except (ValueError, RecursionError):
        return None


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _raw(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # no ASCII, or no base64
        raise ProofError(f"no base64: {text[:60]!r}") from error
