"""The kit's own encodings: what is written can be read, and what does not add up is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.conformance.encoding import HEADER_LENGTH, nested, pack, read_answer, unpack
from operators.conformance.exchange import GrpcReply, HttpReply, NoReply
from operators.conformance.messages import message_class
from operators.conformance.rpc import read_answer as rpc_read_answer
from operators.conformance.synthesis import concrete_shape, elements, inputs_of
from operators.conformance.transport import Transport, TransportError
from operators.conformance.values import STRUCT_CODES, Failed, Skipped, Tensor, TensorInfo


def reply(body: object, tail: bytes = b"", **headers: str) -> HttpReply:
    head = json.dumps(body).encode()
    if tail:
        headers[HEADER_LENGTH.lower()] = str(len(head))
    return HttpReply(200, headers, head + tail)


def answer(**output: object) -> dict:
    return {"model_name": "m", "outputs": [{"name": "y", "datatype": "INT32", "shape": [2], "data": [1, 2], **output}]}


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_strings_survive_packing(strings):
    tensor = Tensor("x", "BYTES", (len(strings),), tuple(strings))
    assert unpack("x", "BYTES", tensor.shape, pack(tensor)) == tensor


@pytest.mark.parametrize("datatype", [*STRUCT_CODES, "BYTES"])
def test_made_up_elements_survive_packing(datatype):
    tensor = Tensor("x", datatype, (2, 3), elements(datatype, 6, offset=1))
    assert unpack("x", datatype, (2, 3), pack(tensor)) == tensor


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_nested_data_flattens_to_itself(shape):
    count = 1
    for dim in shape:
        count *= dim
    text = json.dumps(nested(list(range(count)), shape))
    assert json.loads("[" + text.replace("[", "").replace("]", "") + "]") == list(range(count))


def test_a_variable_first_dimension_is_the_batch_and_any_other_is_one():
    assert concrete_shape((-1, 38, -1), 3) == (3, 38, 1)


def test_inputs_have_elements_of_their_own():
    first, second = inputs_of([TensorInfo("a", "INT32", (4,)), TensorInfo("b", "INT32", (4,))], 1)
    assert first.elements != second.elements


def test_a_datatype_without_known_values_skips():
    with pytest.raises(Skipped):
        elements("BF16", 1)


@pytest.mark.parametrize(("output", "problem"), [
    pytest.param({"data": [1]}, "needs 2 elements", id="too few elements"),
    pytest.param({"data": [1, 2.5]}, "no INT32 element", id="a fraction in an integer tensor"),
    pytest.param({"data": [1, True]}, "no INT32 element", id="a boolean is not an integer"),
    pytest.param({"datatype": "INT7"}, "not one of the protocol's", id="an unknown datatype"),
    pytest.param({"datatype": "FP32", "data": [1, 10**400]}, "no FP32 element", id="a whole number that no float holds"),
    pytest.param({"datatype": "BYTES", "data": ["a", "\ud800"]}, "no BYTES element", id="half a surrogate pair"),
    pytest.param({"shape": [-1]}, "negative dimension", id="a variable dimension in an answer"),
    pytest.param({"shape": [2.0]}, "integers only", id="a fraction in a shape"),
    pytest.param({"parameters": {"binary_data_size": 8}}, "both data and binary_data_size", id="JSON and binary at once"),
])  # fmt: skip
def test_an_answer_that_does_not_add_up_is_refused(output, problem):
    with pytest.raises(Failed, match=problem):
        read_answer(reply(answer(**output)))


def test_a_binary_answer_is_read():
    body = answer(parameters={"binary_data_size": 8})
    del body["outputs"][0]["data"]
    assert read_answer(reply(body, b"\1\0\0\0\2\0\0\0")).outputs[0].elements == (1, 2)


@pytest.mark.parametrize(("size", "tail", "problem"), [
    pytest.param(8, b"\0" * 9, "belong to no output", id="bytes left over"),
    pytest.param(8, b"\0" * 7, "goes beyond the body", id="bytes missing"),
    pytest.param(4, b"\0" * 4, "needs 8 raw bytes", id="fewer bytes than the shape says"),
])  # fmt: skip
def test_a_binary_answer_that_does_not_add_up_is_refused(size, tail, problem):
    body = answer(parameters={"binary_data_size": size})
    del body["outputs"][0]["data"]
    with pytest.raises(Failed, match=problem):
        read_answer(reply(body, tail))


def test_nan_literals_are_not_json():
    with pytest.raises(Failed, match="NaN is not JSON"):
        read_answer(HttpReply(200, {}, b'{"model_name": NaN}'))


def test_no_reply_is_a_failure_not_a_crash():
    with pytest.raises(Failed, match="reset"):
        read_answer(NoReply("reset"))


def test_grpc_typed_and_raw_contents_must_not_be_mixed():
    response = message_class("ModelInferResponse")(model_name="m", raw_output_contents=[b"\0\0\0\0"])
    response.outputs.add(name="y", datatype="INT32", shape=[1]).contents.int_contents.append(7)
    with pytest.raises(Failed, match="mixed"):
        rpc_read_answer(GrpcReply("OK", "", response.SerializeToString()))


def test_a_shape_of_more_bytes_than_there_are_is_refused():
    with pytest.raises(Failed, match="raw bytes, got 8"):
        unpack("y", "INT32", (1 << 62,), b"12345678")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({HEADER_LENGTH.lower(): "\u00b2"}, b"{}", id="a header length in superscript"),
        pytest.param({}, b'{"outputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="arrays nested too deeply"),
        pytest.param({}, b'{"outputs": ' + b"9" * 5_000 + b"}", id="a number of 5,000 digits"),
    ],
)
def test_no_answer_of_a_server_stops_the_kit(headers, body):
    with pytest.raises(Failed):
        read_answer(HttpReply(200, headers, body))


def test_an_input_too_large_to_make_up_is_skipped():
    with pytest.raises(Skipped, match="elements"):
        inputs_of([TensorInfo("a", "INT32", (1 << 40,))], 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://127.0.0.1:x", "http://[::1"])
def test_an_address_that_is_none_is_refused_with_an_example(url):
    with pytest.raises(TransportError, match=r"e\.g\. http://"):
        Transport(url, None, 1.0)
