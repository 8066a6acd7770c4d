"""HTTP: inference in JSON, the way it should go."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from operators.conformance.checks.judging import versions
from operators.conformance.compare import check_declared, check_same, check_simple, is_simple
from operators.conformance.encoding import http, infer_call, read_answer, request_object
from operators.conformance.exchange import Call, Reply
from operators.conformance.synthesis import inputs_of
from operators.conformance.values import Ask, Check, CheckJudge, Level, ModelFacts, Parameter, Request, Subject, expect, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
REQUEST: Final = "Inference Request JSON Object"
RESPONSE: Final = "Inference Response JSON Object"
DATA: Final = "Tensor Data"
IDENTITY: Final = 'conform-42 «ü» "quoted"'


def _ask(change: Callable[[ModelFacts], Request], *, is_nested: bool = False) -> Ask:
    return lambda s: (infer_call(s.model.name, request_object(change(s.model), is_nested=is_nested)),)


def _plain(model: ModelFacts) -> Request:
    return model.request


def _guess(model: ModelFacts) -> Request:
    return Request(model.valid)


def _answers(_: Subject, replies: tuple[Reply, ...]) -> str:
    answer = read_answer(replies[0])
    return f"{len(answer.outputs)} outputs"


def _names_model(subject: Subject, replies: tuple[Reply, ...]) -> None:
    answer = read_answer(replies[0])
    expect(answer.model == subject.model.name, f"model_name is {answer.model!r}, expected {subject.model.name!r}")


def _names_version(subject: Subject, replies: tuple[Reply, ...]) -> str:
    answer = read_answer(replies[0])
    listed = versions(subject.model)
    expect(answer.version in listed, f"model_version is {answer.version!r}, the model lists {list(listed)}")
    return f"version {answer.version}"


def _all_outputs(subject: Subject, replies: tuple[Reply, ...]) -> str:
    got = [t.name for t in read_answer(replies[0]).outputs]
    declared = [t.name for t in subject.model.outputs]
    expect(sorted(got) == sorted(declared), f"outputs are {got}, metadata says {declared}")
    return ", ".join(got)


def _as_declared(subject: Subject, replies: tuple[Reply, ...]) -> None:
    check_declared(subject.model, read_answer(replies[0]))


def _identity(_: Subject, replies: tuple[Reply, ...]) -> None:
    got = read_answer(replies[0]).id
    expect(got == IDENTITY, f"id is {got!r}, sent {IDENTITY!r}")


def _same(subject: Subject, replies: tuple[Reply, ...]) -> None:
    for reply in replies:
        check_same(subject.model, read_answer(reply), subject.model.answer)


def _subset(model: ModelFacts) -> Request:
    return replace(model.request, outputs=(model.answer.outputs[-1].name,))


def _subset_only(subject: Subject, replies: tuple[Reply, ...]) -> str:
    (requested,) = _subset(subject.model).outputs
    check_same(subject.model, read_answer(replies[0]), subject.model.answer, names=(requested,))
    return f"only {requested}"


def _reversed_outputs(model: ModelFacts) -> Request:
    names = tuple(t.name for t in reversed(model.answer.outputs))
    return replace(model.request, outputs=names) if len(names) > 1 else skip("the model has one output")


def _in_order(subject: Subject, replies: tuple[Reply, ...]) -> None:
    requested = list(_reversed_outputs(subject.model).outputs)
    got = [t.name for t in read_answer(replies[0]).outputs]
    expect(got == requested, f"outputs are {got}, asked for {requested}")


def _reversed_inputs(model: ModelFacts) -> Request:
    return Request(model.request.inputs[::-1]) if len(model.request.inputs) > 1 else skip("the model has one input")


def _batched(model: ModelFacts) -> Request:
    if not all(t.shape and t.shape[0] == -1 for t in model.inputs):
        skip("not every input has a variable first dimension")
    size = 3 if model.request.inputs[0].shape[0] != 3 else 2
    return Request(inputs_of(model.inputs, size))


def _batch_fits(subject: Subject, replies: tuple[Reply, ...]) -> str:
    answer = read_answer(replies[0])
    check_declared(subject.model, answer)
    return f"outputs {[list(t.shape) for t in answer.outputs]}"


def _parameters(model: ModelFacts) -> Request:
    sent: dict[str, Parameter] = {"conform_text": "x", "conform_number": 7, "conform_ratio": 0.5, "conform_flag": True}
    return replace(model.request, parameters=sent)


def _versioned(subject: Subject) -> tuple[Call, ...]:
    return tuple(infer_call(subject.model.name, request_object(subject.model.request), v) for v in versions(subject.model))


def _each_version(subject: Subject, replies: tuple[Reply, ...]) -> str:
    for version, reply in zip(versions(subject.model), replies, strict=True):
        got = read_answer(reply).version
        expect(got == version, f"model_version is {got!r} at /versions/{version}/infer")
    return f"{len(replies)} versions"


def _content_type(kind: str | None) -> Ask:
    headers = {"Content-Type": kind} if kind else {}
    return lambda s: (infer_call(s.model.name, request_object(s.model.request), headers=headers),)


def _is_json(_: Subject, replies: tuple[Reply, ...]) -> None:
    kind = http(replies[0]).headers.get("content-type", "")
    expect(kind.partition(";")[0].strip() == "application/json", f"content-type is {kind!r}, expected application/json")


def _arithmetic(subject: Subject, replies: tuple[Reply, ...]) -> str:
    if not is_simple(subject.model):
        skip("this is not the example model `simple`")
    check_simple(subject.model, read_answer(replies[0]))
    return "sum and difference are right"


def _check(name: str, section: str, level: Level, requires: str, *how: *tuple[Ask, CheckJudge]) -> Check:
    return Check(f"http.infer.{name}", section, level, requires, *how)


CHECKS: Final = (
    _check("answers", RESPONSE, MUST, "a valid request is 200 with model_name and outputs whose data fill their shapes",
           _ask(_guess), _answers),
    _check("model-name", RESPONSE, MUST, "model_name is the model's", _ask(_plain), _names_model),
    _check("model-version", RESPONSE, MUST, "model_version is one the model lists", _ask(_plain), _names_version),
    _check("all-outputs", REQUEST, MUST, "without `outputs`, every output of the metadata is returned", _ask(_plain),
           _all_outputs),
    _check("as-declared", RESPONSE, MUST, "names, datatypes and shapes are those of the metadata", _ask(_plain), _as_declared),
    _check("values", RESPONSE, MUST, "`simple` adds and subtracts", _ask(_plain), _arithmetic),
    _check("id", REQUEST, MUST, "the request's id is returned as it was sent", _ask(lambda m: replace(m.request, id=IDENTITY)),
           _identity),
    _check("subset", REQUEST, MUST, "only the outputs asked for are returned", _ask(_subset), _subset_only),
    _check("output-order", REQUEST, SHOULD, "outputs come in the order asked for", _ask(_reversed_outputs), _in_order),
    _check("input-order", REQUEST, MUST, "inputs are found by name, not by place", _ask(_reversed_inputs), _same),
    _check("nested", DATA, MUST, "nested data means the same as flat", _ask(_plain, is_nested=True), _same),
    _check("batch", "Model Metadata: shape", MUST, "a variable first dimension takes another size", _ask(_batched),
           _batch_fits),
    _check("parameters", "Parameters", SHOULD, "parameters the model does not know do not stop it", _ask(_parameters), _same),
    _check("version-path", REQUEST, MUST, "each listed version infers at its own path and says so", _versioned, _each_version),
    _check("charset", REQUEST, SHOULD, "application/json; charset=utf-8 is JSON too",
           _content_type("application/json; charset=utf-8"), _same),
    _check("no-content-type", REQUEST, SHOULD, "a request without Content-Type is read as JSON", _content_type(None), _same),
    _check("content-type", RESPONSE, SHOULD, "the response is application/json", _ask(_plain), _is_json),
)  # fmt: skip
