"""Which schema a record says it has: prefix, header, the indexes of a Protobuf message."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.codecs.codec import Undecodable
from serving.stream.codecs.framing import Framed, SchemaRef, message_indexes, unframe
from serving.stream.ports import Partition, StreamRecord

GUID = UUID("89791762-2336-4186-9674-299b90a802e2")
GUID_BYTES = bytes([0x89, 0x79, 0x17, 0x62, 0x23, 0x36, 0x41, 0x86, 0x96, 0x74, 0x29, 0x9B, 0x90, 0xA8, 0x02, 0xE2])


def framed(value: bytes | None, *headers: tuple[str, bytes]) -> Framed | Undecodable | None:
    return unframe(StreamRecord(Partition("events", 0), 0, value, headers=headers))


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        pytest.param(b"\0\0\0\0\x01xy", (), Framed(SchemaRef(1), b"xy"), id="byte 0 and an id before the payload"),
        pytest.param(b"\0\xff\xff\xff\xff", (), Framed(SchemaRef(2**32 - 1), b""), id="the largest id, and no payload"),
        pytest.param(b"\x01" + GUID_BYTES + b"x", (), Framed(SchemaRef(None, GUID), b"x"), id="byte 1 and a GUID"),
        pytest.param(b"xy", (("__value_schema_id", b"\0\0\0\0\x07"),), Framed(SchemaRef(7), b"xy", b""), id="an id in a header"),
        pytest.param(
            b"xy", (("__value_schema_id", b"\x01" + GUID_BYTES + b"\x02\x02"),), Framed(SchemaRef(None, GUID), b"xy", b"\x02\x02"),
            id="a GUID in a header, and what Protobuf says behind it",
        ),
        pytest.param(b"xy", (("schema-id", b"12"),), Framed(SchemaRef(12), b"xy", b""), id="an id in digits"),
        pytest.param(b"\0\0\0\0\x01xy", (("schema-id", b"12"),), Framed(SchemaRef(12), b"\0\0\0\0\x01xy", b""),
                     id="a header comes before the value's first bytes"),
        pytest.param(b"x", (("schema-id", b"1"), ("schema-id", b"2")), Framed(SchemaRef(2), b"x", b""), id="the last header counts"),
        pytest.param(b"x", (("__key_schema_id", b"\0\0\0\0\x07"),), None, id="the key's schema is not the value's"),
        pytest.param(b'{"a": 1}', (), None, id="JSON names none"),
        pytest.param(b"\0\0\0\0", (), None, id="four bytes are no id"),
        pytest.param(b"", (), None, id="nothing names none"),
    ],
)  # fmt: skip
def test_what_names_a_schema(value: bytes, headers: tuple[tuple[str, bytes], ...], expected: Framed | None) -> None:
    assert framed(value, *headers) == expected


@pytest.mark.parametrize("digits", [b"", b"-1", b"1.5", b"99999999999", b"4294967296", "٣".encode(), b"0x10"])
def test_a_header_that_is_no_id_is_said(digits: bytes) -> None:
    answer = framed(b"x", ("schema-id", digits))
    assert isinstance(answer, Undecodable)
    assert "expected the schema's id in digits" in answer.reason


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"\x02\0\0\0\x01", b"\x01" + GUID_BYTES[:15]])
def test_a_binary_header_that_is_no_id_is_said(content: bytes) -> None:
    assert isinstance(framed(b"x", ("__value_schema_id", content)), Undecodable)


@pytest.mark.parametrize(
    ("content", "indexes", "rest"),
    [
        pytest.param(b"\0\x08", (0,), b"\x08", id="one byte 0 is the first message"),
        pytest.param(bytes([2, 2, 9]), (1,), b"\x09", id="the second message"),
        pytest.param(bytes([6, 2, 4, 6]), (1, 2, 3), b"", id="three levels"),
        pytest.param(bytes([2, 0x80, 1, 9]), (64,), b"\x09", id="an index of two bytes"),
        pytest.param(b"", (0,), b"", id="nothing is the first message"),
    ],
)
def test_indexes_of_a_message(content: bytes, indexes: tuple[int, ...], rest: bytes) -> None:
    assert message_indexes(content) == (indexes, rest)


@pytest.mark.parametrize(
    "content", [b"\x01", b"\x04\x02", b"\x02\x01", b"\x80", b"\xff\xff\xff\xff\xff\xff", b"\xfe\xff\xff\xff\x0f"]
)
def test_indexes_that_cannot_be(content: bytes) -> None:
    assert isinstance(message_indexes(content), Undecodable)


@given(
    st.binary(max_size=30),
    st.lists(st.tuples(st.sampled_from(["schema-id", "__value_schema_id", "x"]), st.binary(max_size=20)), max_size=2),
)
def test_no_bytes_raise(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    found = framed(value, *headers)
    assert found is None or isinstance(found, Framed | Undecodable)
    assert isinstance(message_indexes(value), tuple | Undecodable)
