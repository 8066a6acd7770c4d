"""The Merkle tree of one whole segment, kept level by level, so that it can give the root and the proofs of each of its sizes. Pure.

serving.audit.merkle grows a tree and checks proofs. This one is made at once from all leaves, which is three times as fast."""

from collections.abc import Sequence
from hashlib import sha256

from serving.audit.merkle import EMPTY_ROOT, node_hash


class SegmentTree:
    """A tree over leaf hashes, 32 bytes each. Building it costs one hash a leaf."""

    __slots__ = ("_levels",)

    def __init__(self, leaves: Sequence[bytes]) -> None:
        level = list(leaves)
        self._levels = [level]
        while len(level) > 1:
            level = [
                sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)
            ]  # a last node without a partner belongs to no complete subtree
            self._levels.append(level)

    @property
    def leaves(self) -> list[bytes]:
        """The leaves' hashes."""
        return self._levels[0]

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def root_at(self, size: int) -> bytes:
        """Root of the first `size` leaves, 32 bytes. Raises IndexError if there are fewer."""
        if not 0 <= size <= self.size:
            raise IndexError(f"a tree of {size} entries, of {self.size}")
        return self._root_between(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that leaf `index` is in the tree of the first `size`, lowest hash first. Raises IndexError. Source: RFC 9162, section
        2.1.3.1."""
        if not 0 <= index < size <= self.size:
            raise IndexError(f"entry {index} of {size}, of {self.size}")
        start, end, proof = 0, size, []
        while end - start > 1:
            middle = start + _half(end - start)
            if index < middle:
                proof.append(self._root_between(middle, end))
                end = middle
            else:
                proof.append(self._root_between(start, middle))
                start = middle
        return proof[::-1]

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Proof that the tree of `first` leaves is a prefix of the tree of `second`. Raises IndexError. Source: RFC 9162, section
        2.1.4.1."""
        if not 0 < first <= second <= self.size:
            raise IndexError(f"from {first} to {second} entries, of {self.size}")
        start, end, proof = 0, second, []
        while first != end:
            middle = start + _half(end - start)
            if first <= middle:
                proof.append(self._root_between(middle, end))
                end = middle
            else:
                proof.append(self._root_between(start, middle))
                start = middle
        if start:  # the verifier knows the earlier tree's own root
            proof.append(self._root_between(start, end))
        return proof[::-1]

    def _root_between(self, start: int, end: int) -> bytes:
        """Root of the leaves from start to end, where start is a multiple of a power of two that is at least their number."""
        nodes, at = [], start
        for level in range((end - start).bit_length() - 1, -1, -1):
            if (end - start) >> level & 1:
                nodes.append(self._levels[level][at >> level])
                at += 1 << level
        root = nodes[-1]
        for left in reversed(nodes[:-1]):
            root = node_hash(left, root)
        return root


def _half(size: int) -> int:
    """The largest power of two below size."""
    return 1 << (size - 1).bit_length() - 1
