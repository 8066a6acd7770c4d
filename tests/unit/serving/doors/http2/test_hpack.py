"""HPACK against RFC 7541's own examples, any fields there and back, and bytes that are no block."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.doors.http2.hpack import MAX_FIELDS_BYTES, HeaderDecoder, HpackError, encode, unpacked

FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
FIELDS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=300)), max_size=12)


@pytest.mark.parametrize("blocks", [
    pytest.param(
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865"], id="appendix C.3: plain strings"
    ),
    pytest.param(["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf"], id="appendix C.4: Huffman-coded strings"),
])  # fmt: skip
def test_the_examples_of_the_rfc(blocks):
    decoder = HeaderDecoder()
    assert decoder.decode(bytes.fromhex(blocks[0])) == FIRST
    assert decoder.decode(bytes.fromhex(blocks[1])) == [*FIRST, (b"cache-control", b"no-cache")]


def test_a_table_that_is_full_forgets_the_oldest():
    decoder = HeaderDecoder()
    for index in range(200):
        name = b"x-%03d" % index
        decoder.decode(b"\x40" + bytes([len(name)]) + name + b"\x14" + b"v" * 20)
    kept = decoder.decode(bytes([0x80 | 62]))
    assert kept == [(b"x-199", b"v" * 20)]
    with pytest.raises(HpackError, match="no field has index"):
        decoder.decode(b"\xff\x80\x01")


@given(FIELDS)
def test_what_is_written_is_read(fields):
    decoder = HeaderDecoder()
    assert decoder.decode(encode(fields)) == fields
    assert decoder.generation == 0, "our own blocks leave the table as it is, so that they may be remembered"


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_fields_or_refused(blocks):
    decoder = HeaderDecoder()
    try:
        for block in blocks:
            decoder.decode(block)
    except HpackError:
        pass


@pytest.mark.parametrize(("block", "said"), [
    pytest.param(b"\x80", "index 0", id="index 0"),
    pytest.param(b"\xbe", "index 62", id="an index beyond the table"),
    pytest.param(b"\x00\x05ab", "longer than its block", id="a string cut off"),
    pytest.param(b"\x00", "ends within a field", id="a field cut off"),
    pytest.param(b"\x82\x20", "wrong place", id="a table resized after a field"),
    pytest.param(b"\x3f\xe2\x1f", "beyond what was allowed", id="a table larger than allowed"),
    pytest.param(b"\x00\x01a\x84\xff\xff\xff\xff", "end-of-string", id="the end-of-string symbol within a string"),
    pytest.param(b"\x00\x01a\x81\x00", "padded", id="padding that is no padding"),
    pytest.param(b"\xff\xff\xff\xff\xff\xff", "too large", id="a number without end"),
])  # fmt: skip
def test_refusals(block, said):
    with pytest.raises(HpackError, match=said):
        HeaderDecoder().decode(block)


def test_a_small_block_cannot_become_a_large_list():
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000)
    with pytest.raises(HpackError, match=str(MAX_FIELDS_BYTES)):
        decoder.decode(b"\xbe" * 100)


def test_a_string_of_every_byte():
    assert unpacked(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    assert unpacked(b"") == b""
