"""The proof of a receipt, made and checked on the server, with each step of the check in words.

The steps are those that `vedette audit receipt --check FILE` takes off line: RFC 9162, section 2.1.3.2, and the signature of the
checkpoint."""

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lifecycle.governance.acts import PREDICTIONS
from lifecycle.governance.archive.archiving import archived_records
from lifecycle.governance.archive.place import ArchiveError, ArchivePlace
from lifecycle.governance.verify.finding_receipts import prove_receipt
from lifecycle.governance.verify.receipts import CheckedProof, ReceiptError, ReceiptProof, RecordProof, check
from lifecycle.governance.verify.tree import SegmentTree
from operators.console.log_index.index_file import IndexUnavailable
from operators.console.log_index.record_lines import line_of
from operators.console.log_index.record_queries import RecordRow
from serving.audit.anchors.port import AnchorError, AnchorUrlError
from serving.audit.anchors.urls import open_anchor
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust
from serving.audit.merkle import leaf_hash, node_hash
from serving.audit.segment_files import SegmentFiles, newest_checkpoint
from serving.audit.signed_note import NoteError, text_of

MOST_TREES: Final = 4
"""Of ended segments; some megabytes each."""
MOST_AT_ONCE: Final = 4
"""Proofs that are made at one moment: for each a segment may be hashed and anchors asked, and other pages need threads too."""
_Identity = tuple[int, int, int]


class EndedTrees:
    """The trees of ended segments that were proved from last, so that a segment is hashed once. One object for all threads.

    A tree that was kept proves no more than the checkpoint signs: a file that is changed later is another one, and a line that is not in
    the tree has no proof."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, _Identity], SegmentTree] = OrderedDict()
        self._turn = threading.Lock()
        self.making = threading.BoundedSemaphore(MOST_AT_ONCE)

    def identities(self, segments: Iterable[SegmentFiles]) -> dict[str, _Identity]:
        """By stem, the files of those segments that have ended."""
        found = ((files.stem, _identity(files)) for files in segments)
        return {stem: one for stem, one in found if one is not None}

    def known(self, identities: dict[str, _Identity]) -> dict[str, SegmentTree]:
        """The trees that are kept of these, by stem."""
        with self._turn:
            return {key[0]: self._kept[key] for key in identities.items() if key in self._kept}

    def keep(self, identities: dict[str, _Identity], trees: dict[str, SegmentTree]) -> None:
        """Keep the trees of ended segments; the oldest make room."""
        with self._turn:
            for stem, identity in identities.items():
                if stem in trees:
                    self._kept[stem, identity] = trees[stem]
                    self._kept.move_to_end((stem, identity))
            while len(self._kept) > MOST_TREES:
                self._kept.popitem(last=False)


def _identity(files: SegmentFiles) -> _Identity | None:
    """None: the segment goes on, or nothing says that it has ended. Zeros: its records are in the archive, where nothing changes."""
    try:
        last = newest_checkpoint(files)
        if last is None or not last.is_final:
            return None
        found = files.records.stat()
    except FileNotFoundError:
        return 0, 0, 0
    except (NoteError, OSError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One step of the check. found: the hash or name that it leads to."""

    words: str
    found: str
    is_good: bool = True


@dataclass(frozen=True, slots=True)
class ProvedRecord:
    """One record of the receipt with its steps. checked: what the check shows; None if it failed."""

    proof: RecordProof
    steps: tuple[ProofStep, ...]
    checkpoint: Checkpoint | None
    checked: CheckedProof | None


@dataclass(frozen=True, slots=True)
class ShownReceipt:
    """A receipt's proof. problem: why there is none, or why it does not hold; empty if it does. is_known: whether a record has it."""

    receipt: str
    proof: ReceiptProof | None = None
    records: tuple[ProvedRecord, ...] = ()
    problem: str = ""
    is_known: bool = True

    @property
    def is_proved(self) -> bool:
        """Whether the proof holds."""
        return self.proof is not None and not self.problem


