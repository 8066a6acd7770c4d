"""Proofs of RFC 9162 made in the plainest way, from all leaves at once: what checks and other makers of proofs are compared with."""

from collections.abc import Sequence

from serving.audit.merkle import node_hash, root_of


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of `leaves`, lowest first. Source: RFC 9162, section 2.1.3.1.

    Raises IndexError where there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    proof: list[bytes] = []
    level, at = list(leaves), index
    while len(level) > 1:
        sibling = at ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level = _parents(level)
        at >>= 1
    return proof


def consistency_proof(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """The hashes that show that the tree of the first `first` leaves is a prefix of the tree of all. Source: RFC 9162, section 2.1.4.1.

    Raises IndexError unless 0 < first <= len(leaves)."""
    if not 0 < first <= len(leaves):
        raise IndexError(f"a tree of {first} entries is not a prefix of a tree of {len(leaves)}")
    return _subproof(leaves, first, 0, len(leaves), is_known=True)


def _parents(level: list[bytes]) -> list[bytes]:
    pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) & 1 else pairs


def _subproof(leaves: Sequence[bytes], first: int, start: int, end: int, *, is_known: bool) -> list[bytes]:
    size = end - start
    if first == size:
        return [] if is_known else [root_of(leaves[start:end])]
    middle = 1 << (size - 1).bit_length() - 1
    if first <= middle:
        return [*_subproof(leaves, first, start, start + middle, is_known=is_known), root_of(leaves[start + middle : end])]
    proof = _subproof(leaves, first - middle, start + middle, end, is_known=False)
    return [*proof, root_of(leaves[start : start + middle])]
