"""The tree of RFC 9162: known roots, and laws of its proofs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.audit.merkle import (
    EMPTY_ROOT,
    ProofError,
    TreeBuilder,
    check_consistency,
    check_inclusion,
    leaf_hash,
    root_of,
)
from tests.fakes.audit.merkle_proofs import consistency_proof, inclusion_proof

ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""The entries of Certificate Transparency's own test vectors, and the roots of their first 1 to 8."""
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = st.integers(1, 70).map(lambda n: [leaf_hash(b"%d" % i) for i in range(n)])


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_certificate_transparency(size):
    assert root_of([leaf_hash(entry) for entry in ENTRIES[:size]]).hex() == ROOTS[size - 1]


def test_a_tree_without_entries_has_a_root():
    assert TreeBuilder().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(LEAVES, st.data())
def test_every_entry_has_a_proof_and_it_proves_nothing_else(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = inclusion_proof(leaves, index), root_of(leaves)
    check_inclusion(leaves[index], index, len(leaves), proof, root)
    other = data.draw(st.integers(0, len(leaves) - 1).filter(lambda i: i != index) if len(leaves) > 1 else st.just(1))
    with pytest.raises(ProofError):
        check_inclusion(leaves[index], other, len(leaves), proof, root)
    with pytest.raises(ProofError):
        check_inclusion(leaf_hash(b"foreign"), index, len(leaves), proof, root)
    with pytest.raises(ProofError):
        check_inclusion(leaves[index], index, len(leaves), [*proof, root], root)


@given(LEAVES, st.data())
def test_a_later_tree_proves_that_it_holds_the_earlier_one(leaves, data):
    first = data.draw(st.integers(1, len(leaves)))
    proof = consistency_proof(leaves, first)
    check_consistency(first, root_of(leaves[:first]), len(leaves), root_of(leaves), proof)
    changed = [leaf_hash(b"changed"), *leaves[1:first]]
    with pytest.raises(ProofError):
        check_consistency(first, root_of(changed), len(leaves), root_of(leaves), proof)
    if first < len(leaves):
        with pytest.raises(ProofError):
            check_consistency(first, root_of(leaves[:first]), len(leaves), root_of(leaves), proof[:-1])


@given(LEAVES)
def test_growing_and_building_at_once_are_one(leaves):
    tree = TreeBuilder()
    for size, leaf in enumerate(leaves, start=1):
        tree.append(leaf)
        assert tree.root() == root_of(leaves[:size])


@given(LEAVES, st.integers(0, 70))
def test_leaves_added_together_are_those_added_one_by_one(leaves, first):
    """Both halves are added at once, to an empty tree and to one that has grown."""
    at_once, one_by_one = TreeBuilder(), TreeBuilder()
    for part in (leaves[:first], leaves[first:]):
        at_once.extend(part)
        for leaf in part:
            one_by_one.append(leaf)
        assert (at_once.size, at_once.root()) == (one_by_one.size, one_by_one.root())
