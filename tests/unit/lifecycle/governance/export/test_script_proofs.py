"""The script's own Ed25519 and Merkle trees say what the libraries do, malformed input included."""

import ast
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.governance.export.script import proofs
from lifecycle.governance.export.texts import script
from serving.audit import merkle
from tests.fakes.audit.merkle_proofs import consistency_proof, inclusion_proof
from tests.laws import examples

# RFC 8032, section 7.1: secret key, public key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(public, message, signature):
    assert proofs.is_signature(bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message))
    assert not proofs.is_signature(bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message) + b"x")


def library(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.heavy
@examples(40)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 127 * 8), st.integers(0, 2))
def test_signatures_and_signatures_with_a_flipped_bit(seed, message, bit, what):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert proofs.is_signature(public, signature, message)
    parts = [bytearray(public), bytearray(signature), bytearray(message or b"m")]
    part = parts[what]
    part[bit // 8 % len(part)] ^= 1 << bit % 8
    changed = [bytes(p) for p in parts]
    assert proofs.is_signature(*changed) == library(*changed)


MALFORMED = {
    "S is one order too large": lambda p, s: (
        p,
        s[:32] + (int.from_bytes(s[32:], "little") + proofs.ORDER).to_bytes(32, "little"),
    ),
    "a short signature": lambda p, s: (p, s[:-1]),
    "a long signature": lambda p, s: (p, s + b"\0"),
    "an empty signature": lambda p, s: (p, b""),
    "a short key": lambda p, s: (p[:-1], s),
    "a key that is no point": lambda p, s: ((2).to_bytes(32, "little"), s),
    "a key whose y is not reduced": lambda p, s: ((proofs.PRIME + 3).to_bytes(32, "little"), s),
    "a key of x 0 with a sign": lambda p, s: ((1 | 1 << 255).to_bytes(32, "little"), s),
    "zeros": lambda p, s: (bytes(32), bytes(64)),
    "R and S exchanged": lambda p, s: (p, s[32:] + s[:32]),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_malformed_keys_and_signatures_are_refused_as_the_library_does(change):
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, signature = change(key.public_key().public_bytes_raw(), key.sign(b"message"))
    assert not proofs.is_signature(public, signature, b"message")
    assert not library(public, signature, b"message")


@given(st.integers(1, 40), st.data())
def test_trees_and_proofs(size, data):
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(size)]
    first, index = data.draw(st.integers(1, size)), data.draw(st.integers(0, size - 1))
    root = merkle.root_of(leaves)
    assert proofs.Tree(leaves).root_at(first) == merkle.root_of(leaves[:first])
    proof = inclusion_proof(leaves, index)
    proofs.check_inclusion(leaves[index], index, size, proof, root)
    with pytest.raises(proofs.Wrong):
        proofs.check_inclusion(leaves[index], index, size, [*proof, root], root)
    consistent = consistency_proof(leaves, first)
    proofs.check_consistency(first, merkle.root_of(leaves[:first]), size, root, consistent)
    with pytest.raises(proofs.Wrong):
        proofs.check_consistency(first, bytes(32), size, root, consistent)


def test_the_halves_import_the_standard_library_only():
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in ast.walk(ast.parse(script()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names | {"__future__"}
