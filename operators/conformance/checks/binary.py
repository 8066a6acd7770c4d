"""HTTP: the binary tensor data extension, both ways. Skipped where the server does not declare it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from operators.conformance.checks.judging import client_error
from operators.conformance.compare import check_same
from operators.conformance.encoding import HEADER_LENGTH, http, infer_call, input_object, pack, read_answer, request_object
from operators.conformance.exchange import HttpCall, Reply
from operators.conformance.values import Ask, Check, CheckJudge, Failed, Level, ModelFacts, Request, Subject, expect, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
EXTENSION: Final = "Binary Tensor Data Extension"
NAMES: Final = ("binary_tensor_data", "binary_data")
OCTETS: Final = "application/octet-stream"


def binary_body(request: Request, *, json_inputs: int = 0, **extra: object) -> tuple[bytes, bytes]:
    """JSON part and binary part; the first `json_inputs` inputs stay JSON. extra: further keys of the JSON object."""
    described, tail = [], b""
    for i, tensor in enumerate(request.inputs):
        described.append(input_object(tensor))
        if i >= json_inputs:
            raw = pack(tensor)
            del described[-1]["data"]
            described[-1]["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
    return json.dumps({**request_object(request), "inputs": described, **extra}).encode(), tail


def binary_call(model: ModelFacts, head: bytes, tail: bytes, *, length: str | None = None, kind: str = OCTETS) -> HttpCall:
    """A request with a binary part. length: the header's value, if it is to be wrong."""
    headers: Mapping[str, str] = {"Content-Type": kind, HEADER_LENGTH: str(len(head)) if length is None else length}
    return infer_call(model.name, head + tail, headers=headers)


def _declared_only(ask: Callable[[ModelFacts], HttpCall]) -> Ask:
    def asked(subject: Subject) -> tuple[HttpCall, ...]:
        if not subject.server.declares(*NAMES):
            skip("the server does not declare binary_tensor_data")
        return (ask(subject.model),)

    return asked


def _inputs(*, json_inputs: int = 0, kind: str = OCTETS) -> Callable[[ModelFacts], HttpCall]:
    def make(model: ModelFacts) -> HttpCall:
        if json_inputs >= len(model.request.inputs):
            skip("the model has one input")
        return binary_call(model, *binary_body(model.request, json_inputs=json_inputs), kind=kind)

    return make


def _outputs(choose: Callable[[list[str]], Mapping[str, object]]) -> Callable[[ModelFacts], HttpCall]:
    """A JSON request that asks for binary outputs."""
    return lambda m: infer_call(m.name, {**request_object(m.request), **choose([t.name for t in m.answer.outputs])})


def _asked(name: str, is_binary: bool) -> dict[str, object]:
    return {"name": name, "parameters": {"binary_data": is_binary}}


def _same(subject: Subject, replies: tuple[Reply, ...]) -> None:
    check_same(subject.model, read_answer(replies[0]), subject.model.answer)


def _binary_parts(reply: Reply) -> list[bool]:
    """Whether each output came as binary."""
    answered = http(reply)
    length = answered.headers.get(HEADER_LENGTH.lower())
    body = json.loads(answered.body[: len(answered.body) if length is None else int(length)])
    return ["binary_data_size" in (o.get("parameters") or {}) for o in body["outputs"]]


def _came_as(expected: Callable[[list[bool]], bool], otherwise: str) -> CheckJudge:
    def judge(subject: Subject, replies: tuple[Reply, ...]) -> str:
        _same(subject, replies)
        parts = _binary_parts(replies[0])
        expect(expected(parts), f"{otherwise}; binary: {parts}")
        expect(not any(parts) or HEADER_LENGTH.lower() in http(replies[0]).headers, f"the {HEADER_LENGTH} header is missing")
        return f"binary: {parts}"

    return judge


def _is_declared(subject: Subject, replies: tuple[Reply, ...]) -> str:
    if subject.server.declares(*NAMES):
        return "declared"
    try:
        _same(subject, replies)
    except Failed:
        skip("neither declared nor offered")
    raise Failed("binary inputs are understood, but the server's extensions do not say binary_tensor_data")


def _wrong_size(model: ModelFacts) -> HttpCall:
    head, tail = binary_body(model.request)
    return binary_call(model, head, tail[:-1])


def _bytes_left_over(model: ModelFacts) -> HttpCall:
    head, tail = binary_body(model.request)
    return binary_call(model, head, tail + b"\0\0\0")


def _size_against_shape(model: ModelFacts) -> HttpCall:
    """Sizes that agree with the body but not with the shape: the first input one byte short."""
    head, tail = binary_body(model.request)
    body = json.loads(head)
    body["inputs"][0]["parameters"]["binary_data_size"] -= 1
    return binary_call(model, json.dumps(body).encode(), tail[1:])


