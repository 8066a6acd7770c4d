"""What the JSON of the protocol means, and what is refused in which words."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.doors.oip import binary_codec, json_codec
from serving.doors.oip.envelope import Envelope
from serving.errors import BadRequest, Unsupported
from serving.messages import DTYPES, InferAnswer, InferRequest, RequestedOutput, Tensor
from tests.unit.serving.doors.strategies import answers, assert_same, requests

HERE = Envelope("m")


def read(body) -> InferRequest:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return binary_codec.read_request(text, None, HERE)


def one(datatype="INT32", shape=(2,), data=(1, 2), **more) -> dict:
    return {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data, **more}]}


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "expected"),
    [
        pytest.param("INT32", [2, 2], [1, 2, 3, 4], [[1, 2], [3, 4]], id="flat data is row-major"),
        pytest.param("INT32", [2, 2], [[1, 2], [3, 4]], [[1, 2], [3, 4]], id="nested data is as the shape"),
        pytest.param("INT32", [2, 1, 2], [[[1, 2]], [[3, 4]]], [[[1, 2]], [[3, 4]]], id="nested three deep"),
        pytest.param("INT32", [], [7], 7, id="a scalar has shape [] and one element"),
        pytest.param("FP32", [0, 3], [], np.empty((0, 3)).tolist(), id="an empty tensor has no elements"),
        pytest.param("INT32", [2, 0], [[], []], [[], []], id="an empty tensor may be nested"),
        pytest.param("FP32", [2], [1, 2.5], [1.0, 2.5], id="whole numbers are fine as floats"),
        pytest.param("FP16", [2], [1, 0.5], [1.0, 0.5], id="FP16 may come as numbers"),
        pytest.param("FP64", [1], [1e308], [1e308], id="FP64 holds large numbers"),
        pytest.param("FP32", [1], [3.4028235e38], [float(np.finfo(np.float32).max)], id="FP32's largest, in its shortest text"),
        pytest.param("BOOL", [2], [True, False], [True, False], id="BOOL is true and false"),
        pytest.param("BYTES", [2], ["a", "ü"], [b"a", "ü".encode()], id="strings are their UTF-8 bytes"),
        pytest.param("UINT64", [1], [2**64 - 1], [2**64 - 1], id="UINT64 keeps its largest number"),
        pytest.param("INT64", [1], [-(2**63)], [-(2**63)], id="INT64 keeps its smallest number"),
        pytest.param("INT8", [2], [-128, 127], [-128, 127], id="INT8 holds -128 to 127"),
    ],
)
def test_data_that_is_taken(datatype, shape, data, expected):
    tensor = read(one(datatype, shape, data)).inputs[0]
    assert tensor.data.tolist() == expected
    assert tensor.shape == np.shape(expected) or 0 in shape


REFUSED = [
    pytest.param(b"", "empty", id="an empty body"),
    pytest.param(b"{", "not JSON", id="malformed JSON"),
    pytest.param(b"\xff\xfe", "not JSON", id="bytes that are not UTF-8"),
    pytest.param(b'{"inputs": [{"data": [NaN]}]}', "NaN", id="NaN is not JSON, and the message says how to send it"),
    pytest.param(b"[" * 100_000, "not JSON", id="nesting without end"),
    pytest.param(b"[]", "an array, expected a JSON object", id="a body that is no object"),
    pytest.param({}, "inputs is missing", id="no inputs"),
    pytest.param({"inputs": []}, "at least one", id="inputs that are empty"),
    pytest.param({"inputs": {}}, "inputs is an object", id="inputs that are no array"),
    pytest.param({"inputs": ["x"]}, r"inputs\[0\] is a string", id="an input that is no object"),
    pytest.param({"inputs": [{}]}, r"inputs\[0\]: name is missing", id="an input without a name"),
    pytest.param({"inputs": [{"name": 3}]}, "name is a whole number", id="a name that is no string"),
    pytest.param({"inputs": [{"name": ""}]}, "name is empty", id="an empty name"),
    pytest.param({"inputs": [{"name": "n" * 2000}]}, "2000 characters", id="a name without end"),
    pytest.param(one(datatype="INT33"), "datatype is 'INT33', expected one of BOOL", id="an unknown datatype"),
    pytest.param(one(datatype=None), "datatype is None", id="no datatype"),
    pytest.param(one(datatype=["INT32"]), "datatype is", id="a datatype that is no string"),
    pytest.param(one(shape=None), "shape is null", id="no shape"),
    pytest.param(one(shape=2), "shape is a whole number", id="a shape that is no array"),
    pytest.param(one(shape=[-1]), "each 0 or more", id="a negative dimension"),
    pytest.param(one(shape=[2.0]), "expected whole numbers", id="a dimension with a fraction"),
    pytest.param(one(shape=[True]), "expected whole numbers", id="a dimension that is a boolean"),
    pytest.param(one(shape=[3]), "means 3 elements, data has 2", id="a shape that is too large for the data"),
    pytest.param(one(shape=[1]), "means 1 elements, data has 2", id="a shape that is too small for the data"),
    pytest.param(one(shape=[2**62, 2**62]), "far too many", id="a shape whose product overflows"),
    pytest.param(one(shape=[0, 2**62, 2**62], data=[]), "too large", id="an empty shape that numpy cannot hold"),
    pytest.param(one(shape=[1] * 33, data=[1]), "33 dimensions", id="more dimensions than supported"),
    pytest.param(one(data=None), "data is null", id="no data"),
    pytest.param(one(data="12"), "data is a string", id="data that is no array"),
    pytest.param(one("UINT8", data=[1, 300]), r"data\[1\] is 300, which does not fit UINT8 \(0 to 255\)", id="300 as UINT8"),
    pytest.param(one("UINT32", data=[1, -1]), "does not fit UINT32", id="a negative number as unsigned"),
    pytest.param(one("INT64", data=[1, 2**63]), "does not fit INT64", id="2^63 as INT64"),
    pytest.param(one("UINT64", data=[1, 2**64]), "a number with a fraction", id="2^64 is no whole number for JSON parsers"),
    pytest.param(one(data=[1, 2.0]), r"data\[1\] is 2.0 \(a number with a fraction\), INT32 needs a whole", id="2.0 as INT32"),
    pytest.param(one(data=[1, "2"]), r"'2' \(a string\), INT32 needs", id="a string for a number"),
    pytest.param(one(data=[1, True]), r"True \(a boolean\), INT32 needs", id="a boolean for a number"),
    pytest.param(one(data=[1, None]), r"data\[1\] is null", id="null for a number"),
    pytest.param(one(data=[1, {}]), r"data\[1\] is an object", id="an object for a number"),
    pytest.param(one("FP32", data=[1, 1e39]), "does not fit FP32", id="a number over FP32"),
    pytest.param(one("FP16", data=[1, -70000]), "does not fit FP16", id="a number under FP16"),
    pytest.param(one("FP32", data=[1, True]), "FP32 needs a number", id="a boolean for a float"),
    pytest.param(one("BOOL", data=[True, 1]), "BOOL needs true or false", id="1 for true"),
    pytest.param(one("BYTES", data=["a", 1]), "BYTES needs a string", id="a number for a string"),
    pytest.param(one(shape=[2, 2], data=[[1, 2], [3]]), "an array of 1 at depth 1", id="ragged data"),
    pytest.param(one(shape=[2, 2], data=[[1, 2], 3]), "a whole number at depth 1", id="half nested data"),
    pytest.param(one(shape=[1, 4], data=[[1, 2], [3, 4]]), "2 rows", id="data nested otherwise than the shape"),
    pytest.param(one(shape=[2], data=[[1], [2]]), "needs a whole number", id="data nested deeper than the shape"),
    pytest.param(one(parameters=[]), "parameters is an array", id="parameters that are no object"),
    pytest.param(one(parameters={"a": {}}), "'a' is an object", id="a parameter that is not a scalar"),
    pytest.param(one(parameters={"binary_data_size": 8}), "both data and", id="data and raw data at once"),
    pytest.param(
        {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 1}}]},
        "Inference-Header-Content-Length",
        id="raw data without the header",
    ),
    pytest.param({"inputs": one()["inputs"] * 2}, "'x' occurs more than once", id="an input name twice"),
    pytest.param({**one(), "id": 7}, "id is a whole number", id="an id that is no string"),
    pytest.param({**one(), "parameters": 1}, "parameters is a whole number", id="request parameters that are no object"),
    pytest.param({**one(), "parameters": {"timeout": -1}}, "timeout is -1", id="a negative timeout"),
    pytest.param({**one(), "parameters": {"timeout": "soon"}}, "timeout is 'soon'", id="a timeout that is not a number"),
    pytest.param({**one(), "parameters": {"binary_data_output": 1}}, "binary_data_output is 1", id="a flag that is a number"),
    pytest.param({**one(), "outputs": {}}, "outputs is an object", id="outputs that are no array"),
    pytest.param({**one(), "outputs": ["y"]}, r"outputs\[0\] is a string", id="an output that is no object"),
    pytest.param({**one(), "outputs": [{"name": "y"}] * 2}, "more than once", id="an output name twice"),
    pytest.param(
        {**one(), "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "binary_data is 'yes'", id="a flag as text"
    ),
]


@pytest.mark.parametrize(("body", "said"), REFUSED)
def test_what_is_refused(body, said):
    with pytest.raises(BadRequest, match=said) as refusal:
        read(body)
    assert len(refusal.value.message) < 700


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(one(parameters={"shared_memory_region": "r"}), id="shared memory for an input"),
        pytest.param({**one(), "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, id="or an output"),
        pytest.param({**one(), "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, id="classification"),
    ],
)
def test_what_is_not_offered(body):
    with pytest.raises(Unsupported, match="not offered"):
        read(body)


def test_a_request_keeps_what_it_said():
    body = {**one(parameters={"k": 1}), "id": "7", "parameters": {"operating_point": "x", "timeout": 250_000}}
    body["outputs"] = [{"name": "y", "parameters": {"binary_data": False}}]
    request = binary_codec.read_request(json.dumps(body).encode(), None, Envelope("m", "2", 1.0, "t"))
    assert (request.model, request.version, request.id, request.traceparent, request.door) == ("m", "2", "7", "t", "http")
    assert request.parameters == {"operating_point": "x", "timeout": 250_000}
    assert request.outputs == (RequestedOutput("y", {"binary_data": False}),)
    assert request.inputs[0].parameters == {"k": 1}
    assert request.deadline_s == 0.25, "the shorter of header and parameter"


def test_an_answer_in_json():
    outputs = (
        Tensor("n", "FP32", np.array([[0.1, np.nan]], np.float32)),
        Tensor("s", "BYTES", np.array(["é", b"b"], object)),
        Tensor("b", "BOOL", np.array([True])),
    )
    answer = InferAnswer("m", "1", outputs, None, {"degraded": False})
    assert orjson.loads(json_codec.write_answer(answer)) == {
        "model_name": "m",
        "model_version": "1",
        "parameters": {"degraded": False},
        "outputs": [
            {"name": "n", "datatype": "FP32", "shape": [1, 2], "data": [0.1, None]},
            {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["é", "b"]},
            {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    }


def test_bytes_that_are_no_text_are_offered_as_binary():
    with pytest.raises(BadRequest, match="binary_data"):
        json_codec.write_answer(InferAnswer("m", "1", (Tensor("s", "BYTES", np.array([b"\xff"], object)),)))


def test_a_transposed_output_is_written_in_row_major_order():
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    written = orjson.loads(json_codec.write_answer(InferAnswer("m", "1", (Tensor("x", "INT32", array),))))
    assert written["outputs"][0]["data"] == [0, 3, 1, 4, 2, 5]


def as_document(request: InferRequest) -> dict:
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": [value.decode() if isinstance(value, bytes) else value for value in tensor.data.reshape(-1).tolist()],
        }
        for tensor in request.inputs
    ]
    return {
        "inputs": inputs,
        "parameters": request.parameters,
        "id": request.id,
        "outputs": [{"name": o.name} for o in request.outputs],
    }


@pytest.mark.heavy
@given(requests(is_text=True, is_finite=True))
def test_any_tensor_survives_a_json_request(request):
    back = binary_codec.read_request(orjson.dumps(as_document(request)), None, Envelope("m", request.version))
    for sent, got in zip(request.inputs, back.inputs, strict=True):
        assert_same(sent, got)
    assert (back.id, back.parameters, back.outputs) == (request.id, request.parameters, request.outputs)


@given(answers(is_text=True, is_finite=True))
def test_any_tensor_survives_a_json_answer(answer):
    written = orjson.loads(json_codec.write_answer(answer))
    back = read({"inputs": written["outputs"]}).inputs if answer.outputs else ()
    for sent, got in zip(answer.outputs, back, strict=True):
        assert_same(sent, got)
    assert written.get("parameters", {}) == answer.parameters


NUMBERS = (
    st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 127, 128, 255, 65504.0, 65519.9, 65520.0, 3.4028235e38, 3.4028236e38, 1e39, 2**31, 2**63, -0.0])
)
ELEMENTS = NUMBERS | st.booleans() | st.none() | st.text(max_size=3) | st.just([]) | st.just({})
ITEMS = st.fixed_dictionaries(
    {
        "name": st.text(max_size=3) | st.just("x") | st.none(),
        "datatype": st.sampled_from([*DTYPES, "FLOAT", 7, None]),
        "shape": st.lists(st.integers(0, 3) | st.sampled_from([-1, 1.0, True, 2**62]), max_size=3) | st.just([2]) | st.none(),
        "data": st.lists(NUMBERS, max_size=3) | st.lists(ELEMENTS, max_size=3) | st.lists(st.text(max_size=3), max_size=3),
    },
    optional={"parameters": st.just({}) | st.just({"a": 1}) | st.none()},
)


@given(item=ITEMS)
@example(item={"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, True]})
@example(item={"name": "x", "datatype": "INT8", "shape": [1], "data": [False]})
@example(item={"name": "x", "datatype": "FP16", "shape": [1], "data": [65520.0]})
@example(item={"name": "x", "datatype": "FP32", "shape": [0, 2**62], "data": []})
@example(item={"name": "x", "datatype": "INT64", "shape": [1], "data": [2**63]})
def test_the_short_way_takes_nothing_that_the_long_way_refuses_and_reads_the_same(item):
    body = orjson.dumps({"inputs": [item]})
    document = orjson.loads(body)["inputs"][0]
    short = json_codec._plain(document, json_codec.has_booleans(body))
    if short is not None:
        long = json_codec._input(0, document, None)
        assert_same(long, short)
        assert long.data.dtype == short.data.dtype
        assert long.data.tobytes() == short.data.tobytes() or long.datatype == "BYTES"


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "UINT8", "BYTES"])
def test_the_usual_tensor_goes_the_short_way(datatype):
    data = ["a", "b"] if datatype == "BYTES" else [1, 2]
    assert json_codec._plain({"name": "x", "datatype": datatype, "shape": [1, 2], "data": data}, False) is not None


def test_an_output_that_is_kept_is_written_once_and_alike():
    kept = Tensor("verdict", "BYTES", np.array([b"alert"], object), texts={})
    fresh = InferAnswer("m", "1", (Tensor("verdict", "BYTES", kept.data),))
    texts = [json_codec.write_answer(InferAnswer("m", "1", (kept,))) for _ in range(2)]
    assert texts == [json_codec.write_answer(fresh)] * 2
    assert list(kept.texts) == ["json"]


class CountedText(str):
    """Text that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedText.compared += 1
        return str.__eq__(self, other)


def test_a_name_that_is_repeated_at_the_end_of_a_thousand_is_found_without_comparing_each_with_each():
    names = [CountedText(number) for number in [*range(1_000), 999]]
    CountedText.compared = 0
    with pytest.raises(BadRequest, match="'999' occurs more than once"):
        json_codec._distinct("inputs", names)
    assert CountedText.compared < 10 * len(names), "a body may hold hundreds of thousands, and the loop waits"
