"""The gRPC door on a real socket: every method, every way to send a tensor, health, reflection, errors with details."""

import threading

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.doors.grpc import stubs
from tests.fakes.serving.doors import MAX_BODY_BYTES, Doors, open_doors, simple_message
from tests.waiting import HANG_S, until

SUM = [i + 1 for i in range(16)]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _reset(doors: Doors):
    doors.service.unloaded.clear()
    doors.service.is_up = True


def infer(doors, message, **options):
    return doors.call("ModelInfer", message.SerializeToString(), **options)


def refused(doors, message, **options) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refusal:
        infer(doors, message, **options)
    return refusal.value


def test_typed_in_typed_out(doors):
    answer = infer(doors, simple_message())
    assert list(answer.outputs[0].contents.int_contents) == SUM
    assert not answer.raw_output_contents
    assert (answer.model_name, answer.model_version, answer.id) == ("simple", "2", "")
    assert answer.parameters["variant"].string_param == "stable"
    assert answer.parameters["age_ms"].double_param == 1.5


def test_raw_in_raw_out(doors):
    answer = infer(doors, simple_message(raw=True))
    assert np.frombuffer(answer.raw_output_contents[0], "<i4").tolist() == SUM
    assert not answer.outputs[0].HasField("contents")


@pytest.mark.parametrize("raw", [True, False])
def test_the_parameter_decides_over_the_request(doors, raw):
    message = simple_message(raw=not raw)
    message.parameters["binary_data_output"].bool_param = raw
    assert bool(infer(doors, message).raw_output_contents) == raw


def test_fp16_travels_raw(doors):
    message = stubs.ModelInferRequest(model_name="echo", raw_input_contents=[np.array([0.5], "<f2").tobytes()])
    message.inputs.add(name="x", datatype="FP16", shape=[1])
    assert infer(doors, message).raw_output_contents[0] == np.array([0.5], "<f2").tobytes()
    message.parameters["binary_data_output"].bool_param = False
    assert infer(doors, message).raw_output_contents, "there is no typed field for FP16"


def test_version_id_and_output_by_name(doors):
    message = simple_message()
    message.model_version, message.id = "1", "7"
    message.outputs.add(name="OUTPUT1")
    answer = infer(doors, message)
    assert (answer.model_version, answer.id, [o.name for o in answer.outputs]) == ("1", "7", ["OUTPUT1"])


def wrong(change) -> object:
    message = simple_message()
    change(message)
    return message


def _typed_fp16(message):
    message.inputs[0].datatype = "FP16"


def _mixed(message):
    message.raw_input_contents.extend([b"\0" * 64, b"\0" * 64])


def _too_few_raw(message):
    message.raw_input_contents.append(b"")


def _no_value(message):
    message.parameters["p"].SetInParent()


def _two_fields(message):
    message.inputs[0].contents.fp32_contents.append(1)


def _wrong_field(message):
    message.inputs[0].ClearField("contents")
    message.inputs[0].contents.int64_contents.extend(range(16))


def _out_of_range(message):
    message.inputs[0].datatype = "INT8"
    message.inputs[0].contents.int_contents[3] = 300


def _shared_memory(message):
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"


