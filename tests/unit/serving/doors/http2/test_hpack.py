"""HPACK against RFC 7541's own examples, any fields there and back, bytes that are no block, and python-hyper's hpack as reference."""

import hpack
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
    pytest.param(b"\x3f\xe2\x1f", "over the limit", id="a table larger than allowed"),
    pytest.param(b"\x00\x01a\x84\xff\xff\xff\xff", "end-of-string", id="the end-of-string symbol within a string"),
    pytest.param(b"\x00\x01a\x81\x00", "the padding", id="padding that is no padding"),
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


NAMES = st.sampled_from([b":path", b"te", b"grpc-timeout", b"traceparent", b"x", b"content-type"]) | st.binary(
    min_size=1, max_size=9
)
VALUES = st.sampled_from([b"", b"trailers", b"/", b"application/grpc"]) | st.binary(max_size=60)
SPOKEN = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8)
"""Fields as a client says them: name, value, whether they may be remembered by nobody."""


@given(st.lists(st.tuples(SPOKEN, st.booleans(), st.sampled_from([None, 0, 60, 200, 4096])), max_size=6))
def test_what_the_reference_writes_is_read(blocks):
    """With and without Huffman's code, with a table that is filled, emptied and resized."""
    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    for fields, is_packed, table_bytes in blocks:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        assert decoder.decode(encoder.encode(fields, huffman=is_packed)) == [(name, value) for name, value, _ in fields]


@given(SPOKEN, st.booleans(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3), st.binary(max_size=12))
def test_damaged_blocks_are_read_or_refused_as_by_the_reference(fields, is_packed, damages, more):
    block = bytearray(hpack.Encoder().encode(fields, huffman=is_packed) + more)
    for place, value in damages:
        if block:
            block[place % len(block)] = value
    try:
        expected = [tuple(field) for field in hpack.Decoder().decode(bytes(block), raw=True)]
    except hpack.HPACKError:
        expected = None
    try:
        found, problem = HeaderDecoder().decode(bytes(block)), ""
    except HpackError as refused:
        found, problem = None, str(refused)
    assert found == expected or problem == "a number is too large", "numbers of more than five bytes are refused here"
