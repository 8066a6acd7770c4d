"""Merkle trees of RFC 9162, section 2.1: roots, inclusion proofs, consistency proofs. SHA-256. Pure.

A leaf is hashed as SHA-256(0x00 || entry), an inner node as SHA-256(0x01 || left || right), so that no entry can stand for a node.
What the entries are is the business of serving.audit.segments."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of a tree without entries."""


_LEAF: Final = sha256(b"\x00")


class ProofError(Exception):
    """A proof does not lead from what is proved to the root."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry, 32 bytes."""
    hashing = _LEAF.copy()  # a third faster than a new one
    hashing.update(entry)
    return hashing.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class TreeBuilder:
    """A tree that grows at its right edge; it holds one hash for each complete subtree, at most 64.

    Appending costs two hashes on average, the root at most one a level."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        """Entries so far."""
        self._edge: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf's hash."""
        edge, size = self._edge, self.size
        while size & 1:
            leaf = sha256(b"\x01" + edge.pop() + leaf).digest()
            size >>= 1
        edge.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of several leaves: level by level, a third faster than one by one."""
        level, size, edge = list(leaves), self.size, self._edge
        self.size += len(level)
        complete: list[bytes] = []
        while level:
            if size & 1:
                level.insert(0, edge.pop())
            if len(level) & 1:
                complete.append(level.pop())
            pairs = iter(level)
            level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            size >>= 1
        edge.extend(reversed(complete))

    def copy(self) -> "TreeBuilder":
        """A tree of the same entries that grows by itself."""
        other = TreeBuilder()
        other.size, other._edge = self.size, self._edge.copy()
        return other

    def root(self) -> bytes:
        """Root of all entries so far, 32 bytes."""
        if not self._edge:
            return EMPTY_ROOT
        node = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            node = node_hash(left, node)
        return node


def tree_of(leaves: Iterable[bytes]) -> TreeBuilder:
    """The tree over the leaves' hashes."""
    tree = TreeBuilder()
    tree.extend(leaves)
    return tree


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Root over the leaves' hashes. Source: RFC 9162, section 2.1.1."""
    return tree_of(leaves).root()


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless the proof shows that `leaf` is number `index` of the `size` entries below `root`.

    Source: RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        raise ProofError(f"entry {index} does not exist in a tree of {size} entries")
    at, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofError("the proof is longer than the tree is high")
        if at & 1 or at == last:
            node = node_hash(step, node)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            node = node_hash(node, step)
        at >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the proof is shorter than the tree is high")
    if node != root:
        raise ProofError("the proof leads to another root")


def check_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ProofError unless the proof shows that the tree of `first` entries is a prefix of that of `second`.

    Source: RFC 9162, section 2.1.4.2."""
    if not 0 < first <= second:
        raise ProofError(f"a tree of {first} entries is not a prefix of a tree of {second}")
    if first == second:
        if proof or first_root != second_root:
            raise ProofError("two trees of the same size have different roots")
        return
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        raise ProofError("the proof is empty")
    old, new = _both_roots(first, second, path)
    if old != first_root:
        raise ProofError("the proof does not lead to the earlier root: history was changed")
    if new != second_root:
        raise ProofError("the proof does not lead to the later root")


def _both_roots(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    at, last = first - 1, second - 1
    while at & 1:
        at >>= 1
        last >>= 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            raise ProofError("the proof is longer than the tree is high")
        if at & 1 or at == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        at >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the proof is shorter than the tree is high")
    return old, new
