"""Finds the records of a receipt in a log and proves them. Segments are searched as bytes; only lines that hold the receipt are parsed."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from lifecycle.governance.verify import reading
from lifecycle.governance.verify.reading import RecordSource
from lifecycle.governance.verify.receipts import ReceiptError, ReceiptProof, RecordProof, prove
from lifecycle.governance.verify.tree import SegmentTree
from serving.audit.keys.keyring import key_notes
from serving.audit.keys.trust import Trust
from serving.audit.merkle import HASH_BYTES
from serving.audit.segment_files import SegmentFiles, read_notes


def find_receipt(folder: Path, receipt: str, *, newest_first: bool = True) -> Iterator[tuple[SegmentFiles, int, bytes]]:
    """The records of a receipt in the live segments: (segment, line number from 0, line) each. All of them are in one log."""
    for files in sorted(reading.find_segments(folder)[0], key=lambda files: files.stem, reverse=newest_first):
        try:
            data = files.records.read_bytes()
        except FileNotFoundError:
            continue
        yield from ((files, index, entry) for index, entry in lines_with(data, receipt))


def lines_with(data: bytes, receipt: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a segment that have this receipt, with their number from 0. data: the whole file. A torn last line is not a record."""
    needle = msgspec.json.encode(receipt)
    at = data.find(needle)
    while at >= 0:
        start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        if end < 0:
            return  # a torn last line is no record
        entry = data[start:end]
        if reading.receipt_of(entry) == receipt:
            yield data.count(b"\n", 0, start), entry
        at = data.find(needle, end)


def prove_receipt(
    folder: Path,
    receipt: str,
    trust: Trust,
    anchored: Sequence[tuple[str, str]] = (),
    *,
    found: Iterable[tuple[SegmentFiles, int, bytes]] | None = None,
    archived: RecordSource = lambda _: None,
    trees: dict[str, SegmentTree] | None = None,
) -> ReceiptProof:
    """Prove every record of a receipt. Raises ReceiptError if there is none or it cannot be proved, OSError, NoteError.

    trust: the keys that count. anchored: names of anchors and notes that they hold. found: where the records are, if that is known.
    archived: gives the records of an archived segment. trees: by the stem of a segment, those that are known; others are put in."""
    records = list(found if found is not None else find_receipt(folder, receipt))
    if not records:
        searched = "live segments alone were searched" if found is None else "live and archived segments were searched"
        raise ReceiptError(
            f"{folder}: no record with receipt {receipt!r}; a record is in the log within a second of its answer; {searched}, "
            "and segments that retention removed are gone"
        )
    trees = {} if trees is None else trees
    proofs = [_prove(files, index, entry, trust, anchored, trees, archived) for files, index, entry in records]
    return ReceiptProof(receipt=receipt, proofs=proofs, keys=key_notes(folder))


def _prove(
    files: SegmentFiles,
    index: int,
    entry: bytes,
    trust: Trust,
    anchored: Sequence[tuple[str, str]],
    trees: dict[str, SegmentTree],
    archived: RecordSource,
) -> RecordProof:
    notes = read_notes(files.checkpoints) if files.checkpoints.exists() else []
    if files.stem not in trees:
        trees[files.stem] = _tree(files, archived)
    return prove(entry, index, trees[files.stem], notes, trust, anchored)


def _tree(files: SegmentFiles, archived: RecordSource) -> SegmentTree:
    """The tree over the records, or over the stored hashes if the records are gone. A wrong hash matches no checkpoint."""
    leaves = reading.leaves_of(files, archived)
    if leaves is None:
        stored = reading.stored_hashes(files)
        leaves = [stored[i : i + HASH_BYTES] for i in range(0, len(stored), HASH_BYTES)]
    return SegmentTree(leaves)