def shown_receipt(
    store: Path,
    archive: ArchivePlace | None,
    receipt: str,
    rows: Sequence[RecordRow],
    anchored: Sequence[tuple[str, str]] = (),
    *,
    trees: EndedTrees,
) -> ShownReceipt:
    """Prove the records of a receipt, and check the proof. rows: where the index has them. anchored: see `prove_receipt`. trees: kept ones;
    the caller holds one of its `making`."""
    folder = store / PREDICTIONS
    try:
        trust = Trust.of_store(store, folder)
        if not trust.keys:
            return ShownReceipt(receipt, problem=f"{store / 'keys' / 'trusted'} has no key, so no signature counts")
        found = [
            (SegmentFiles.of(folder, row.segment), row.line, line_of(folder, archive, row.segment, row.line, row.at))
            for row in rows
        ]
        archived = archived_records(archive) if archive is not None else lambda _: None
        identities = trees.identities(files for files, _, _ in found)
        known = trees.known(identities)
        proof = prove_receipt(folder, receipt, trust, anchored, found=found, archived=archived, trees=known)
        trees.keep(identities, known)
    except (ReceiptError, NoteError, ArchiveError, IndexUnavailable, OSError, ValueError) as problem:
        return ShownReceipt(receipt, problem=str(problem))
    try:
        checked: Sequence[CheckedProof | None] = check(proof, trust)
        problem_words = ""
    except ReceiptError as problem:
        checked, problem_words = [None] * len(proof.proofs), str(problem)
    records = [_with_steps(one, shown) for one, shown in zip(proof.proofs, checked, strict=True)]
    return ShownReceipt(receipt, proof, tuple(records), problem_words)


def anchored_notes(urls: str) -> tuple[list[tuple[str, str]], str]:
    """The notes that the configured anchors hold, and what is wrong with an anchor, in words."""
    found: list[tuple[str, str]] = []
    problems = []
    for url in urls.split():
        try:
            anchor = open_anchor(url)
            try:
                found += [(anchor.label, note) for note in anchor.read()]
            finally:
                anchor.close()
        except (AnchorUrlError, AnchorError, OSError) as problem:
            problems.append(str(problem))
    return found, "; ".join(problems)


def _with_steps(proof: RecordProof, checked: CheckedProof | None) -> ProvedRecord:
    try:
        checkpoint = Checkpoint.parse(text_of(proof.checkpoint))
    except NoteError:
        checkpoint = None
    steps = inclusion_steps(proof, checkpoint.root if checkpoint is not None else b"")
    names = ", ".join(key.rpartition("+")[0] for key in proof.signers)
    is_signed = checked is not None
    steps.append(ProofStep("A trusted key signed the checkpoint that has this root", names or "nobody", is_signed))
    if proof.anchored is not None:
        steps.append(
            ProofStep("A place outside of the log holds a checkpoint that continues this one", proof.anchored.anchor, is_signed)
        )
    return ProvedRecord(proof, tuple(steps), checkpoint, checked)


def inclusion_steps(proof: RecordProof, root: bytes) -> list[ProofStep]:
    """From the record's own hash to the root, one step for each hash of the proof; the last step compares the root."""
    node = leaf_hash(proof.record.encode())
    steps = [ProofStep("The hash of the record, as the log has it", _short(node))]
    at, last = proof.index, proof.size - 1
    for number, text in enumerate(proof.inclusion, 1):
        other = base64.b64decode(text)
        if at & 1 or at == last:
            node = node_hash(other, node)
            side = "left"
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            node = node_hash(node, other)
            side = "right"
        at >>= 1
        last >>= 1
        steps.append(ProofStep(f"Level {number}: with the neighbour on the {side}, {_short(other)}", _short(node)))
    words = "This is the root that the checkpoint has" if node == root else "The checkpoint has another root"
    steps.append(ProofStep(words, _short(root), node == root))
    return steps


def _short(raw: bytes) -> str:
    return raw.hex()[:16] + "…" if raw else "none"
