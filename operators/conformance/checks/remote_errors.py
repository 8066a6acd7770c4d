"""gRPC: requests that are wrong in one way, grpc.health.v1 and reflection."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor_pb2

from operators.conformance import mutations
from operators.conformance.checks.judging import client_code, code_is, exact_code, unknown_version
from operators.conformance.compare import check_same
from operators.conformance.exchange import Call, GrpcCall, Reply
from operators.conformance.messages import INFERENCE, message_class
from operators.conformance.mutations import UNKNOWN, Mutation
from operators.conformance.rpc import CONTENTS, grpc, infer_call, read, read_answer
from operators.conformance.values import Ask, Check, Level, ModelFacts, Request, Subject, expect, fail, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
INFER: Final = "open_inference_grpc.proto: ModelInfer"
HEALTH: Final = "grpc.health.v1"
REFLECTION: Final = "grpc.reflection"
_SERVING: Final = 1


def _mutated(mutation: Mutation, *, is_raw: bool = False) -> Callable[[ModelFacts], Call]:
    return lambda m: infer_call(m.name, mutation(m), is_raw=is_raw)


def _edited(edit: Callable[[Any], None], *, is_raw: bool = True) -> Callable[[ModelFacts], Call]:
    return lambda m: infer_call(m.name, m.request, is_raw=is_raw, edit=edit)


def _drop_last_raw(message: Any) -> None:
    del message.raw_input_contents[-1]


def _add_raw(message: Any) -> None:
    message.raw_input_contents.append(b"\0\0\0\0")


def _shorten_raw(message: Any) -> None:
    message.raw_input_contents[0] = message.raw_input_contents[0][:-1]


def _mix(message: Any) -> None:
    message.inputs[0].contents.int_contents.append(1)


def _no_contents(message: Any) -> None:
    del message.raw_input_contents[:]
    for tensor in message.inputs:
        tensor.ClearField("contents")


def _wrong_field(message: Any) -> None:
    """The elements in the field of another datatype."""
    tensor = message.inputs[0]
    tensor.ClearField("contents")
    if CONTENTS.get(tensor.datatype) == "fp64_contents":
        tensor.contents.bytes_contents.append(b"x")
    else:
        tensor.contents.fp64_contents.append(1.0)


def _out_of_range(model: ModelFacts) -> Request:
    """Narrow integers travel in a 32-bit field, where a value can be too large for them."""
    narrow = {"INT8", "INT16", "UINT8", "UINT16"}
    if not any(t.datatype in narrow for t in model.request.inputs):
        skip("the model has no 8 or 16 bit input")
    return mutations.integer_out_of_range(model)


def _case(
    name: str, requires: str, make: Callable[[ModelFacts], Call], code: str = "INVALID_ARGUMENT", level: Level = MUST
) -> tuple[Check, Check]:
    ask: Ask = lambda s: (make(s.model),)  # noqa: E731
    requirement = f"{requires}: a code that blames the request, with a message"
    return (
        Check(f"grpc.error.{name}", INFER, level, requirement, ask, client_code),
        Check(f"grpc.error.{name}-code", INFER, SHOULD, f"{requires}: {code}", ask, exact_code(code)),
    )


_CASES: Final = (
    _case("missing-input", "an input is missing", _mutated(mutations.missing_input)),
    _case("misnamed-input", "an input has a name the model does not know", _mutated(mutations.misnamed_input)),
    _case("unexpected-input", "one input too many", _mutated(mutations.unexpected_input), level=SHOULD),
    _case("duplicate-input", "an input twice", _mutated(mutations.duplicate_input), level=SHOULD),
    _case("wrong-datatype", "strings for numbers, or numbers for strings", _mutated(mutations.wrong_datatype)),
    _case("near-datatype", "another integer datatype than the model's", _mutated(mutations.near_datatype), level=SHOULD),
    _case("unknown-datatype", "a datatype the protocol does not have",
          _edited(lambda m: setattr(m.inputs[0], "datatype", "INT7"))),
    _case("wrong-dimension", "a fixed dimension of the wrong size", _mutated(mutations.wrong_dimension)),
    _case("wrong-rank", "a shape with two dimensions too many", _mutated(mutations.wrong_rank), level=SHOULD),
    _case("negative-dimension", "a shape with a negative dimension", _mutated(mutations.negative_dimension), level=SHOULD),
    _case("huge-shape", "a shape far beyond the data", _mutated(mutations.huge_shape)),
    _case("too-few-elements", "fewer typed elements than the shape says", _mutated(mutations.too_few_elements)),
    _case("too-many-elements", "more typed elements than the shape says", _mutated(mutations.too_many_elements)),
    _case("integer-out-of-range", "an integer the datatype cannot hold", _mutated(_out_of_range)),
    _case("no-contents", "an input without contents", _edited(_no_contents, is_raw=False)),
    _case("wrong-field", "contents in another datatype's field", _edited(_wrong_field, is_raw=False)),
    _case("raw-too-few", "fewer raw contents than inputs", _edited(_drop_last_raw)),
    _case("raw-too-many", "more raw contents than inputs", _edited(_add_raw)),
    _case("raw-too-short", "raw contents shorter than the shape says", _edited(_shorten_raw)),
    _case("raw-and-typed", "raw and typed contents in one request", _edited(_mix)),
    _case("unknown-output", "an output the model does not have", _mutated(mutations.unknown_output)),
    _case("unknown-model", "an unknown model", lambda m: infer_call(UNKNOWN, m.request), "NOT_FOUND"),
    _case("unknown-version", "an unknown version", lambda m: infer_call(m.name, m.request, unknown_version(m)), "NOT_FOUND"),
)  # fmt: skip


def _survived(subject: Subject, replies: tuple[Reply, ...]) -> None:
    check_same(subject.model, read_answer(replies[0])[0], subject.model.answer)


def _health(service: str) -> Ask:
    message = message_class("HealthCheckRequest")(service=service).SerializeToString()
    return lambda _: (GrpcCall("/grpc.health.v1.Health/Check", message),)


def _watch(_: Subject) -> tuple[Call, ...]:
    return (GrpcCall("/grpc.health.v1.Health/Watch", b"", is_stream=True),)


def _serving(_: Subject, replies: tuple[Reply, ...]) -> None:
    status = read(replies[0], "HealthCheckResponse").status
    expect(status == _SERVING, f"status is {status}, expected {_SERVING} (SERVING)")


_REFLECTIONS: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def _reflect(**asked: str) -> Ask:
    """Ask both generations of the reflection service."""
    message = message_class("ServerReflectionRequest")(**asked).SerializeToString()
    return lambda _: tuple(GrpcCall(f"/{s}/ServerReflectionInfo", message, is_stream=True) for s in _REFLECTIONS)


def _reflected(replies: tuple[Reply, ...]) -> Any:
    answered = next((reply for reply in replies if grpc(reply).code == "OK"), None)
    return read(answered, "ServerReflectionResponse") if answered else fail(f"neither generation answers: {replies[0]}")


def _lists(_: Subject, replies: tuple[Reply, ...]) -> str:
    names = [service.name for service in _reflected(replies).list_services_response.service]
    expect(INFERENCE in names, f"{INFERENCE} is not among {names}")
    return ", ".join(names)


def _describes(_: Subject, replies: tuple[Reply, ...]) -> str:
    files = _reflected(replies).file_descriptor_response.file_descriptor_proto
    expect(len(files) > 0, f"no file describes {INFERENCE}")
    services = [s for raw in files for s in descriptor_pb2.FileDescriptorProto.FromString(raw).service]
    methods = {m.name for s in services if s.name == INFERENCE.rpartition(".")[2] for m in s.method}
    needed = {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"}
    expect(needed <= methods, f"methods {sorted(needed - methods)} are not described")
    return f"{len(methods)} methods"


CHECKS: Final = (
    *(check for pair in _CASES for check in pair),
    Check("grpc.error.malformed-message", INFER, SHOULD, "bytes that are not a message are refused",
          lambda _: (GrpcCall(f"/{INFERENCE}/ModelInfer", b"\xff\xff\xff\xff\xff"),),
          code_is("INTERNAL", "INVALID_ARGUMENT", "UNKNOWN"), False),
    Check("grpc.error.unknown-method", "gRPC status codes", MUST, "a method that is not there is UNIMPLEMENTED",
          lambda _: (GrpcCall(f"/{INFERENCE}/NoSuchMethod", b""),), code_is("UNIMPLEMENTED"), False),
    Check("grpc.error.survives", INFER, MUST, "after all of these, a valid request is answered as before",
          lambda s: (infer_call(s.model.name, s.model.request),), _survived),
    Check("grpc.health.service", HEALTH, SHOULD, "Check of the whole server is SERVING", _health(""), _serving, False),
    Check("grpc.health.inference", HEALTH, SHOULD, f"Check of {INFERENCE} is SERVING", _health(INFERENCE), _serving, False),
    Check("grpc.health.unknown", HEALTH, SHOULD, "Check of an unknown service is NOT_FOUND", _health(UNKNOWN),
          code_is("NOT_FOUND"), False),
    Check("grpc.health.watch", HEALTH, SHOULD, "Watch tells the status at once", _watch, _serving, False),
    Check("grpc.reflection.list", REFLECTION, SHOULD, "the service is listed", _reflect(list_services="*"), _lists, False),
    Check("grpc.reflection.describe", REFLECTION, SHOULD, "the service is described with its six methods",
          _reflect(file_containing_symbol=INFERENCE), _describes, False),
)  # fmt: skip
