"""Which replicas are counted if there is no room for all, and which were counted before. Pure.

A replica's place in [0, 1) is a hash of its identity, so the sample is independent of the counts and stays the same from look to look. A
replica whose mark was dropped, or that is not in the sample, is entered into a Bloom filter: if it comes back, or the sample grows, its old
counters do not count as evidence. A new replica may match by chance; its first look then sets only its mark."""

import base64
import hashlib
from collections.abc import Iterable, Iterator

BITS = 16_384
"""Of what is known of replicas without a mark: 2 kB. With 1,000 of them a new one is taken for one of them once in 400 times."""
HASHES = 4
"""Bits of each."""


def place(replica: str) -> float:
    """Its place in [0, 1)."""
    return int.from_bytes(_digest(replica)[:6]) / 2**48


def with_bits(bits: str, replicas: Iterable[str]) -> str:
    """The bits with those of these replicas. bits: base64; empty: none is set."""
    known = bytearray(base64.b64decode(bits) if bits else bytes(BITS // 8))
    for replica in replicas:
        for index in _places(replica):
            known[index // 8] |= 1 << index % 8
    return base64.b64encode(known).decode() if any(known) else ""


class SeenReplicas:
    """The Bloom filter, decoded once for many lookups."""

    def __init__(self, bits: str) -> None:
        self._known = base64.b64decode(bits) if bits else bytes(BITS // 8)

    def __contains__(self, replica: str) -> bool:
        return all(self._known[index // 8] & 1 << index % 8 for index in _places(replica))


def _places(replica: str) -> Iterator[int]:
    digest = _digest(replica)
    for i in range(HASHES):
        yield int.from_bytes(digest[6 + 4 * i : 10 + 4 * i]) % BITS


def _digest(replica: str) -> bytes:
    return hashlib.sha256(replica.encode("utf-8", "replace")).digest()
