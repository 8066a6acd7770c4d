"""Judges one segment: whether its records hash to what its checkpoints, and those who witnessed it, say. Pure.

The first checkpoint that does not match limits a change to the records after the last one that does. The stored leaf hashes name the
record itself, if they still give the root of a checkpoint. Then they are as they were written, and nobody needs to trust their file."""

from collections.abc import Sequence
from dataclasses import dataclass

from lifecycle.governance.verify.differences import Elsewhere, first_difference
from lifecycle.governance.verify.findings import Finding, FindingKind, Place, Remark, RemarkKind
from lifecycle.governance.verify.statements import Statement, Statements
from lifecycle.governance.verify.tree import SegmentTree
from serving.audit.merkle import HASH_BYTES


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody outside a segment says of it: a checkpoint of another log, or an anchor. root: 32 bytes.

    checkpoint: digest of the checkpoint that an anchor holds; None if only size and root are known. source: who says it, in words."""

    log: str
    segment: int
    size: int
    root: bytes
    source: str
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class SegmentEvidence:
    """What is known of one segment. leaves: hashes of its records, 32 bytes each. stored: content of its file of hashes. claims: what
    others say."""

    log: str
    segment: int
    leaves: Sequence[bytes]
    stored: bytes
    statements: Statements
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True)
class SegmentJudgement:
    """The judgement on one segment. fits: the checkpoints that the records match. records: how many records there are."""

    fits: tuple[Statement, ...]
    records: int
    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...]


def judge_segment(evidence: SegmentEvidence, elsewhere: Elsewhere) -> SegmentJudgement:
    """Compare the records with the checkpoints, then the claims, then the stored hashes. There is at most one finding: what was done
    first."""
    tree = SegmentTree(evidence.leaves)
    good = evidence.statements.good
    fits = tuple(s for s in good if _fits(tree, s.checkpoint.size, s.checkpoint.root))
    wrong = next((s for s in good if s not in fits), None) if len(fits) < len(good) else None
    findings: list[Finding] = []
    if wrong is not None:
        findings.append(_broken(evidence, tree, wrong, fits, elsewhere))
    elif good and good[-1].checkpoint.is_final and tree.size > good[-1].checkpoint.size:
        findings.append(_after_the_end(evidence, tree, good[-1], elsewhere))
    else:
        findings += _against_claims(evidence, tree)
    stored = None if findings else _stored_hashes(evidence, tree)
    findings += [stored] if isinstance(stored, Finding) else []
    remarks = (stored,) if isinstance(stored, Remark) else ()
    return SegmentJudgement(fits, tree.size, tuple(findings), remarks)


def _fits(tree: SegmentTree, size: int, root: bytes) -> bool:
    return size <= tree.size and tree.root_at(size) == root


def _broken(
    evidence: SegmentEvidence, tree: SegmentTree, wrong: Statement, fits: Sequence[Statement], elsewhere: Elsewhere
) -> Finding:
    """The finding that the records do not match a checkpoint."""
    later = next((s for s in fits if s.checkpoint.size >= wrong.checkpoint.size and s.is_signed >= wrong.is_signed), None)
    if later is not None:
        place = Place(evidence.log, evidence.segment, wrong.line, file="checkpoints")
        kind = FindingKind.REWRITTEN if wrong.is_signed else FindingKind.FORGED_CHECKPOINT
        return Finding(kind, place, f"it contradicts the checkpoint of line {later.line}, which the records fit")
    expected = _authentic(evidence, wrong.checkpoint.size)
    if expected is None:
        return _bounded(evidence, tree, wrong, fits)
    is_whole = evidence.statements.good[-1].checkpoint.is_final
    found = first_difference(expected, tree.leaves, elsewhere, is_whole=is_whole)
    if found is None or found.index >= wrong.checkpoint.size:
        return _bounded(evidence, tree, wrong, fits)
    first, last = found.index + 1, found.index + found.count
    return Finding(found.kind, Place(evidence.log, evidence.segment, first, last), found.what)


def _authentic(evidence: SegmentEvidence, size: int) -> list[bytes] | None:
    """The stored hashes, if they give the root of a checkpoint over `size` records or more; else None."""
    stored = _hashes(evidence.stored)
    tree = SegmentTree(stored)
    for statement in reversed(evidence.statements.good):
        checkpoint = statement.checkpoint
        if checkpoint.size < size:
            return None
        if _fits(tree, checkpoint.size, checkpoint.root):
            return stored
    return None


def _bounded(evidence: SegmentEvidence, tree: SegmentTree, wrong: Statement, fits: Sequence[Statement]) -> Finding:
    """The finding without stored hashes: between the last checkpoint that matches and the first that does not."""
    intact = max((s.checkpoint.size for s in fits if s.checkpoint.size < wrong.checkpoint.size), default=0)
    first, last = intact + 1, wrong.checkpoint.size
    kind = _by_number(evidence, tree.size, intact)
    unlike = _unlike(evidence.stored, tree.leaves, intact, last)
    if unlike:
        first, last = unlike[0] + 1, unlike[-1] + 1
    place = Place(evidence.log, evidence.segment, first, max(first, last))
    return Finding(kind, place, f"the stored hashes were changed too: {_WHAT[kind]}")


_WHAT = {
    FindingKind.CUT_OFF: "the records after the last one that is proved are cut off",
    FindingKind.REMOVED: "a record between these is missing",
    FindingKind.INSERTED: "a record between these was added",
    FindingKind.CHANGED: "a record between these is not the one that was written",
}


def _by_number(evidence: SegmentEvidence, records: int, intact: int) -> FindingKind:
    """What was done, by how many records there are and how many there should be."""
    last = evidence.statements.good[-1].checkpoint
    if records < last.size:
        return FindingKind.CUT_OFF if records == intact else FindingKind.REMOVED
    return FindingKind.INSERTED if last.is_final and records > last.size else FindingKind.CHANGED


def _unlike(stored: bytes, leaves: Sequence[bytes], start: int, end: int) -> list[int]:
    """Where records and stored hashes differ between two places. Empty if they agree, because both were changed in the same way."""
    hashes = _hashes(stored)
    if len(hashes) != len(leaves):
        return []
    return [i for i in range(start, min(end, len(leaves))) if hashes[i] != leaves[i]]


def _after_the_end(evidence: SegmentEvidence, tree: SegmentTree, final: Statement, elsewhere: Elsewhere) -> Finding:
    size = final.checkpoint.size
    found = first_difference(tree.leaves[:size], tree.leaves, elsewhere, is_whole=True)
    kind, what = (found.kind, found.what) if found is not None else (FindingKind.INSERTED, "")
    return Finding(kind, Place(evidence.log, evidence.segment, size + 1, tree.size), what)


def _against_claims(evidence: SegmentEvidence, tree: SegmentTree) -> list[Finding]:
    """Compare the segment with what others say: at most one finding, from the claim over the most records that fails."""
    good = evidence.statements.good
    own = good[-1].checkpoint.size if good else 0
    for claim in sorted(evidence.claims, key=lambda claim: -claim.size):
        if claim.size > tree.size:
            place = Place(evidence.log, evidence.segment, tree.size + 1, claim.size)
            what = f"{claim.source} says that there were {claim.size} records; here are {tree.size}: an older copy"
            return [Finding(FindingKind.ROLLED_BACK, place, what)]
        if tree.root_at(claim.size) != claim.root:
            place = Place(evidence.log, evidence.segment, file="checkpoints")
            what = f"{claim.source} contradicts its first {claim.size} records: they were rewritten and signed again"
            return [Finding(FindingKind.REWRITTEN, place, what)]
        if evidence.statements.findings:
            continue  # those are why a checkpoint is not there
        if not good:
            place = Place(evidence.log, evidence.segment, file="checkpoints")
            what = f"it has no checkpoints, but {claim.source} names one over {claim.size} records"
            return [Finding(FindingKind.CHECKPOINT_FILE_MISSING, place, what)]
        is_lost = claim.checkpoint is not None and all(claim.checkpoint != s.digest for s in good)
        if claim.size > own or is_lost:
            place = Place(evidence.log, evidence.segment, _line_of(good, claim.size), file="checkpoints")
            return [Finding(FindingKind.CHECKPOINT_MISSING, place, f"{claim.source} names one over {claim.size} records")]
    return []


def _line_of(good: Sequence[Statement], size: int) -> int:
    """Where in the file a checkpoint of this size would stand."""
    return max((s.line for s in good if s.checkpoint.size <= size), default=0) + 1


def _stored_hashes(evidence: SegmentEvidence, tree: SegmentTree) -> Finding | Remark | None:
    """Compare the stored hashes with the proved records. A full disk leaves some out; the others are in order then."""
    if evidence.stored == b"".join(tree.leaves):
        return None
    stored = _hashes(evidence.stored)
    place = Place(evidence.log, evidence.segment, file="hashes")
    if stored[: tree.size] == tree.leaves:
        what = (
            f"{len(stored) - tree.size} more stored hashes than records: the disk took the hashes and then refused the records"
        )
        return Remark(RemarkKind.HASHES, place, what)
    left = iter(tree.leaves)
    if all(leaf in left for leaf in stored):
        return Remark(
            RemarkKind.HASHES,
            place,
            f"only {len(stored)} of {tree.size} records have a stored hash; a change would be harder to locate",
        )
    at = next((i for i, (a, b) in enumerate(zip(stored, tree.leaves, strict=False)) if a != b), tree.size)
    what = "the stored hash is not that of the record; the record is as it was written"
    return Finding(FindingKind.HASHES_CHANGED, Place(evidence.log, evidence.segment, at + 1, file="hashes"), what)


def _hashes(stored: bytes) -> list[bytes]:
    return [stored[i : i + HASH_BYTES] for i in range(0, len(stored) - HASH_BYTES + 1, HASH_BYTES)]
