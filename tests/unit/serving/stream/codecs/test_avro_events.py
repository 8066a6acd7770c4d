"""Avro records: data and schemas that lie, evolution of schemas, and the values that events have."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.codecs.avro_codec import AvroCodec, AvroReader, AvroSchemaProblem, parsed
from serving.stream.codecs.codec import CodecLimits, Undecodable
from serving.stream.codecs.columns import event_time_us
from serving.stream.ports import Partition, StreamRecord

FLOW = {
    "type": "record", "name": "Flow", "namespace": "site",
    "fields": [
        {"name": "host", "type": "string"},
        {"name": "bytes", "type": "long"},
        {"name": "score", "type": ["null", "double"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "extra", "type": {"type": "map", "values": "int"}, "default": {}},
    ],
}  # fmt: skip
EVENT = {"host": "a", "bytes": 5, "score": 0.5, "tags": ["x"], "extra": {"k": 1}}


def record(*fields: tuple[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields]}


def written(schema: dict[str, Any], event: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), event)
    return out.getvalue()


def reader(schema: Any, limits: CodecLimits | None = None, **more: Any) -> AvroReader:
    return AvroReader(json.dumps(schema), limits=limits, **more)


def reason(answer: object) -> str:
    assert isinstance(answer, Undecodable)
    return answer.reason


def test_a_datum_is_an_event() -> None:
    assert reader(FLOW).read(written(FLOW, EVENT)) == EVENT


def test_logical_types_are_values_as_json_has_them() -> None:
    long, number = (
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    )
    schema = record(
        ("at", long),
        ("local", {"type": "long", "logicalType": "local-timestamp-millis"}),
        ("day", {"type": "int", "logicalType": "date"}),
        ("clock", {"type": "long", "logicalType": "time-micros"}),
        ("price", number),
        ("who", {"type": "string", "logicalType": "uuid"}),
        ("within", {"type": "array", "items": {"type": "map", "values": ["null", number]}}),
        ("raw", "bytes"),
    )
    event = {
        "at": datetime(2011, 8, 18, 15, 47, 57, 500_000, tzinfo=UTC), "local": datetime(2011, 8, 18, 15, 47, 57), "day": date(2011, 8, 18),
        "clock": time(15, 47), "price": Decimal("1.25"), "who": UUID(int=7), "within": [{"a": Decimal("0.50"), "b": None}], "raw": b"\xff",
    }  # fmt: skip
    read = reader(schema).read(written(schema, event))
    assert read == {
        "at": "2011-08-18T15:47:57.500000Z", "local": "2011-08-18T15:47:57", "day": "2011-08-18", "clock": "15:47:00", "price": 1.25,
        "who": "00000000-0000-0000-0000-000000000007", "within": [{"a": 0.5, "b": None}], "raw": b"\xff",
    }  # fmt: skip
    assert isinstance(read, dict)
    assert event_time_us(read["at"], "at") == 1_313_682_477_500_000


class TestEvolution:
    """Data of older and newer schemas, read as one schema."""

    def test_a_field_that_the_writer_lacked_gets_its_default(self) -> None:
        old = record(("host", "string"), ("bytes", "long"), name="site.Flow")
        now = parsed(json.dumps(FLOW))
        assert reader(old, reader=now).read(written(old, EVENT)) == {
            "host": "a",
            "bytes": 5,
            "score": None,
            "tags": [],
            "extra": {},
        }

    def test_a_field_that_the_reader_lacks_is_left_out(self) -> None:
        now = parsed(json.dumps(record(("host", "string"), name="site.Flow")))
        assert reader(FLOW, reader=now).read(written(FLOW, EVENT)) == {"host": "a"}

    def test_a_whole_number_is_promoted(self) -> None:
        old, now = record(("bytes", "int")), parsed(json.dumps(record(("bytes", "double"))))
        assert reader(old, reader=now).read(written(old, {"bytes": 5})) == {"bytes": 5.0}

    def test_a_field_without_a_default_cannot_be_made_up(self) -> None:
        old, now = record(("host", "string")), parsed(json.dumps(record(("host", "string"), ("bytes", "long"))))
        assert "SchemaResolutionError" in reason(reader(old, reader=now).read(written(old, {"host": "a"})))

    def test_a_schema_may_name_others(self) -> None:
        host = record(("address", "string"), name="site.Host")
        flow = record(("host", "site.Host"), name="site.Flow")
        event = {"host": {"address": "a"}}
        whole = record(("host", host), name="site.Flow")
        assert reader(flow, references={"site.Host": json.dumps(host)}).read(written(whole, event)) == event


NULLS = record(("a", {"type": "array", "items": "null"}))
EMPTY = record(("a", {"type": "array", "items": record(("n", "null"), name="N")}))
NULL_FIELDS = record(*((f"n{n}", "null") for n in range(100)), ("b", "boolean"), name="N")


def doubled(times: int) -> dict[str, Any]:
    """A record that holds two of a record that holds two of ..."""
    inner: Any = record(("a", "null"), ("b", "null"), name="D0")
    for level in range(1, times):
        inner = {
            "type": "record",
            "name": f"D{level}",
            "fields": [{"name": "a", "type": inner}, {"name": "b", "type": f"D{level - 1}"}],
        }
    return dict(inner)


TREE = record(("v", "long"), ("below", ["null", "R"]))


@pytest.mark.parametrize(
    ("schema", "payload", "why"),
    [
        pytest.param(record(("a", "string")), b"\xfe\xff\xff\xff\x0fab", "Expected 2147483647 bytes", id="a length beyond the value"),
        pytest.param(record(("a", "string")), b"\x01a", "Expected -1 bytes", id="a length below zero"),
        pytest.param(record(("a", "bytes")), b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "EOFError", id="the largest length"),
        pytest.param(record(("a", "string")), b"\x04\xff\xff", "UnicodeDecodeError", id="text that is not UTF-8"),
        pytest.param(record(("a", "string")), b"", "EOFError", id="nothing at all"),
        pytest.param(record(("a", "string")), b"\x02ab", "1 bytes are left over", id="bytes left over"),
        pytest.param(record(("a", {"type": "array", "items": "int"})), b"\xfe\xff\xff\xff\x0f\x02", "EOFError", id="a block's count lies"),
        pytest.param(record(("a", {"type": "array", "items": "int"})), b"\x90\x03" + b"\x02" * 200 + b"\0", "more than 50 values",
                     id="many values"),
        pytest.param(record(("a", ["null", "int"])), b"\x08", "IndexError", id="a branch that the union lacks"),
        pytest.param(record(("a", {"type": "enum", "name": "E", "symbols": ["X"]})), b"\x08", "IndexError", id="an unknown symbol"),
        pytest.param(record(("t", {"type": "long", "logicalType": "timestamp-millis"})), b"\xff" * 9 + b"\x01", "OverflowError",
                     id="a time that no calendar has"),
        pytest.param(record(("d", {"type": "bytes", "logicalType": "decimal", "precision": 200, "scale": 2})), b"\x82\x01" + b"\x7f" * 65,
                     "a decimal has 65 bytes", id="a decimal of very many digits: forty thousand take a second"),
        pytest.param(record(("a", "long")), b"\xff" * 40, "", id="a number of forty bytes"),
        pytest.param(TREE, b"\x02\x02" * 100_000, "nested too deep", id="a tree of a hundred thousand levels does not end the process"),
        pytest.param(TREE, b"\x02\x02" * 20 + b"\x02\0", "more than 8 levels", id="a tree of twenty levels"),
        pytest.param(record(("r", "R")), b"", "nested too deep", id="a record that is itself and nothing else"),
    ],
)  # fmt: skip
def test_bytes_that_lie(schema: dict[str, Any], payload: bytes, why: str) -> None:
    assert why in reason(reader(schema, CodecLimits(depth=8, items=50)).read(payload))


def test_optional_fields_are_no_growth() -> None:
    optional = record(*((f"n{n}", ["null", "string"]) for n in range(100)), name="N")
    schema = record(("a", {"type": "array", "items": optional}))
    event = {"a": [{f"n{n}": None for n in range(100)}]}
    assert reader(schema).read(written(schema, event)) == event


def test_a_small_tree_is_an_event() -> None:
    assert reader(TREE).read(b"\x02\x02\x04\0") == {"v": 1, "below": {"v": 2, "below": None}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("{", "not JSON", id="not JSON"),
        pytest.param('"string"', "is a string, expected a record", id="no record"),
        pytest.param('["null", "string"]', "is a union, expected a record", id="a union"),
        pytest.param(json.dumps(record(("a", "site.Host"))), "UnknownType", id="a name that nobody defines"),
        pytest.param(json.dumps(NULLS), "1 values in 0 bytes", id="an array of nulls: two billion of them have five bytes"),
        pytest.param(json.dumps(EMPTY), "2 values in 0 bytes", id="an array of empty records"),
        pytest.param(json.dumps(record(("a", {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}))),
                     "1 values in 0 bytes", id="an array of fixed values of no size"),
        pytest.param(json.dumps(record(("a", {"type": "array", "items": NULL_FIELDS}))),
                     "an array whose items have 102 values in 1 bytes", id="an array of records with a hundred nulls and a bool"),
        pytest.param(json.dumps(record(("a", {"type": "map", "values": NULL_FIELDS}))), "a map whose items have 102 values in 2 bytes",
                     id="a map of them"),
        pytest.param(json.dumps(record(("a", {"type": "array", "items": ["null", NULL_FIELDS]}))), "102 values in 2 bytes",
                     id="an array of them, or null"),
        pytest.param(json.dumps(doubled(18)), "more than 100000 values in each event", id="records that double eighteen times"),
        pytest.param('{"type":' * 100 + '"int"' + "}" * 100, "too large", id="a schema that is nested too deep"),
        pytest.param("[" * 100_000, "not JSON", id="a schema that is nested beyond all"),
        pytest.param("7", "cannot be read", id="a number"),
    ],
)  # fmt: skip
def test_schemas_that_events_cannot_be_read_with(text: str, why: str) -> None:
    with pytest.raises(AvroSchemaProblem, match=why):
        AvroReader(text)


FUZZED = [
    reader(schema, CodecLimits(depth=8, items=500)) for schema in (FLOW, TREE, record(("r", ["null", FLOW, TREE]), name="Top"))
]


@given(st.sampled_from(FUZZED), st.binary(max_size=80))
def test_no_bytes_end_the_worker(any_reader: AvroReader, payload: bytes) -> None:
    assert isinstance(any_reader.read(payload), dict | Undecodable)


@given(st.data())
def test_a_datum_with_a_byte_changed_is_an_event_or_a_reason(data: st.DataObject) -> None:
    payload = bytearray(written(FLOW, EVENT))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(FUZZED[0].read(bytes(payload)), dict | Undecodable)


JSON_TYPES = st.recursive(
    st.sampled_from(["null", "int", "string", "R", "bytes", 7, None]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda values: {"type": "map", "values": values}, inner)
        | st.builds(lambda kind: {"type": kind}, inner)
        | st.builds(lambda kind: record(("f", kind), name="S"), inner)
    ),
    max_leaves=6,
)


@given(JSON_TYPES)
def test_no_schema_ends_the_worker(kind: Any) -> None:
    try:
        made = reader(record(("a", kind)))
    except AvroSchemaProblem:
        return
    assert isinstance(made.read(b"\x02\x02\0"), dict | Undecodable)


class TestWithoutRegistry:
    """Data of one schema that is set beforehand."""

    def one(self, value: bytes | None) -> object:
        codec = AvroCodec(reader(FLOW), CodecLimits(record_bytes=1000))
        return codec.decode([StreamRecord(Partition("events", 0), 0, value)])[0]

    def test_bare(self) -> None:
        assert self.one(written(FLOW, EVENT)) == EVENT

    def test_single_object_encoding(self) -> None:
        assert self.one(b"\xc3\x01" + reader(FLOW).fingerprint + written(FLOW, EVENT)) == EVENT

    def test_a_container_file_is_named(self) -> None:
        out = BytesIO()
        fastavro.writer(out, fastavro.parse_schema(FLOW), [EVENT], codec="deflate")
        assert "container file" in reason(self.one(out.getvalue()))

    def test_a_tombstone_and_a_long_value(self) -> None:
        assert "no value" in reason(self.one(None))
        assert "the most is 1000" in reason(self.one(b"x" * 1001))
