"""A record's numbers come back to the bit, whatever they are."""

import json

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given

from serving.audit.encoding import LONGEST_LIST, _encode_any, _encode_one_row, decode_array, decode_record, encode_record
from serving.messages import DATATYPES, DTYPES, Tensor
from serving.models.verdicts import VERDICTS
from tests.fakes.serving.records import one_row, record

NUMERIC = [d for d in DTYPES.values() if not d.hasobject]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)


@given(st.sampled_from(NUMERIC).flatmap(lambda dtype: hnp.arrays(dtype, shapes)))
def test_any_numeric_tensor_comes_back_to_the_bit(array):
    line = encode_record(record(inputs={"x": Tensor("x", DATATYPES[array.dtype], array)}))
    back = decode_array(decode_record(line).inputs["x"])
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(hnp.arrays(np.object_, shapes, elements=st.binary(max_size=8)))
def test_any_bytes_come_back(array):
    line = encode_record(record(inputs={"x": Tensor("x", "BYTES", array)}))
    back = decode_array(decode_record(line).inputs["x"])
    assert (back.shape, back.tolist()) == (array.shape, array.tolist())


@given(hnp.arrays(np.float32, 200, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_any_feature_column_comes_back_to_the_bit(column):
    back = decode_record(encode_record(record(features={"f": column}))).features["f"]
    assert np.array(back, np.float32).tobytes() == column.tobytes()


def test_one_infinity_does_not_change_how_the_others_are_read():
    features = {
        "wide": np.arange(6, dtype=np.float64)[::2],
        "odd": np.array([np.nan, 1.0, np.inf]),
        "text": np.array(["null"] * 3, object),
    }
    back = decode_record(encode_record(record(rows=3, features=features, request_id="null"))).features
    assert (back["wide"], back["text"]) == ([0.0, 2.0, 4.0], ["null"] * 3)
    np.testing.assert_array_equal(decode_array(back["odd"]), features["odd"])


def test_a_line_is_json_and_one_line():
    line = encode_record(record(request_id="two\nlines"))
    assert line.count(b"\n") == 1
    assert json.loads(line)["request_id"] == "two\nlines"


@pytest.mark.parametrize(
    ("array", "is_list"),
    [
        pytest.param(np.zeros(LONGEST_LIST, np.float32), True, id="short and finite: a list a person can read"),
        pytest.param(np.zeros(LONGEST_LIST + 1, np.float32), False, id="long: raw"),
        pytest.param(np.array([1.0, np.inf]), False, id="an infinity: raw, JSON has no word for it"),
        pytest.param(np.array(["a", "b"], np.object_), True, id="text: a list"),
    ],
)
def test_the_form_of_a_feature_column(array, is_list):
    value = decode_record(encode_record(record(rows=len(array), features={"f": array}))).features["f"]
    assert isinstance(value, list) is is_list
    assert decode_array(value).tolist() == (array.tolist() if array.dtype != np.object_ else [b"a", b"b"])


TEXTS = st.text(max_size=6)
FLOATS = st.floats(width=32)


@pytest.mark.heavy
@given(
    about=st.fixed_dictionaries(
        dict.fromkeys(("receipt", "door", "model", "version", "revision", "variant", "source", "processor"), TEXTS)
    ),
    asked=st.fixed_dictionaries({name: st.none() | TEXTS for name in ("request_id", "trace_id", "operating_point")}),
    tensor=st.sampled_from(NUMERIC).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
    | hnp.arrays(object, 1, elements=st.binary()),
    numbers=st.tuples(st.integers(0, len(VERDICTS) - 1), FLOATS, FLOATS, st.booleans(), st.integers(0, 2**53)),
)
def test_a_record_of_one_row_has_the_line_that_any_record_has(about, asked, tensor, numbers):
    """One writes field by field, the other hands a dictionary to orjson."""
    code, score, feature, is_degraded, latency_us = numbers
    made = one_row(
        code,
        score,
        inputs={"%s": Tensor("%s", DATATYPES[tensor.dtype], tensor)},
        features={"100%": np.array([feature], np.float32)},
        degraded=np.array([is_degraded]),
        latency_us=latency_us,
        **about,
        **asked,
    )
    line = _encode_one_row(made)
    slow = _encode_any(made)
    assert line in (None, slow)
    assert (line is None) == (
        b"null" in msgspec.json.encode([score, feature]) or _encode_one_row(one_row(inputs=made.inputs)) is None
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"score": np.nan}, id="a score that is no number"),
        pytest.param({"features": {"f": np.array([np.inf])}}, id="a feature that is infinite"),
        pytest.param({"inputs": {"x": Tensor("x", "FP32", np.array([np.nan], np.float32))}}, id="an input that is no number"),
        pytest.param({"inputs": {"x": Tensor("x", "FP32", np.zeros(LONGEST_LIST + 1, np.float32))}}, id="a long input"),
        pytest.param({"inputs": {"x": [1.0]}}, id="an input that was redacted"),
        pytest.param({"rows": 2, "verdicts": np.array([0, 1]), "degraded": np.array([False, True])}, id="several rows"),
        pytest.param({"verdicts": []}, id="a model without a score"),
        pytest.param({"rules": [["R1"]]}, id="rules that hold"),
        pytest.param({"fallback_from": "candidate"}, id="a variant that failed"),
        pytest.param({"row_numbers": np.array([3])}, id="a row of a larger request"),
        pytest.param({"outputs": {"y": np.zeros(1, np.float32)}}, id="outputs in place of a score"),
        pytest.param({"explained": "shap"}, id="an answer that was explained"),
    ],
)
def test_what_is_not_one_plain_row_is_encoded_with_care(changes):
    made = one_row(**changes)
    assert _encode_one_row(made) is None
    read = decode_record(encode_record(made))
    assert (read.receipt, read.explained) == (made.receipt, made.explained)
    assert _encode_one_row(one_row()) is not None


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"caller": "token:corp:soar"},
        {"caller": 'key:ü"%b', "tenant": "blue"},
        {"tenant": "blue"},
        {"feature_sources": ["near_cache"]},
        {"tenant": "blue", "feature_sources": ["store"]},
    ],
)
def test_who_asked_is_written_where_somebody_did_and_alike_in_both_ways(asked):
    quick = encode_record(one_row(**asked))
    assert quick == _encode_any(one_row(**asked))
    line = json.loads(quick)
    assert {name: line[name] for name in ("caller", "tenant", "feature_sources") if name in line} == asked
    assert decode_record(quick).caller == asked.get("caller", "")
