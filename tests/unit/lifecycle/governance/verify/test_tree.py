"""The tree of a whole segment says what the growing one does, and its proofs are those of RFC 9162."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.governance.verify.tree import SegmentTree
from serving.audit.merkle import check_consistency, check_inclusion, leaf_hash, root_of
from tests.fakes.audit.merkle_proofs import consistency_proof, inclusion_proof

LEAVES = [leaf_hash(str(i).encode()) for i in range(40)]


@given(st.integers(0, 40), st.data())
def test_roots_and_proofs_of_every_size(size, data):
    tree = SegmentTree(LEAVES[:size])
    first = data.draw(st.integers(0, size))
    assert tree.root_at(first) == root_of(LEAVES[:first])
    if first:
        index = data.draw(st.integers(0, first - 1))
        assert tree.inclusion(index, first) == inclusion_proof(LEAVES[:first], index)
        check_inclusion(LEAVES[index], index, first, tree.inclusion(index, first), tree.root_at(first))
        proof = tree.consistency(first, size)
        assert proof == consistency_proof(LEAVES[:size], first)
        check_consistency(first, tree.root_at(first), size, tree.root_at(size), proof)


def test_what_is_not_in_the_tree_is_refused():
    tree = SegmentTree(LEAVES[:5])
    for ask in (
        lambda: tree.root_at(6),
        lambda: tree.inclusion(5, 5),
        lambda: tree.consistency(0, 5),
        lambda: tree.consistency(3, 6),
    ):
        with pytest.raises(IndexError):
            ask()
