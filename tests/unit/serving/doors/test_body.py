"""Bodies that come compressed: what they inflate to, and what that costs at most."""

import asyncio
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.doors import body
from serving.errors import BadRequest, TooLarge


def inflated(packed, limit=1 << 20, encoding=b"gzip"):
    return asyncio.run(body.inflate(packed, encoding, limit))


@given(st.lists(st.binary(max_size=9000), min_size=1, max_size=5))
def test_members_follow_one_another(parts):
    assert inflated(b"".join(gzip.compress(part) for part in parts)) == b"".join(parts)


@pytest.mark.parametrize("cut", [1, 9, 5000])
def test_a_member_that_is_cut_off_is_said_to_end_early(cut):
    packed = gzip.compress(b"first") + gzip.compress(bytes(range(256)) * 40, compresslevel=0)
    with pytest.raises(BadRequest, match="ends early"):
        inflated(packed[:-cut])


def test_what_inflates_over_the_limit_is_refused():
    assert len(inflated(gzip.compress(bytes(1 << 20)))) == 1 << 20
    with pytest.raises(TooLarge):
        inflated(gzip.compress(bytes((1 << 20) + 1)))
    with pytest.raises(TooLarge):
        inflated(gzip.compress(bytes(1 << 19)) * 3)


def test_what_follows_a_member_and_is_none_is_refused():
    with pytest.raises(BadRequest, match="is not valid in its Content-Encoding"):
        inflated(gzip.compress(b"first") + b"no member")


def test_many_small_members_are_not_copied_once_a_member(monkeypatch):
    """20 bytes each: a body of 16 MB would be copied 800,000 times."""
    handed = 0
    make = zlib.decompressobj

    class Counting:
        def __init__(self, bits):
            self._stream = make(bits)

        def decompress(self, data, most):
            nonlocal handed
            handed += len(data)
            return self._stream.decompress(data, most)

        def __getattr__(self, name):
            return getattr(self._stream, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    members = 10_000
    packed = gzip.compress(b"") * members
    assert inflated(packed) == b""
    assert handed <= members * 4096 + len(packed)
