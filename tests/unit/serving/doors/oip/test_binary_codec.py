"""The binary tensor extension: who decides, what fits, what is refused."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given

from serving.doors.oip import binary_codec
from serving.doors.oip.envelope import Envelope
from serving.doors.oip.tensors import to_raw
from serving.errors import BadRequest
from serving.messages import DTYPES, InferAnswer, InferRequest, RequestedOutput, Tensor
from tests.unit.serving.doors.strategies import answers, assert_same, requests

HERE = Envelope("m")


def body(*tensors: tuple[str, list[int], bytes], **more) -> tuple[bytes, int]:
    inputs = [
        {"name": f"x{i}", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for i, (datatype, shape, raw) in enumerate(tensors)
    ]
    header = json.dumps({"inputs": inputs, **more}).encode()
    return header + b"".join(raw for _, _, raw in tensors), len(header)


@pytest.mark.parametrize(
    ("datatype", "raw", "expected"),
    [
        pytest.param("INT32", b"\x01\0\0\0\xff\xff\xff\xff", [1, -1], id="little-endian"),
        pytest.param("FP16", b"\x00\x3c\x00\x38", [1.0, 0.5], id="FP16 as two bytes"),
        pytest.param("BOOL", b"\x00\x02", [False, True], id="any byte but 0 is true"),
        pytest.param("BYTES", b"\x01\0\0\0a\0\0\0\0", [b"a", b""], id="BYTES with their lengths"),
        pytest.param("FP32", np.array([np.nan, np.inf], "<f4").tobytes(), None, id="NaN and infinity travel raw"),
    ],
)
def test_raw_tensors(datatype, raw, expected):
    text, length = body((datatype, [2], raw))
    tensor = binary_codec.read_request(text, length, HERE).inputs[0]
    assert tensor.data.dtype == DTYPES[datatype]
    assert expected is None or tensor.data.tolist() == expected
    assert tensor.data.flags.aligned
    assert dict(tensor.parameters) == {}, "the size is the wire's business, not the request's"


def test_raw_and_json_tensors_may_stand_side_by_side():
    header = json.dumps(
        {
            "inputs": [
                {"name": "a", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 1}},
                {"name": "b", "datatype": "INT8", "shape": [1], "data": [2]},
                {"name": "c", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 1}},
            ]
        }
    ).encode()
    request = binary_codec.read_request(header + b"\x01\x03", len(header), HERE)
    assert [tensor.data.tolist() for tensor in request.inputs] == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        pytest.param(("INT32", [2], b"1234"), "means 8 bytes of raw data, got 4", id="too few bytes"),
        pytest.param(("INT32", [1], b"12345"), "means 4 bytes", id="too many bytes"),
        pytest.param(("BYTES", [2], b"\x01\0\0\0a"), "need at least 8", id="fewer strings than the shape says"),
        pytest.param(("BYTES", [1], b"\x05\0\0\0ab"), "claims 5 bytes", id="a string longer than the data"),
        pytest.param(("BYTES", [1], b"\x01\0\0\0ab"), "1 bytes more", id="bytes after the last string"),
        pytest.param(("BYTES", [2], b"\x02\0\0\0abcd"), "inside the length of element 1", id="a length cut short"),
        pytest.param(("BYTES", [2**40], b"\0\0\0\0"), "need at least", id="a shape far over the data"),
        pytest.param(("FP64", [2**62, 2**62], b""), "bytes of raw data", id="a shape whose product overflows"),
        pytest.param(("FP64", [0, 2**62, 2**62], b""), "too large", id="an empty shape that numpy cannot hold"),
    ],
)
def test_raw_data_that_does_not_fit(tensor, said):
    text, length = body(tensor)
    with pytest.raises(BadRequest, match=said):
        binary_codec.read_request(text, length, HERE)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        pytest.param(-1, "binary_data_size is -1", id="negative"),
        pytest.param(1.5, "binary_data_size is 1.5", id="a fraction"),
        pytest.param(True, "binary_data_size is True", id="a boolean"),
        pytest.param("4", "binary_data_size is '4'", id="text"),
        pytest.param(99, "the body has 4 bytes left", id="more than there is"),
        pytest.param(3, "means 4 bytes", id="less than the shape means"),
    ],
)
def test_a_size_that_is_wrong(size, said):
    header = json.dumps(
        {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": size}}]}
    )
    with pytest.raises(BadRequest, match=said):
        binary_codec.read_request(header.encode() + b"1234", len(header), HERE)


def test_bytes_that_no_input_names_are_refused():
    text, length = body(("INT8", [1], b"1"))
    with pytest.raises(BadRequest, match="3 bytes after the last tensor"):
        binary_codec.read_request(text + b"abc", length, HERE)


@pytest.mark.parametrize("value", [b"-1", b"x", b"", b"11", b"1.0", b"9" * 30], ids=repr)
def test_a_header_that_is_no_length_of_this_body(value):
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length"):
        binary_codec.header_length(value, 10)


def test_without_the_header_the_whole_body_is_json():
    assert binary_codec.header_length(None, 10) is None
    assert binary_codec.header_length(b"10", 10) == 10


OUTPUTS = (Tensor("a", "INT8", np.array([1], np.int8)), Tensor("b", "BYTES", np.array([b"xy"], object)))


def asked(parameters=None, **outputs) -> InferRequest:
    wanted = tuple(RequestedOutput(name, {} if flag is None else {"binary_data": flag}) for name, flag in outputs.items())
    return InferRequest("m", None, (), None, parameters or {}, wanted)


@pytest.mark.parametrize(
    ("request_", "raw"),
    [
        pytest.param(asked(), [], id="nothing said: JSON"),
        pytest.param(asked({"binary_data_output": True}), ["a", "b"], id="the request's default holds for all"),
        pytest.param(asked({"binary_data_output": True}, a=False), ["b"], id="an output's own word goes first"),
        pytest.param(asked(a=True, b=None), ["a"], id="one raw output among others"),
        pytest.param(asked({"binary_data_output": False}, b=True), ["b"], id="the default may be JSON"),
        pytest.param(asked({"binary_data_output": True}, a=False, b=False), [], id="all JSON after all: no header"),
    ],
)
def test_which_outputs_come_raw(request_, raw):
    written, length = binary_codec.write_answer(InferAnswer("m", "1", OUTPUTS), request_)
    header = json.loads(written[:length])
    assert [o["name"] for o in header["outputs"] if "binary_data_size" in o.get("parameters", {})] == raw
    assert [o["name"] for o in header["outputs"] if "data" in o] == [t.name for t in OUTPUTS if t.name not in raw]
    assert (length is None) == (not raw)
    if raw:
        assert written[length:] == b"".join(to_raw(t.data, t.datatype) for t in OUTPUTS if t.name in raw)


@pytest.mark.heavy
@given(requests())
def test_any_tensor_survives_a_binary_request(request):
    text, length = body(*[(t.datatype, list(t.shape), to_raw(t.data, t.datatype)) for t in request.inputs])
    back = binary_codec.read_request(text, length, HERE)
    for sent, got in zip(request.inputs, back.inputs, strict=True):
        assert_same(Tensor(got.name, sent.datatype, sent.data), got)


@given(answers())
def test_any_tensor_survives_a_binary_answer(answer):
    written, length = binary_codec.write_answer(answer, asked({"binary_data_output": True}))
    if length is None:
        assert not answer.outputs
        return
    header = orjson.loads(written[:length])
    request = binary_codec.read_request(orjson.dumps({"inputs": header["outputs"]}) + written[length:], _shorter(header), HERE)
    for sent, got in zip(answer.outputs, request.inputs, strict=True):
        assert_same(sent, got)


def _shorter(header: dict) -> int:
    return len(orjson.dumps({"inputs": header["outputs"]}))
