"""Any tensor survives gRPC, typed and raw; parameters survive both ways. Refusals are in tests/integration/doors/test_doors_grpc.py."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from serving.doors.grpc import codec, stubs
from serving.doors.grpc.answer import answer_bytes
from serving.doors.grpc.calls import CallContext, InferenceMethods
from serving.doors.grpc.codec import CONTENTS, is_raw, parse, read_parameters, read_request, write_answer, write_parameters
from serving.errors import BadRequest
from serving.messages import InferAnswer, InferRequest, Tensor
from tests.fakes.serving.inference import FakeInference
from tests.unit.serving.doors.strategies import PARAMETERS, answers, assert_same, requests


def as_message(request: InferRequest, *, raw: bool):
    """A request as some client would write it: the answer's encoder, and the message's wire form."""
    answer = write_answer(InferAnswer("m", request.version or "", request.inputs, request.id, request.parameters), raw)
    message = stubs.ModelInferRequest(model_name="m", model_version=request.version or "", id=request.id or "")
    for key, value in answer.parameters.items():
        message.parameters[key].CopyFrom(value)
    for output in answer.outputs:
        item = message.inputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if not raw:
            item.contents.CopyFrom(output.contents)
    message.raw_input_contents.extend(answer.raw_output_contents)
    for wanted in request.outputs:
        message.outputs.add(name=wanted.name)
    return parse(stubs.ModelInferRequest, message.SerializeToString())


def assert_survives(request: InferRequest, *, raw: bool) -> None:
    message = as_message(request, raw=raw)
    back = read_request(message, None, None)
    for sent, got in zip(request.inputs, back.inputs, strict=True):
        assert_same(sent, got)
    assert (back.model, back.version, back.id, back.outputs) == ("m", request.version, request.id, request.outputs)
    assert back.parameters == request.parameters
    assert is_raw(message, back) == raw


@pytest.mark.heavy
@given(requests())
def test_any_tensor_survives_raw(request):
    assert_survives(request, raw=True)


@pytest.mark.heavy
@given(requests(datatypes=tuple(CONTENTS)))
def test_any_tensor_survives_typed(request):
    assert_survives(request, raw=False)


@pytest.mark.heavy
@given(answers())
def test_an_answer_is_raw_or_typed_never_both(answer):
    for raw in (True, False):
        message = write_answer(answer, raw)
        has_raw, has_typed = bool(message.raw_output_contents), any(o.contents.ByteSize() for o in message.outputs)
        assert not (has_raw and has_typed)
        if has_raw:
            assert len(message.raw_output_contents) == len(answer.outputs)


@given(PARAMETERS)
def test_parameters_survive_with_their_types(parameters):
    message = stubs.ModelInferRequest()
    write_parameters(parameters, message.parameters)
    back = read_parameters(message.parameters)
    assert back == parameters
    assert {key: type(value) for key, value in back.items()} == {key: type(value) for key, value in parameters.items()}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (2**63 - 1, "int64_param"),
        (2**63, "uint64_param"),
        (2**64 - 1, "uint64_param"),
        (2**64, "string_param"),
        (-(2**63), "int64_param"),
    ],
)
def test_whole_numbers_find_a_field_they_fit(value, field):
    message = stubs.ModelInferRequest()
    write_parameters({"n": value}, message.parameters)
    assert message.parameters["n"].WhichOneof("parameter_choice") == field


@given(st.binary(max_size=200))
def test_bytes_are_a_message_or_refused(body):
    with suppress(BadRequest):
        read_request(parse(stubs.ModelInferRequest, body), None, None)


def test_floats_keep_their_bits_typed():
    data = np.array([math.nan, math.inf, -0.0, 1e-45], np.float32)
    message = write_answer(InferAnswer("m", "1", (Tensor("x", "FP32", data),)), raw=False)
    assert np.array(list(message.outputs[0].contents.fp32_contents), np.float32)[1:].tobytes() == data[1:].tobytes()


def test_our_messages_do_not_touch_the_default_pool():
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.RepositoryIndexRequest.Nothing")
    assert stubs.POOL is not descriptor_pool.Default()
    assert stubs.ModelInferRequest.DESCRIPTOR.file.pool is stubs.POOL


def written(message) -> bytes:
    """To compare by: NaN does not equal itself."""
    return message.SerializeToString(deterministic=True)


@pytest.mark.heavy
@given(answer=answers(), is_kept=st.booleans())
def test_an_answer_put_together_from_fragments_is_the_librarys(answer, is_kept):
    if is_kept:
        answer = replace(answer, outputs=tuple(replace(o, texts={}) for o in answer.outputs))
    for raw in (True, False):
        for _ in range(2):  # the second time from what was kept
            assert written(parse(stubs.ModelInferResponse, answer_bytes(answer, raw))) == written(write_answer(answer, raw))


def test_texts_longer_than_a_byte_can_count_are_written_right():
    parameters = {"receipt": "r" * 70_000, "n" * 300: "v" * 200, "revision": "x", "degraded": True, "feature_age_ms": 1.5}
    data = np.zeros(70_000, np.float32)
    answer = InferAnswer("m", "1", (Tensor("x", "FP32", data),), "i" * 200, parameters)
    assert written(parse(stubs.ModelInferResponse, answer_bytes(answer, True))) == written(write_answer(answer, True))


@given(requests())
def test_the_short_way_reads_a_raw_input_as_the_long_way_does(request):
    message = write_answer(InferAnswer("m", "1", request.inputs), raw=True)
    for at, (output, raw) in enumerate(zip(message.outputs, message.raw_output_contents, strict=True)):
        item = stubs.ModelInferRequest(
            inputs=[{"name": output.name, "datatype": output.datatype, "shape": output.shape}]
        ).inputs[0]
        short = codec._plain(item, raw)
        if short is not None:
            assert_same(codec._input(at, item, raw), short)
            assert codec._plain(item, raw + b"\0") is None


@pytest.mark.parametrize(
    ("name", "version", "is_ready"), [("simple", "", True), ("nosuch", "", False), ("simple", "99", False)]
)
async def test_an_unknown_model_is_not_ready_as_with_triton(name, version, is_ready):
    asked = stubs.message("ModelReadyRequest")(name=name, version=version).SerializeToString()
    answer = await InferenceMethods(FakeInference()).methods()["ModelReady"](asked, CallContext(None, None, None))
    assert stubs.message("ModelReadyResponse").FromString(answer).ready is is_ready
