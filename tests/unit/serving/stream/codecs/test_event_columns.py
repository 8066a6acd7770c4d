"""Events to columns: types as the manifest says; a row that does not fit says why, and the others stay."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.messages import DTYPES
from serving.models.manifest import FieldSpec
from serving.stream.codecs.codec import Undecodable
from serving.stream.codecs.columns import EventColumns, event_time_us


def columns_of(datatype: str, **more: object) -> EventColumns:
    return EventColumns((FieldSpec(name="x", datatype=datatype),), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        pytest.param("INT64", 2**63 - 1, 2**63 - 1, id="the largest whole number"),
        pytest.param("INT64", -(2**63), -(2**63), id="the smallest whole number"),
        pytest.param("INT64", 5.0, 5, id="a whole number with a point is a whole number"),
        pytest.param("UINT64", 2**64 - 1, 2**64 - 1, id="64 bits without a sign"),
        pytest.param("FP64", 3, 3.0, id="a whole number is a number"),
        pytest.param("FP32", 0.5, 0.5, id="a number of 32 bits"),
        pytest.param("BOOL", True, True, id="true"),
        pytest.param("BYTES", "größe", "größe".encode(), id="text becomes UTF-8"),
        pytest.param("BYTES", b"\x00\xff", b"\x00\xff", id="bytes stay"),
    ],
)
def test_what_fits(datatype: str, value: object, expected: object) -> None:
    batch = columns_of(datatype).read([{"x": value, "other": []}])
    assert not batch.rejected
    (tensor,) = batch.tensors
    assert tensor.data.dtype == DTYPES[datatype]
    assert tensor.data.tolist() == [expected]


@pytest.mark.parametrize(
    ("datatype", "value", "reason"),
    [
        pytest.param("INT64", 2**63, "from -9223372036854775808 to 9223372036854775807", id="a whole number out of range"),
        pytest.param("INT8", 128, "from -128 to 127", id="a whole number out of a narrow range"),
        pytest.param("UINT16", -1, "from 0 to 65535", id="a negative number where there is no sign"),
        pytest.param("INT64", 1.5, "1.5, expected a whole number", id="half of a whole number"),
        pytest.param("INT64", 1e300, "expected a whole number", id="a whole number that a float only comes near to"),
        pytest.param("INT64", True, "True, expected a whole number", id="true is no number"),
        pytest.param("INT64", "5", "'5', expected a whole number", id="text is no number"),
        pytest.param("FP64", "0.5", "'0.5', expected a number", id="text is no number, with a point neither"),
        pytest.param("FP64", float("nan"), "nan, expected a finite number", id="NaN, as Avro has it"),
        pytest.param("FP64", 10**400, "too large", id="a whole number beyond any float"),
        pytest.param("FP32", 1e39, "expected a finite number of 32 bits", id="a number too large for 32 bits"),
        pytest.param("FP16", 70000, "expected a finite number of 16 bits", id="a number too large for 16 bits"),
        pytest.param("BOOL", 1, "1, expected true or false", id="one is not true"),
        pytest.param("BYTES", 7, "7, expected text", id="a number is no text"),
        pytest.param("BYTES", {"a": 1}, "'dict of 1', expected text", id="an object is no text"),
        pytest.param("BYTES", None, "null", id="null"),
    ],
)
def test_what_does_not_fit_is_rejected_and_the_others_stay(datatype: str, value: object, reason: str) -> None:
    good = {"INT": 1, "UIN": 1, "FP6": 1.0, "FP3": 1.0, "FP1": 1.0, "BOO": True, "BYT": "a"}[datatype[:3]]
    batch = columns_of(datatype).read([{"x": good}, {"x": value}, {}, {"x": good}])
    assert set(batch.rejected) == {1, 2}
    assert f"'x' is {reason}" in batch.rejected[1].reason or reason in batch.rejected[1].reason
    assert batch.rejected[2].reason == "the event's field 'x' is missing"
    (tensor,) = batch.take(np.array([0, 3]))
    assert tensor.data.tolist() == [good if datatype != "BYTES" else b"a"] * 2


def test_a_default_stands_in_for_what_is_missing_or_null() -> None:
    batch = columns_of("BYTES", defaults={"x": ""}).read([{}, {"x": None}, {"x": "CON"}])
    assert not batch.rejected
    assert batch.tensors[0].data.tolist() == [b"", b"", b"CON"]


def test_the_column_of_the_event_is_the_event() -> None:
    columns = columns_of("BYTES", event_field="x")
    (tensor,) = columns.read([{"host": "a", "n": 1}, {"x": '{"raw": 1}'}]).tensors
    assert tensor.data.tolist() == [b'{"host":"a","n":1}', b'{"raw": 1}']


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers(), max_size=2)
)


@given(st.sampled_from(sorted(DTYPES)), st.lists(ANYTHING, min_size=1, max_size=5))
def test_a_batch_says_of_each_row_what_the_row_alone_says(datatype: str, values: list[object]) -> None:
    columns = columns_of(datatype)
    whole = columns.read([{"x": value} for value in values])
    for row, value in enumerate(values):
        alone = columns.read([{"x": value}])
        assert alone.rejected.get(0) == whole.rejected.get(row)
        if not alone.rejected:
            assert alone.tensors[0].data[0] == whole.tensors[0].data[row]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("2011-08-18T15:47:57.5Z", id="RFC 3339"),
        pytest.param("2011-08-18T17:47:57.500+02:00", id="with an offset"),
        pytest.param("2011-08-18T15:47:57.5", id="without an offset it is UTC"),
        pytest.param(1_313_682_477_500_000, id="microseconds since the epoch"),
        pytest.param(datetime(2011, 8, 18, 15, 47, 57, 500_000, tzinfo=UTC), id="a datetime"),
        pytest.param(datetime(2011, 8, 18, 15, 47, 57, 500_000), id="a datetime without a zone is UTC"),
    ],
)
def test_when_it_happened(value: object) -> None:
    assert event_time_us(value, "start") == 1_313_682_477_500_000


def test_a_date_is_its_first_moment() -> None:
    assert event_time_us("1970-01-02", "day") == 86_400_000_000


@pytest.mark.parametrize("value", [None, True, 1.5, "yesterday", b"\xff", 2**62, [], "9999-99-99T00:00:00Z"])
def test_what_is_no_time(value: object) -> None:
    answer = event_time_us(value, "start")
    assert isinstance(answer, Undecodable)
    assert "the event's field 'start' is" in answer.reason
