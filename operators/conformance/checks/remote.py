"""gRPC: health, metadata and inference, and that both doors agree."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from operators.conformance.checks.judging import client_code, code_is, unknown_version, versions
from operators.conformance.compare import check_declared, check_same, check_simple, is_simple
from operators.conformance.exchange import Call, GrpcCall, Reply
from operators.conformance.mutations import UNKNOWN
from operators.conformance.rpc import CONTENTS, call, grpc, infer_call, read, read_answer
from operators.conformance.values import Ask, Check, CheckJudge, Level, ModelFacts, Request, Subject, expect, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
GRPC: Final = "open_inference_grpc.proto: "
IDENTITY: Final = "conform-42 «ü»"


def _once(made: GrpcCall) -> Ask:
    return lambda _: (made,)


def _model(verb: str) -> Ask:
    return lambda s: (call(verb, name=s.model.name),)


def _each_version(verb: str) -> Ask:
    return lambda s: tuple(call(verb, name=s.model.name, version=v) for v in versions(s.model))


def _is_true(message: str, field: str) -> CheckJudge:
    def judge(_: Subject, replies: tuple[Reply, ...]) -> None:
        for reply in replies:
            expect(getattr(read(reply, message), field) is True, f"{field} is false")

    return judge


def _server(subject: Subject, replies: tuple[Reply, ...]) -> str:
    message = read(replies[0], "ServerMetadataResponse")
    expect(bool(message.name and message.version), f"name {message.name!r}, version {message.version!r}")
    reported = set(message.extensions)
    expect(not subject.server.has_http or reported == subject.server.extensions,
           f"extensions are {sorted(reported)}, over HTTP {sorted(subject.server.extensions)}")  # fmt: skip
    return f"{message.name} {message.version}"


def _metadata(subject: Subject, replies: tuple[Reply, ...]) -> str:
    for reply in replies:
        message = read(reply, "ModelMetadataResponse")
        expect(message.name == subject.model.name, f"name is {message.name!r}")
        for side, known in (("inputs", subject.model.inputs), ("outputs", subject.model.outputs)):
            reported = [(t.name, t.datatype, tuple(t.shape)) for t in getattr(message, side)]
            expected = [(t.name, t.datatype, t.shape) for t in known]
            expect(reported == expected, f"{side} are {reported}, over HTTP {expected}")
    return f"platform {message.platform}"


def _metadata_versions(subject: Subject, replies: tuple[Reply, ...]) -> str:
    reported = tuple(read(replies[0], "ModelMetadataResponse").versions)
    expect(reported == versions(subject.model), f"versions are {list(reported)}, over HTTP {list(subject.model.versions)}")
    return f"{list(reported)}"


def _not_ready(_: Subject, replies: tuple[Reply, ...]) -> str:
    """Servers answer either: an error, or OK with ready = false."""
    if grpc(replies[0]).code != "OK":
        return client_code(_, replies)
    message = read(replies[0], "ModelReadyResponse")
    expect(message.ready is False, "an unknown model is ready")
    return "ready is false"


def _infer(change: Callable[[ModelFacts], Request], *, is_raw: bool = False) -> Ask:
    return lambda s: (infer_call(s.model.name, change(s.model), is_raw=is_raw),)


def _plain(model: ModelFacts) -> Request:
    return model.request


def _typed(model: ModelFacts) -> Request:
    if any(t.datatype not in CONTENTS for t in model.request.inputs):
        skip("an input has a datatype that travels raw only")
    return model.request


def _same(subject: Subject, replies: tuple[Reply, ...]) -> str:
    answer, is_raw = read_answer(replies[0])
    check_same(subject.model, answer, subject.model.answer)
    return "answered " + ("raw" if is_raw else "typed")


def _raw_for_raw(_: Subject, replies: tuple[Reply, ...]) -> None:
    expect(read_answer(replies[0])[1], "asked with raw contents, answered with typed ones")


def _described(subject: Subject, replies: tuple[Reply, ...]) -> str:
    answer, _ = read_answer(replies[0])
    expect(answer.model == subject.model.name, f"model_name is {answer.model!r}")
    listed = subject.model.versions
    expect(not listed or answer.version in listed, f"model_version is {answer.version!r}, the model lists {list(listed)}")
    check_declared(subject.model, answer)
    got, declared = sorted(t.name for t in answer.outputs), sorted(t.name for t in subject.model.outputs)
    expect(got == declared, f"outputs are {got}, metadata says {declared}")
    return f"version {answer.version or 'none'}"


def _identity(_: Subject, replies: tuple[Reply, ...]) -> None:
    got = read_answer(replies[0])[0].id
    expect(got == IDENTITY, f"id is {got!r}, sent {IDENTITY!r}")


def _last_output(model: ModelFacts) -> Request:
    return replace(model.request, outputs=(model.answer.outputs[-1].name,))


def _last_only(subject: Subject, replies: tuple[Reply, ...]) -> None:
    check_same(subject.model, read_answer(replies[0])[0], subject.model.answer, names=_last_output(subject.model).outputs)


def _reversed(model: ModelFacts) -> Request:
    names = tuple(t.name for t in reversed(model.answer.outputs))
    return replace(model.request, outputs=names) if len(names) > 1 else skip("the model has one output")


def _in_order(subject: Subject, replies: tuple[Reply, ...]) -> None:
    requested = list(_reversed(subject.model).outputs)
    got = [t.name for t in read_answer(replies[0])[0].outputs]
    expect(got == requested, f"outputs are {got}, asked for {requested}")


def _at_versions(subject: Subject) -> tuple[Call, ...]:
    return tuple(infer_call(subject.model.name, subject.model.request, v) for v in versions(subject.model))


def _says_version(subject: Subject, replies: tuple[Reply, ...]) -> None:
    for version, reply in zip(versions(subject.model), replies, strict=True):
        got = read_answer(reply)[0].version
        expect(got == version, f"model_version is {got!r}, asked for {version!r}")


def _arithmetic(subject: Subject, replies: tuple[Reply, ...]) -> None:
    if not is_simple(subject.model):
        skip("this is not the example model `simple`")
    check_simple(subject.model, read_answer(replies[0])[0])


def _parameters(model: ModelFacts) -> Request:
    return replace(model.request, parameters={"conform_text": "x", "conform_number": 7, "conform_flag": True})


def _check(name: str, section: str, level: Level, requires: str, *how: *tuple[Ask, CheckJudge]) -> Check:
    return Check(f"grpc.{name}", GRPC + section, level, requires, *how)


def _server_check(name: str, section: str, level: Level, requires: str, *how: *tuple[Ask, CheckJudge]) -> Check:
    return replace(_check(name, section, level, requires, *how), per_model=False)


CHECKS: Final = (
    _server_check("health.live", "ServerLive", MUST, "live is true", _once(call("ServerLive")),
           _is_true("ServerLiveResponse", "live")),
    _server_check("health.ready", "ServerReady", MUST, "ready is true", _once(call("ServerReady")),
           _is_true("ServerReadyResponse", "ready")),
    _check("health.model-ready", "ModelReady", MUST, "a ready model is ready", _model("ModelReady"),
           _is_true("ModelReadyResponse", "ready")),
    _check("health.version-ready", "ModelReady", MUST, "every listed version is ready", _each_version("ModelReady"),
           _is_true("ModelReadyResponse", "ready")),
    _server_check("health.unknown-model-ready", "ModelReady", MUST, "an unknown model is not ready",
           _once(call("ModelReady", name=UNKNOWN)), _not_ready),
    _server_check("server.metadata", "ServerMetadata", MUST, "name, version, and the extensions that HTTP declares",
           _once(call("ServerMetadata")), _server),
    _check("model.metadata", "ModelMetadata", MUST, "the tensors that HTTP describes", _model("ModelMetadata"), _metadata),
    _check("model.versions", "ModelMetadata", MUST, "the versions that HTTP lists", _model("ModelMetadata"),
           _metadata_versions),
    _check("model.version", "ModelMetadata", MUST, "every listed version has metadata", _each_version("ModelMetadata"),
           _metadata),
    _server_check("model.unknown-model", "ModelMetadata", MUST, "an unknown model is an error that blames the request",
           _once(call("ModelMetadata", name=UNKNOWN)), client_code),
    _server_check("model.unknown-model-code", "ModelMetadata", SHOULD, "an unknown model is NOT_FOUND",
           _once(call("ModelMetadata", name=UNKNOWN)), code_is("NOT_FOUND")),
    _check("model.unknown-version", "ModelMetadata", MUST, "an unknown version is an error that blames the request",
           lambda s: (call("ModelMetadata", name=s.model.name, version=unknown_version(s.model)),), client_code),
    _check("infer.typed", "InferTensorContents", MUST, "typed contents are answered as over HTTP", _infer(_typed), _same),
    _check("infer.raw", "raw_input_contents", MUST, "raw contents are answered as over HTTP", _infer(_plain, is_raw=True),
           _same),
    _check("infer.raw-for-raw", "raw_output_contents", SHOULD, "asked raw, answered raw", _infer(_plain, is_raw=True),
           _raw_for_raw),
    _check("infer.described", "ModelInferResponse", MUST, "model, version and all outputs are those of the metadata",
           _infer(_plain), _described),
    _check("infer.values", "ModelInferResponse", MUST, "`simple` adds and subtracts", _infer(_plain, is_raw=True), _arithmetic),
    _check("infer.id", "ModelInferResponse.id", MUST, "the id is returned as it was sent",
           _infer(lambda m: replace(m.request, id=IDENTITY)), _identity),
    _check("infer.subset", "InferRequestedOutputTensor", MUST, "only the outputs asked for are returned", _infer(_last_output),
           _last_only),
    _check("infer.output-order", "InferRequestedOutputTensor", SHOULD, "outputs come in the order asked for",
           _infer(_reversed), _in_order),
    _check("infer.input-order", "InferInputTensor", MUST, "inputs are found by name, not by place",
           _infer(lambda m: Request(m.request.inputs[::-1]), is_raw=True), _same),
    _check("infer.parameters", "InferParameter", SHOULD, "parameters the model does not know do not stop it",
           _infer(_parameters), _same),
    _check("infer.version", "ModelInferRequest.model_version", MUST, "each listed version answers and says so", _at_versions,
           _says_version),
)  # fmt: skip