def _classification(message):
    message.outputs.add(name="OUTPUT0").parameters["classification"].int64_param = 2


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        pytest.param(wrong(lambda m: m.ClearField("model_name")), "INVALID_ARGUMENT", "model_name is empty", id="no model"),
        pytest.param(wrong(lambda m: m.ClearField("inputs")), "INVALID_ARGUMENT", "inputs is empty", id="no inputs"),
        pytest.param(simple_message("nope"), "NOT_FOUND", "nope", id="an unknown model"),
        pytest.param(wrong(lambda m: setattr(m, "model_version", "9")), "NOT_FOUND", "9", id="an unknown version"),
        pytest.param(simple_message("busy"), "RESOURCE_EXHAUSTED", "too many", id="overload"),
        pytest.param(simple_message("failing"), "INTERNAL", "internal error", id="a defect of ours"),
        pytest.param(wrong(_mixed), "INVALID_ARGUMENT", "send all tensors one way", id="raw and typed are never mixed"),
        pytest.param(wrong(_too_few_raw), "INVALID_ARGUMENT", "1 entries for 2 inputs", id="raw contents for some inputs only"),
        pytest.param(wrong(_typed_fp16), "INVALID_ARGUMENT", "FP16 has no typed field", id="FP16 typed"),
        pytest.param(wrong(_two_fields), "INVALID_ARGUMENT", "INT32 belongs in int_contents", id="two typed fields"),
        pytest.param(wrong(_wrong_field), "INVALID_ARGUMENT", "INT32 belongs in int_contents", id="the wrong typed field"),
        pytest.param(wrong(_out_of_range), "INVALID_ARGUMENT", "element 3 is 300", id="a number that does not fit"),
        pytest.param(wrong(_no_value), "INVALID_ARGUMENT", "'p' has no value", id="a parameter without a value"),
        pytest.param(wrong(lambda m: m.inputs[0].shape.append(-1)), "INVALID_ARGUMENT", "0 or more", id="a negative dimension"),
        pytest.param(wrong(lambda m: m.inputs[0].shape.append(2)), "INVALID_ARGUMENT", "means 32 elements", id="a wrong shape"),
        pytest.param(
            wrong(lambda m: setattr(m.inputs[0], "datatype", "X")),
            "INVALID_ARGUMENT",
            "expected one of",
            id="an unknown datatype",
        ),
        pytest.param(
            wrong(lambda m: setattr(m.inputs[1], "name", "INPUT0")), "INVALID_ARGUMENT", "distinct", id="a name twice"
        ),
        pytest.param(wrong(_shared_memory), "UNIMPLEMENTED", "shared memory", id="shared memory"),
        pytest.param(wrong(_classification), "UNIMPLEMENTED", "classification", id="classification"),
    ],
)
def test_refusals(doors, message, code, said):
    refusal = refused(doors, message)
    assert refusal.code().name == code
    assert said in refusal.details()


def test_an_error_carries_its_details(doors):
    refusal = refused(doors, simple_message("busy"))
    status = status_pb2.Status.FromString(dict(refusal.trailing_metadata())["grpc-status-details-bin"])
    cause, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert (status.code, status.message) == (8, refusal.details())
    assert status.details[0].Unpack(cause)
    assert status.details[1].Unpack(retry)
    assert (cause.reason, cause.domain, retry.retry_delay.ToMilliseconds()) == ("OVERLOADED", "vedette.dev", 2500)


def test_bytes_that_are_no_message(doors):
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        doors.call("ModelInfer", b"\xff\xff\xff")


def test_a_message_over_the_limit(doors):
    message = simple_message("echo", raw=True)
    message.raw_input_contents[0] = bytes(MAX_BODY_BYTES + 1)
    assert refused(doors, message).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_that_inflates_over_the_limit(doors):
    message = simple_message("echo", raw=True)
    message.raw_input_contents[0] = bytes(64 * MAX_BODY_BYTES)
    assert refused(doors, message, compression=grpc.Compression.Gzip).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_unknown_method(doors):
    with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
        doors.call("ModelConfig", b"", "ServerLiveResponse")


def test_the_deadline_reaches_the_service_and_ends_the_call(doors):
    message = simple_message()
    infer(doors, message)
    assert HANG_S / 2 < doors.service.seen[-1].deadline_s < 1.05 * HANG_S, "gRPC rounds it up a little on the wire"
    message.parameters["timeout"].int64_param = 20_000
    message.model_name = "slow"
    assert refused(doors, message, timeout_s=0.5).code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_trace_reaches_the_service(doors):
    infer(doors, simple_message(), metadata=(("traceparent", TRACE),))
    assert (doors.service.seen[-1].traceparent, doors.service.seen[-1].door) == (TRACE, "grpc")


def ask(method, **fields) -> bytes:
    return stubs.message(f"{method}Request")(**fields).SerializeToString()


def test_server_and_model(doors):
    assert doors.call("ServerLive", b"").live
    assert doors.call("ServerReady", b"").ready
    server = doors.call("ServerMetadata", b"")
    assert (server.name, list(server.extensions)) == ("fake", ["binary_tensor_data", "model_repository"])
    assert doors.call("ModelReady", ask("ModelReady", name="simple", version="1")).ready
    model = doors.call("ModelMetadata", ask("ModelMetadata", name="simple"))
    assert (model.platform, list(model.versions), list(model.inputs[0].shape)) == ("onnx_onnxv1", ["1", "2"], [1, 16])
    assert not doors.call("ModelReady", ask("ModelReady", name="nope")).ready, "as Triton answers"
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        doors.call("ModelMetadata", ask("ModelMetadata", name="nope"))
    for method in ("ModelReady", "ModelMetadata"):
        with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
            doors.call(method, b"")


