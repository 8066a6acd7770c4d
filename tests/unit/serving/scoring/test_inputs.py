"""What a request may bring, and what it is told otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadRequest
from serving.messages import InferRequest, Tensor
from serving.models.manifest import Manifest
from serving.scoring.inputs import ColumnRows, InputPlan, TensorRows, parse_time_us

DETECTOR = Manifest.model_validate(
    {
        "name": "d",
        "version": "1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "entity_keys": [{"name": "host", "datatype": "BYTES"}],
        "request_fields": [{"name": "size", "datatype": "FP32"}],
        "feature_service": "s",
        "event_time_field": "ended_at",
        "assembly": [{"tensor": "x", "columns": ["size", "v__flows"]}],
        "files": {},
    }
)
PLAN = InputPlan.of(DETECTOR)
NOW = 1_700_000_000_000_000


def strings(*values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


HOST = Tensor("host", "BYTES", strings(b"a", b"b"))
SIZE = Tensor("size", "FP32", np.array([1, 2], np.float32))


def ask(*inputs, **parameters):
    return InferRequest("d", None, inputs, parameters=parameters)


def read(*inputs, **parameters):
    return PLAN.read(ask(*inputs, **parameters), NOW, max_rows=10)


def test_the_tensors_of_the_graph_are_taken_as_they_are():
    rows = read(Tensor("x", "FP32", np.zeros((3, 2), np.float32)))
    assert isinstance(rows, TensorRows)
    assert rows.rows == 3


def test_columns_are_taken_by_name_in_any_order_and_shape():
    rows = read(SIZE, Tensor("host", "BYTES", HOST.data.reshape(2, 1)))
    assert isinstance(rows, ColumnRows)
    assert rows.keys["host"].tolist() == [b"a", b"b"]
    assert rows.fields["size"].tolist() == [1, 2]
    assert rows.at_us.tolist() == [NOW, NOW]


@pytest.mark.parametrize(
    ("sent", "parameters", "expected"),
    [
        pytest.param((), {"event_time": "2011-08-18T13:54:00Z"}, [1_313_675_640_000_000] * 2, id="one time for all"),
        pytest.param((), {"event_time": 1_313_675_640_000_000}, [1_313_675_640_000_000] * 2, id="one time in microseconds"),
        pytest.param((Tensor("ended_at", "INT64", np.array([1, 2], np.int64)),), {}, [1, 2], id="one time a row"),
        pytest.param(
            (Tensor("ended_at", "BYTES", strings(b"1970-01-01T00:00:01Z", b"1970-01-01T02:00:00+02:00")),),
            {},
            [1_000_000, 0],
            id="one time a row as text, with offsets",
        ),
    ],
)
def test_the_moment_of_the_event(sent, parameters, expected):
    assert read(HOST, SIZE, *sent, **parameters).at_us.tolist() == expected


@pytest.mark.parametrize(
    ("inputs", "parameters", "says"),
    [
        pytest.param((HOST,), {}, r"lacks the inputs \['size'\]", id="a missing column"),
        pytest.param((HOST, SIZE, Tensor("z", "FP32", SIZE.data)), {}, r"unknown inputs \['z'\]", id="an unknown column"),
        pytest.param((), {}, "lacks the inputs", id="nothing"),
        pytest.param((HOST, HOST, SIZE), {}, "more than once", id="an input twice"),
        pytest.param(
            (HOST, Tensor("size", "FP64", np.zeros(2))), {}, "has datatype FP64, expected FP32", id="another datatype"
        ),
        pytest.param(
            (HOST, Tensor("size", "FP32", np.zeros(3, np.float32))), {}, "'size' has 3 rows", id="another number of rows"
        ),
        pytest.param(
            (HOST, Tensor("size", "FP32", np.zeros((2, 2), np.float32))), {}, "one value per row", id="a matrix for a column"
        ),
        pytest.param((HOST, Tensor("size", "FP32", np.array([1, np.nan], np.float32))), {}, "NaN or infinity", id="NaN"),
        pytest.param((HOST, Tensor("size", "FP32", np.array([1, np.inf], np.float32))), {}, "NaN or infinity", id="infinity"),
        pytest.param(
            (Tensor("x", "FP32", np.zeros((1, 3), np.float32)),), {}, r"shape \[1, 3\], expected \[-1, 2\]", id="a wrong shape"
        ),
        pytest.param((Tensor("x", "FP32", np.zeros((0, 2), np.float32)),), {}, "no rows", id="no rows"),
        pytest.param(
            (Tensor("x", "FP32", np.zeros((11, 2), np.float32)),), {}, "the most in one request is 10", id="too many rows"
        ),
        pytest.param((HOST, SIZE), {"event_time": "yesterday"}, "expected a time in RFC 3339", id="a time that is none"),
        pytest.param((HOST, SIZE), {"event_time": True}, "expected RFC 3339", id="a time that is a truth value"),
        pytest.param((HOST, SIZE, Tensor("ended_at", "FP32", SIZE.data)), {}, "expected INT64", id="times of another datatype"),
        pytest.param((HOST, SIZE, Tensor("ended_at", "INT64", np.zeros(3, np.int64))), {}, "has 3 rows", id="too many times"),
    ],
)
def test_refuses(inputs, parameters, says):
    with pytest.raises(BadRequest, match=says):
        read(*inputs, **parameters)


ONE_HOST, ONE_SIZE, ONE_TIME = (
    Tensor("host", "BYTES", strings(b"a")),
    Tensor("size", "FP32", np.array([1], np.float32)),
    Tensor("ended_at", "INT64", np.array([NOW], np.int64)),
)
ODD = [
    Tensor("host", "BYTES", strings(b"a").reshape(1, 1)),
    Tensor("host", "INT64", np.array([1], np.int64)),
    Tensor("size", "FP32", np.array([np.nan], np.float32)),
    Tensor("size", "FP32", np.array([2], np.float32), is_finite=True),
    Tensor("size", "FP64", np.array([2.0]), is_finite=True),
    Tensor("size", "FP32", np.array([[2]], np.float32)),
    Tensor("size", "FP32", np.array([1, 2], np.float32)),
    Tensor("ended_at", "BYTES", strings(b"1970-01-01T00:00:01Z")),
    Tensor("ended_at", "INT64", np.array([2**62], np.int64)),
    Tensor("ended_at", "INT64", np.array([-(2**62)], np.int64)),
    Tensor("ended_at", "INT64", np.array([1, 2], np.int64)),
    Tensor("ended_at", "FP32", np.array([1], np.float32)),
    Tensor("z", "FP32", np.array([1], np.float32)),
]
MANY_KEYS = DETECTOR.model_copy(
    update={"entity_keys": [*DETECTOR.entity_keys, DETECTOR.entity_keys[0].model_copy(update={"name": "z"})]}
)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(DETECTOR, id="a key, a field and a time"),
        pytest.param(DETECTOR.model_copy(update={"request_fields": []}), id="a key and a time"),
        pytest.param(DETECTOR.model_copy(update={"event_time_field": None}), id="no time"),
        pytest.param(DETECTOR.model_copy(update={"event_time_field": "size"}), id="a time that is a field too"),
        pytest.param(DETECTOR.model_copy(update={"allow_nonfinite": True}), id="any number"),
        pytest.param(MANY_KEYS, id="two keys"),
    ],
)
@given(sent=st.lists(st.sampled_from([ONE_HOST, ONE_SIZE, ONE_TIME, ONE_HOST, ONE_SIZE, ONE_TIME, *ODD]), max_size=4))
def test_one_row_of_columns_is_read_as_any_number_of_rows_is(manifest, sent):
    plan = InputPlan.of(manifest)

    def outcome(plan):
        try:
            rows = plan.read(ask(*sent), NOW, max_rows=10)
        except BadRequest as problem:
            return str(problem)
        shown = [{name: (column.dtype, column.tolist()) for name, column in part.items()} for part in (rows.keys, rows.fields)]
        return str([[*part.items()] for part in shown]), rows.at_us.dtype, rows.at_us.tolist(), rows.rows

    assert outcome(plan) == outcome(replace(plan, single_columns=()))


def test_a_row_of_columns_is_read_the_short_way(monkeypatch):
    monkeypatch.setattr(InputPlan, "_column_rows", None)
    rows = read(ONE_TIME, ONE_HOST, Tensor("size", "FP32", ONE_SIZE.data, is_finite=True))
    assert (rows.keys["host"].tolist(), rows.fields["size"].tolist(), rows.at_us.tolist()) == ([b"a"], [1], [NOW])


def test_a_time_without_offset_is_utc():
    assert parse_time_us("1970-01-01T00:00:00.000001", "x") == 1


PAIR_MANIFEST = Manifest.model_validate(
    {
        "name": "pair",
        "version": "1",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "b", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "scale", "datatype": "FP32", "shape": [4]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "files": {},
    }
)
PAIR = InputPlan.of(PAIR_MANIFEST)


def read_pair(rows_of_a, rows_of_b):
    tensors = {"a": (rows_of_a, 2), "b": (rows_of_b, 2), "scale": (4,)}
    sent = [Tensor(name, "FP32", np.zeros(shape, np.float32)) for name, shape in tensors.items()]
    return PAIR.read(InferRequest("pair", None, tuple(sent)), NOW, max_rows=10)


@pytest.mark.parametrize(
    ("a", "b"), [(1, 11), (1, 0), (0, 1), (3, 1)], ids=["too many behind one", "none behind one", "none", "fewer"]
)
def test_every_input_with_a_free_first_dimension_has_as_many_rows(a, b):
    with pytest.raises(BadRequest, match=f"'a' {a}, 'b' {b}; send the same number in each"):
        read_pair(a, b)


def test_a_fixed_first_dimension_is_not_a_number_of_rows():
    assert read_pair(3, 3).rows == 3
    with pytest.raises(BadRequest, match="the most in one request is 10"):
        read_pair(11, 11)


def test_a_first_dimension_that_the_graph_calls_otherwise_is_not_a_number_of_rows_and_is_bounded_all_the_same():
    plan = InputPlan.of(PAIR_MANIFEST, frozenset({"b"}))

    def read_apart(rows_of_a, size_of_b):
        tensors = {"a": (rows_of_a, 2), "b": (size_of_b, 2), "scale": (4,)}
        sent = [Tensor(name, "FP32", np.zeros(shape, np.float32)) for name, shape in tensors.items()]
        return plan.read(InferRequest("pair", None, tuple(sent)), NOW, max_rows=10)

    assert read_apart(3, 7).rows == 3
    with pytest.raises(BadRequest, match="input 'b' has a first dimension of 11, at most 10"):
        read_apart(1, 11)


class CountedText(str):
    """Text that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedText.compared += 1
        return str.__eq__(self, other)


def test_a_thousand_repeated_names_cost_no_more_than_one_comparison_each():
    names = [CountedText("size") for _ in range(1_000)]
    CountedText.compared = 0
    with pytest.raises(BadRequest, match=r"inputs \['size'\] are sent more than once"):
        read(*[Tensor(name, "FP32", SIZE.data) for name in names])
    assert CountedText.compared < 10 * len(names), "a request may have hundreds of thousands, and the loop waits"


@pytest.mark.parametrize("moment_us", [-(2**63), 2**63 - 1, 2**62])
def test_a_time_that_no_age_can_be_counted_from_is_refused_as_an_input_too(moment_us):
    stamps = Tensor("ended_at", "INT64", np.array([NOW, moment_us], np.int64))
    with pytest.raises(BadRequest, match="expected RFC 3339 text or microseconds since the epoch"):
        read(HOST, SIZE, stamps)
