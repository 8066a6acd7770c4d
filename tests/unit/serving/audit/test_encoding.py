"""A record's numbers come back to the bit, whatever they are."""

import json

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from serving.audit.encoding import LONGEST_LIST, decode_array, decode_record, encode_record
from serving.messages import DATATYPES, DTYPES, Tensor
from tests.fakes.serving.records import record

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
