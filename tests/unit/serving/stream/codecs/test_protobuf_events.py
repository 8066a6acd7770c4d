"""Protobuf records: messages without generated code, the values that events have, bytes that lie."""

from datetime import datetime
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.codecs.codec import CodecLimits, Undecodable
from serving.stream.codecs.protobuf_codec import ProtobufCodec, ProtobufReader, ProtobufSchemaProblem, reader_of_set
from serving.stream.ports import Partition, StreamRecord

F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "int64": F.TYPE_INT64,
    "string": F.TYPE_STRING,
    "bytes": F.TYPE_BYTES,
    "double": F.TYPE_DOUBLE,
    "bool": F.TYPE_BOOL,
    "uint64": F.TYPE_UINT64,
}


def add(
    message: descriptor_pb2.DescriptorProto, name: str, kind: str, *, repeated: bool = False, optional: bool = False
) -> None:
    field = message.field.add(
        name=name, number=len(message.field) + 1, label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
    )
    if kind in _TYPES:
        field.type = _TYPES[kind]
    elif kind.startswith("enum "):
        field.type, field.type_name = F.TYPE_ENUM, kind.removeprefix("enum ")
    else:
        field.type, field.type_name = F.TYPE_MESSAGE, kind
    if optional:
        field.oneof_index, field.proto3_optional = len(message.oneof_decl), True
        message.oneof_decl.add(name=f"_{name}")


def flow_file() -> descriptor_pb2.FileDescriptorProto:
    imports = [
        "google/protobuf/timestamp.proto",
        "google/protobuf/wrappers.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/struct.proto",
    ]
    file = descriptor_pb2.FileDescriptorProto(name="flow.proto", package="site", syntax="proto3", dependency=imports)
    other = file.message_type.add(name="Other")
    add(other, "x", "int64")
    flow = file.message_type.add(name="Flow")
    for name, kind in [
        ("host", "string"),
        ("bytes", "int64"),
        ("raw", "bytes"),
        ("share", "double"),
        ("seen", "bool"),
        ("big", "uint64"),
    ]:
        add(flow, name, kind)
    add(flow, "at", ".google.protobuf.Timestamp")
    add(flow, "limit", ".google.protobuf.Int64Value")
    add(flow, "lasts", ".google.protobuf.Duration")
    add(flow, "more", ".google.protobuf.Struct")
    add(flow, "state", "enum .site.Flow.State")
    add(flow, "tags", "string", repeated=True)
    add(flow, "within", ".site.Flow", repeated=True)
    add(flow, "note", "string", optional=True)
    add(flow, "counts", ".site.Flow.CountsEntry", repeated=True)
    entry = flow.nested_type.add(name="CountsEntry")
    add(entry, "key", "string")
    add(entry, "value", "int64")
    entry.options.map_entry = True
    state = flow.enum_type.add(name="State")
    state.value.add(name="NEW", number=0)
    state.value.add(name="OLD", number=1)
    return file


LIMITS = CodecLimits(record_bytes=2000, depth=8, items=200)
READER = ProtobufReader(flow_file(), limits=LIMITS)
FLOW = READER.named("site.Flow")
ZEROS = {
    "host": "",
    "bytes": 0,
    "raw": b"",
    "share": 0.0,
    "seen": False,
    "big": 0,
    "state": "NEW",
    "tags": [],
    "within": [],
    "counts": {},
}