def _header(requirement: str) -> Callable[[ModelFacts], HttpCall]:
    return lambda m: binary_call(m, *binary_body(m.request), length=requirement)


def _size(value: object) -> Callable[[ModelFacts], HttpCall]:
    def make(model: ModelFacts) -> HttpCall:
        head, tail = binary_body(model.request)
        body = json.loads(head)
        body["inputs"][0]["parameters"]["binary_data_size"] = value
        return binary_call(model, json.dumps(body).encode(), tail)

    return make


def _broken_prefix(model: ModelFacts) -> HttpCall:
    """A BYTES tensor whose length prefix goes beyond its end."""
    strings = next((i for i, t in enumerate(model.request.inputs) if t.datatype == "BYTES" and t.elements), None)
    if strings is None:
        skip("the model has no BYTES input")
    raws = [pack(t) for t in model.request.inputs]
    raws[strings] = b"\xff\xff\xff\xff" + raws[strings][4:]
    return binary_call(model, binary_body(model.request)[0], b"".join(raws))


def _both(model: ModelFacts) -> HttpCall:
    head, tail = binary_body(model.request)
    body = json.loads(head)
    body["inputs"][0]["data"] = input_object(model.request.inputs[0])["data"]
    return binary_call(model, json.dumps(body).encode(), tail)


def _good(name: str, level: Level, requires: str, make: Callable[[ModelFacts], HttpCall], judge: CheckJudge = _same) -> Check:
    return Check(f"http.binary.{name}", EXTENSION, level, requires, _declared_only(make), judge)


def _bad(name: str, requires: str, make: Callable[[ModelFacts], HttpCall], level: Level = MUST) -> Check:
    requirement = f'{requires}: 4xx and {{"error": string}}'
    return Check(f"http.binary.{name}", EXTENSION, level, requirement, _declared_only(make), client_error)


CHECKS: Final = (
    Check("http.binary.declared", EXTENSION, SHOULD, "a server that understands binary tensors declares binary_tensor_data",
          lambda s: (_inputs()(s.model),), _is_declared),
    _good("input", MUST, "binary inputs mean the same as JSON", _inputs()),
    _good("mixed-input", MUST, "a JSON input and binary inputs in one request", _inputs(json_inputs=1)),
    _good("json-content-type", SHOULD, "the header decides, not the content type", _inputs(kind="application/json")),
    _good("output-all", MUST, "binary_data_output: every output as binary, the same values, the header set",
          _outputs(lambda names: {"parameters": {"binary_data_output": True}}), _came_as(all, "not every output is binary")),
    _good("output-named", MUST, "binary_data on an output: that one as binary",
          _outputs(lambda names: {"outputs": [_asked(n, i == 0) for i, n in enumerate(names)]}),
          _came_as(lambda p: p[0] and not any(p[1:]), "the first output alone should be binary")),
    _good("output-overridden", MUST, "binary_data false on an output overrides binary_data_output",
          _outputs(lambda names: {"parameters": {"binary_data_output": True},
                                  "outputs": [_asked(names[0], False), *({"name": n} for n in names[1:])]}),
          _came_as(lambda p: not p[0] and all(p[1:]), "the first output alone should be JSON")),
    _good("json-by-default", MUST, "a binary request that asks for no binary output is answered in JSON", _inputs(),
          _came_as(lambda p: not any(p), "an output is binary that was not asked so")),
    _good("both-ways", MUST, "binary in and binary out",
          lambda m: binary_call(m, *binary_body(replace(m.request, parameters={"binary_data_output": True}))),
          _came_as(all, "not every output is binary")),
    _bad("truncated", "a body shorter than binary_data_size says", _wrong_size),
    _bad("bytes-left-over", "bytes that belong to no input", _bytes_left_over, SHOULD),
    _bad("size-against-shape", "binary_data_size that disagrees with the shape", _size_against_shape),
    _bad("size-negative", "a negative binary_data_size", _size(-1)),
    _bad("size-huge", "a binary_data_size beyond the body", _size(1 << 40)),
    _bad("size-not-a-number", "a binary_data_size that is a string", _size("many")),
    _bad("header-not-a-number", f"{HEADER_LENGTH}: abc", _header("abc")),
    _bad("header-negative", f"{HEADER_LENGTH}: -1", _header("-1")),
    _bad("header-too-long", f"{HEADER_LENGTH} beyond the body", _header("99999999")),
    _bad("broken-length-prefix", "a BYTES element that goes beyond its tensor", _broken_prefix),
    _bad("data-and-binary", "an input with both data and binary_data_size", _both, SHOULD),
)  # fmt: skip