def test_load_and_unload_as_kserve_and_as_triton_name_the_model(doors):
    assert doors.call("RepositoryModelUnload", ask("RepositoryModelUnload", model_name="simple")).isUnloaded
    assert not doors.call("ServerReady", b"").ready
    states = {e.name: e.state for e in doors.call("RepositoryIndex", b"").models}
    assert states["simple"] == "UNAVAILABLE"
    assert "simple" not in {e.name for e in doors.call("RepositoryIndex", ask("RepositoryIndex", ready=True)).models}
    loaded = doors.call("RepositoryModelLoad", ask("RepositoryModelLoad", triton_model_name="simple"))
    assert (loaded.model_name, loaded.isLoaded) == ("simple", True)
    assert doors.call("ModelReady", ask("ModelReady", name="simple")).ready


def health(doors, method, name, kind):
    request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
    path = f"/grpc.health.v1.Health/{method}"
    return getattr(doors.channel, kind)(path, None, health_pb2.HealthCheckResponse.FromString)(request, timeout=HANG_S)


def test_health(doors):
    for name in ("", stubs.SERVICE, "simple"):
        assert health(doors, "Check", name, "unary_unary").status == 1
    doors.service.unloaded.add("simple")
    assert health(doors, "Check", "simple", "unary_unary").status == 2
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        health(doors, "Check", "nope", "unary_unary")


def test_a_health_watch_tells_of_each_change(doors):
    watch = health(doors, "Watch", "", "unary_stream")
    assert next(watch).status == 1
    doors.service.is_up = False
    assert next(watch).status == 2
    doors.service.is_up = True
    assert next(watch).status == 1
    watch.cancel()
    assert next(health(doors, "Watch", "nope", "unary_stream")).status == 3


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_reflection_describes_the_service(doors, version):
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    ask = reflection_pb2.ServerReflectionRequest
    questions = [
        ask(list_services=""),
        ask(file_containing_symbol=stubs.SERVICE),
        ask(file_containing_symbol=f"grpc.reflection.{version}.ServerReflection"),
        ask(file_containing_symbol="no.such.Thing"),
        ask(),
    ]
    call = doors.channel.stream_stream(path, ask.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString)
    answers = list(call(iter(questions), timeout=HANG_S))
    assert stubs.SERVICE in {service.name for service in answers[0].list_services_response.service}
    assert b"RepositoryIndex" in answers[1].file_descriptor_response.file_descriptor_proto[0]
    assert answers[2].file_descriptor_response.file_descriptor_proto
    assert answers[3].error_response.error_code == 5
    assert answers[4].error_response.error_code == 3


def test_stopping_lets_calls_under_way_finish_then_runs_shutdown():
    with open_doors() as doors:
        slow = doors.channel.unary_unary(f"/{stubs.SERVICE}/ModelInfer", None, stubs.ModelInferResponse.FromString)
        under_way = slow.future(simple_message("slow").SerializeToString(), timeout=HANG_S)
        watch = health(doors, "Watch", "", "unary_stream")
        assert next(watch).status == 1
        until(lambda: doors.service.seen)
        stopping = threading.Thread(target=doors.listener.stop, args=(5,))
        loop = doors.listener._thread.loop
        stopping.start()
        assert next(watch).status == 2, "watchers are told first"
        loop.call_soon_threadsafe(doors.service.release.set)
        assert under_way.result().model_name == "slow"
        stopping.join(HANG_S)
        assert doors.events == ["startup", "shutdown"]
        with pytest.raises(OSError, match="refused"):
            doors.http("GET", "/v2")


def test_statistics(doors):
    doors.service.seen.clear()
    doors.call("ModelInfer", simple_message().SerializeToString())
    asked = stubs.message("ModelStatisticsRequest")(name="simple", version="2").SerializeToString()
    (found,) = doors.call("ModelStatistics", asked).model_stats
    assert (found.name, found.version, found.inference_count) == ("simple", "2", 1)
    assert (found.inference_stats.success.count, found.inference_stats.success.ns) == (1, 1000)