def message() -> Any:
    pool = DescriptorPool()
    from google.protobuf import duration_pb2, timestamp_pb2, wrappers_pb2

    for module in (duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.Add(flow_file())
    return GetMessageClass(pool.FindMessageTypeByName("site.Flow"))()


def reason(answer: object) -> str:
    assert isinstance(answer, Undecodable)
    return answer.reason


def test_what_was_not_sent_is_zero_or_not_there() -> None:
    assert READER.read(b"", FLOW) == ZEROS


def test_a_message_is_an_event() -> None:
    sent = message()
    sent.host, sent.bytes, sent.raw, sent.share, sent.seen, sent.big = "a", -(2**63), b"\xff", 0.5, True, 2**64 - 1
    sent.at.FromDatetime(datetime(2011, 8, 18, 1, 2, 3, 456789))
    sent.limit.value = 0
    sent.lasts.seconds, sent.lasts.nanos = 1, 500_000_000
    sent.more.update({"a": [1, None, {"b": True}]})
    sent.state, sent.note = 1, ""
    sent.tags.append("x")
    sent.within.add(host="b")
    sent.counts["k"] = 7
    assert READER.read(sent.SerializeToString(), FLOW) == {
        "host": "a", "bytes": -(2**63), "raw": b"\xff", "share": 0.5, "seen": True, "big": 2**64 - 1,
        "at": "2011-08-18T01:02:03.456789Z", "limit": 0, "lasts": 1.5, "more": {"a": [1.0, None, {"b": True}]},
        "state": "OLD", "tags": ["x"], "within": [{**ZEROS, "host": "b"}], "note": "", "counts": {"k": 7},
    }  # fmt: skip


def test_an_enum_that_a_newer_schema_has_stays_a_number() -> None:
    sent = message()
    sent.state = 9
    assert READER.read(sent.SerializeToString(), FLOW) == {**ZEROS, "state": 9}


def test_the_first_message_is_the_one_without_indexes() -> None:
    assert READER.read(b"\x08\x05") == {"x": 5}


def nested(levels: int) -> bytes:
    payload = b""
    for _ in range(levels):
        payload = b"\x6a" + length(len(payload)) + payload
    return payload


def length(count: int) -> bytes:
    return bytes([count]) if count < 128 else bytes([count & 127 | 128]) + length(count >> 7)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        pytest.param(b"\x0a\xff\xff\xff\x7fa", "DecodeError", id="a length beyond the value"),
        pytest.param(b"\x0a", "DecodeError", id="cut short"),
        pytest.param(b"\x0a\x02\xff\xff", "DecodeError", id="text that is not UTF-8"),
        pytest.param(b"\x07", "DecodeError", id="a kind of field that there is not"),
        pytest.param(b"\x3a\x0b\x08" + b"\xff" * 9 + b"\x01" + b"\x10", "DecodeError", id="a broken timestamp"),
        pytest.param(b"\x3a\x0a\x08" + b"\xff" * 8 + b"\x7f", "OverflowError", id="a time that no calendar has"),
        pytest.param(nested(10), "more than 8 levels", id="ten levels"),
        pytest.param(nested(300), "DecodeError", id="three hundred levels"),
        pytest.param(b"\x62\0" * 300, "more than 200 values", id="many values"),
    ],
)
def test_bytes_that_lie(payload: bytes, why: str) -> None:
    assert why in reason(READER.read(payload, FLOW))


def test_indexes_of_no_message() -> None:
    assert "no Protobuf message [7]" in reason(READER.read(b"", (7,)))
    assert "no Protobuf message [1, 0, 3]" in reason(READER.read(b"", (1, 0, 3)))


@given(st.binary(max_size=60))
def test_no_bytes_end_the_worker(payload: bytes) -> None:
    assert isinstance(READER.read(payload, FLOW), dict | Undecodable)


class TestWithoutRegistry:
    """Messages of one type that is set beforehand, by a file that protoc wrote."""

    def test_a_descriptor_set(self) -> None:
        content = descriptor_pb2.FileDescriptorSet(file=[flow_file()]).SerializeToString()
        codec = ProtobufCodec(reader_of_set(content, "site.Other"), "site.Other", LIMITS)
        events = codec.decode([StreamRecord(Partition("events", 0), 0, value) for value in (b"\x08\x05", None, b"x" * 2001)])
        assert events[0] == {"x": 5}
        assert "no value" in reason(events[1])
        assert "the most is 2000" in reason(events[2])

    @pytest.mark.parametrize(
        ("content", "name", "why"),
        [
            pytest.param(b"\xff", "site.Flow", "no descriptor set", id="no descriptor set"),
            pytest.param(b"", "site.Flow", "no message 'site.Flow'", id="an empty one"),
            pytest.param(descriptor_pb2.FileDescriptorSet(file=[flow_file()]).SerializeToString(), "site.Fl", "no message 'site.Fl'",
                         id="a message that is not in it"),
        ],
    )  # fmt: skip
    def test_what_is_none(self, content: bytes, name: str, why: str) -> None:
        with pytest.raises(ProtobufSchemaProblem, match=why):
            reader_of_set(content, name)


@pytest.mark.parametrize(
    ("imports", "why"),
    [
        pytest.param(["host.proto"], "imports 'host.proto', which is not there", id="an import that is not there"),
        pytest.param(["flow.proto"], "imports itself", id="a file that imports itself"),
    ],
)
def test_imports_that_fail(imports: list[str], why: str) -> None:
    with pytest.raises(ProtobufSchemaProblem, match=why):
        ProtobufReader(descriptor_pb2.FileDescriptorProto(name="flow.proto", dependency=imports))


def wide_file(fields: int, *, repeated: bool) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="wide.proto", syntax="proto3")
    add(file.message_type.add(name="Top"), "wide", ".Wide", repeated=repeated)
    wide = file.message_type.add(name="Wide")
    for number in range(fields):
        add(wide, f"f{number}", "int64")
    return file


def test_fields_that_were_not_sent_count_too() -> None:
    answer = ProtobufReader(wide_file(90, repeated=True), limits=LIMITS).read(b"\x0a\0" * 3)
    assert "more than 200 values" in reason(answer)


def test_a_message_of_very_many_fields_comes_once_only() -> None:
    assert len(ProtobufReader(wide_file(300, repeated=False)).read(b"\x0a\0")["wide"]) == 300  # type: ignore[call-overload]
    answer = ProtobufReader(wide_file(300, repeated=True)).read(b"\x0a\0")
    assert "Wide has more than 256 fields and may be repeated" in reason(answer)
