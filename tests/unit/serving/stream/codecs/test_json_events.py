"""JSON records: what is an event, what is not and why; nothing that is sent raises."""

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.stream.codecs.codec import CodecLimits, Undecodable, shown, undecodable
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.ports import Partition, StreamRecord

LIMITS = CodecLimits(record_bytes=4096, depth=5, items=50)
CODEC = JsonCodec(LIMITS)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def record(value: bytes | None, offset: int = 0) -> StreamRecord:
    return StreamRecord(Partition("events", 0), offset, value)


def test_each_record_gives_its_event_or_its_reason_in_order() -> None:
    first, second, third = CODEC.decode([record(b'{"host": "a"}'), record(b"?"), record(b'{"host": "b"}')])
    assert first == {"host": "a"}
    assert isinstance(second, Undecodable)
    assert third == {"host": "b"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "no value", id="a tombstone is no event"),
        pytest.param(b"", "not JSON", id="nothing is no event"),
        pytest.param(b"[1]", "an array and not an object", id="an array is no event"),
        pytest.param(b"7", "a number and not an object", id="a number is no event"),
        pytest.param(b"null", "null and not an object", id="null is no event"),
        pytest.param(b'{"a": 1} {"b": 2}', "unexpected content after", id="one record is one event"),
        pytest.param(b'{"a": NaN}', "not JSON", id="NaN is not JSON"),
        pytest.param(b'{"a": -Infinity}', "not JSON", id="infinity is not JSON"),
        pytest.param(b'{"a": 1e999}', "infinity", id="a number that becomes infinite is refused"),
        pytest.param(b'{"a": ' + b"9" * 4000 + b"}", "infinity", id="a whole number that becomes infinite is refused"),
        pytest.param(b'{"a": "\xff"}', "UTF-8", id="text is UTF-8"),
        pytest.param(b'{"a": "\\ud800"}', "surrogate", id="half a character is refused"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', "BOM", id="a byte order mark is refused by name"),
        pytest.param(b'{"a": 1, "a": 2}', "'a' occurs more than once", id="a name twice is refused"),
        pytest.param(b'{"a": 1, "\\u0061": 2}', "'a' occurs more than once", id="a name twice is refused, also escaped"),
        pytest.param(b'{"a" : 1, "a":2}', "'a' occurs more than once", id="a name twice is refused, also before a space"),
        pytest.param(b'{"a":{"b":1,"b":2}}', "'b' occurs more than once", id="a name twice is refused, also within"),
        pytest.param(b'{"a":"\\":","a":1}', "'a' occurs more than once", id="a colon in text is not a name's"),
        pytest.param(b'{"a":[{"b":{"c":{"d":1}}}]}', "", id="five levels are within the limit"),
        pytest.param(b'{"a":[{"b":{"c":{"d":[]}}}]}', "more than 5 levels", id="six are not"),
        pytest.param(b'{"a":' * 600 + b"1" + b"}" * 600, "more than 5 levels", id="deep nesting is refused"),
        pytest.param(b'{"a":' + b"[" * 3000 + b"]" * 1000 + b"}", "depth limit", id="deeper nesting is refused by the parser"),
        pytest.param(b'{"a":[' + b"0," * 60 + b"0]}", "more than 50 values", id="many values are refused"),
        pytest.param(b'{"a":"' + b"x" * 5000 + b'"}', "5008 bytes, the most is 4096", id="a long record is refused"),
    ],
)
def test_what_is_no_event(value: bytes | None, reason: str) -> None:
    answer = CODEC.decode_value(value)
    if not reason:
        assert isinstance(answer, dict)
        return
    assert isinstance(answer, Undecodable)
    assert reason in answer.reason


@given(st.binary(max_size=200))
@example(b'{"\\u0000": 1}')
def test_no_bytes_end_the_worker(value: bytes) -> None:
    assert isinstance(CODEC.decode_value(value), dict | Undecodable)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=5), st.sampled_from([None, 1]), st.data())
def test_what_json_writes_is_read_as_it_was(event: dict[str, object], indent: int | None, data: st.DataObject) -> None:
    limits = CodecLimits(depth=50, items=1000)
    assert JsonCodec(limits).decode_value(json.dumps(event, indent=indent).encode()) == event
    text = orjson.dumps(event)
    cut = data.draw(st.integers(0, max(0, len(text) - 1)))
    assert isinstance(JsonCodec(limits).decode_value(text[:cut]), Undecodable)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", 'c":', "d :"]), st.sampled_from(["1", '"x"', '{"a":1}', '{"a":1,"a":2}'])),
        max_size=4,
    ),
    st.sampled_from([":", " :", "\n: "]),
)
def test_a_name_is_found_twice_exactly_where_it_is_twice(pairs: list[tuple[str, str]], colon: str) -> None:
    text = "{" + ",".join(json.dumps(name) + colon + value for name, value in pairs) + "}"
    twice = len({name for name, _ in pairs}) < len(pairs) or any(value.count("a") == 2 for _, value in pairs)
    assert isinstance(CODEC.decode_value(text.encode()), Undecodable) == twice


def test_a_reason_is_one_short_line() -> None:
    assert undecodable("a\n" * 1000).reason.endswith("...")
    assert len(undecodable("a" * 1000).reason) == 500
    assert shown(10**5000) == "'a whole number of more than 60 digits'"
    assert shown({"password": "secret"}) == "'dict of 1'"
