"""Requests nobody should send: hypothesis strategies over both doors, near-valid more often than noise.

A valid request is changed in one to three places, so that it gets past the first check it meets; or it is of the right form with
values that nobody expects."""

import json
from copy import deepcopy
from math import prod
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from operators.conformance.checks.binary import binary_body
from operators.conformance.encoding import HEADER_LENGTH, model_path, request_object
from operators.conformance.exchange import GrpcCall, HttpCall
from operators.conformance.messages import INFERENCE
from operators.conformance.rpc import infer_message
from operators.conformance.values import INTEGERS, ModelFacts, Request, Tensor

NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, -(2**31) - 1, 2**63, 2**64, 10**30, 1e308, -1e-320, 0.5]),
    st.floats(allow_nan=False, allow_infinity=False),
)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["INT32", "FP32", "BYTES", "BOOL", "FP16", "INPUT0", "verdict", "simple", "\x00", "a" * 3000, "../..", "😀"]
    ),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
JSON = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(WORDS, inner, max_size=4)), max_leaves=20
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", HEADER_LENGTH, "Content-Encoding", "Accept-Encoding", "traceparent", "x-request-timeout-ms", "Accept"]
    ),
    st.one_of(
        st.sampled_from(
            ["application/json", "application/octet-stream", "gzip", "0", "-1", "99999999999", "1", "abc", "00-00-00-00"]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    ),
    max_size=3,
)
SEGMENTS = st.one_of(
    st.sampled_from(
        ["v1", "v2", "models", "simple", "versions", "1", "infer", "ready", "repository", "index", "health", "simple:predict"]
    ),
    st.text(max_size=8).map(lambda text: quote(text, safe="")),
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document, the outermost left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    return [p for key, item in inner for p in ((*path, key), *places(item, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, document: dict[str, object]) -> object:
    """The document with one to three places replaced, removed, doubled or wrapped."""
    made: Any = deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = places(made)
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        holder = made
        for key in way:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "remove", "wrap", "double", "add"]))
        if kind == "remove":
            del holder[last]
        elif kind == "wrap":
            holder[last] = [holder[last]]
        elif kind == "double" and isinstance(holder, list):
            holder.append(deepcopy(holder[last]))
        elif kind == "add" and isinstance(holder, dict):
            holder[draw(WORDS)] = draw(JSON)
        else:
            holder[last] = draw(JSON)
    return made


@st.composite
def scarred(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes cut, extended, or with some of them changed."""
    kind = draw(st.sampled_from(["cut", "extend", "flip", "noise"]))
    if kind == "cut":
        return raw[: draw(st.integers(0, max(len(raw) - 1, 0)))]
    if kind == "extend":
        return raw + draw(st.binary(max_size=20))
    if kind == "noise" or not raw:
        return draw(st.binary(max_size=200))
    made = bytearray(raw)
    for _ in range(draw(st.integers(1, 6))):
        made[draw(st.integers(0, len(made) - 1))] = draw(st.integers(0, 255))
    return bytes(made)


def elements_of(datatype: str) -> st.SearchStrategy[Any]:
    """Any element of a datatype, its limits more often than chance would have them."""
    if datatype == "BOOL":
        return st.booleans()
    if datatype == "BYTES":
        return st.one_of(
            WORDS.map(str.encode), st.sampled_from([b"", b"10.0.0.1", b"tcp", b"2026-03-02T08:00:00Z", b"9" * 400])
        )
    if datatype in INTEGERS:
        bits = int("".join(c for c in datatype if c.isdigit()))
        low, high = (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return st.one_of(st.integers(low, high), st.sampled_from([low, high, 0]))
    return st.floats(width=int(datatype[2:]), allow_nan=False, allow_infinity=False)


PARAMETERS = st.dictionaries(
    st.sampled_from(["operating_point", "scenario", "event_time", "timeout", "binary_data_output", "sequence_id", "é"]),
    st.one_of(
        st.sampled_from(
            ["siem_alerting", "breach_response", "2026-03-02T08:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00"]
        ),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        WORDS,
    ),
    max_size=2,
)


@st.composite
def valued(draw: st.DrawFn, model: ModelFacts) -> Request:
    """A request of the right form with any values, up to five rows, none among them."""
    rows = draw(st.integers(0, 5))
    inputs = []
    for info in model.inputs:
        shape = tuple((rows if i == 0 else 1) if dim < 0 else dim for i, dim in enumerate(info.shape))
        count = prod(shape)
        found = draw(st.lists(elements_of(info.datatype), min_size=count, max_size=count))
        inputs.append(Tensor(info.name, info.datatype, shape, tuple(found)))
    return Request(tuple(inputs), parameters=draw(PARAMETERS))


@st.composite
def http_calls(draw: st.DrawFn, model: ModelFacts) -> HttpCall:
    """One HTTP request."""
    request = Request(model.valid)
    infer = model_path(model.name, "infer", draw(st.sampled_from([None, None, None, "1", "7", "x"])))
    kind = draw(
        st.sampled_from(
            ["values", "values", "values", "json", "json", "v1", "bytes", "binary", "binary-bytes", "path", "index"]
        )
    )
    headers = draw(HEADERS)
    if kind == "values":
        made = draw(valued(model))
        head, tail = binary_body(made, json_inputs=draw(st.integers(0, len(made.inputs))))
        return HttpCall("POST", infer, head + tail, {HEADER_LENGTH: str(len(head))})
    if kind == "json":
        return HttpCall("POST", infer, json.dumps(draw(changed(request_object(request)))).encode(), headers)
    if kind == "v1":
        rows = {"instances": [{t.name: [str(e) if isinstance(e, bytes) else e for e in t.elements] for t in request.inputs}]}
        body = json.dumps(draw(changed(rows))).encode()
        return HttpCall("POST", f"/v1/models/{quote(model.name)}:predict", body, headers)
    if kind == "bytes":
        return HttpCall("POST", infer, draw(scarred(json.dumps(request_object(request)).encode())), headers)
    if kind == "index":
        return HttpCall("POST", "/v2/repository/index", json.dumps(draw(JSON)).encode(), headers)
    if kind == "path":
        path = "/" + "/".join(draw(st.lists(SEGMENTS, max_size=7)))
        return HttpCall(draw(METHODS), path, draw(st.one_of(st.none(), st.binary(max_size=60))), headers)
    head, tail = binary_body(request)
    if kind == "binary":
        head = json.dumps(draw(changed(json.loads(head)))).encode()
    else:
        tail = draw(scarred(tail))
    length = str(len(head) + draw(st.sampled_from([0, 0, 0, -1, 1, 7])))
    return HttpCall("POST", infer, head + tail, {**headers, HEADER_LENGTH: length})


@st.composite
def grpc_calls(draw: st.DrawFn, model: ModelFacts) -> GrpcCall:
    """One gRPC request: a message changed field by field, or its bytes scarred."""
    if draw(st.booleans()):
        made = draw(valued(model))
        return GrpcCall(
            f"/{INFERENCE}/ModelInfer", infer_message(model.name, made, is_raw=draw(st.booleans())).SerializeToString()
        )
    message = infer_message(model.name, Request(model.valid), is_raw=draw(st.booleans()))
    for tensor in message.inputs:
        if draw(st.integers(0, 3)) == 0:
            tensor.datatype = draw(WORDS)
        if draw(st.integers(0, 3)) == 0:
            del tensor.shape[:]
            tensor.shape.extend(draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)))
        if draw(st.integers(0, 3)) == 0:
            tensor.contents.fp32_contents.append(draw(st.floats(width=32)))
        if draw(st.integers(0, 5)) == 0:
            tensor.name = draw(WORDS)
    if draw(st.integers(0, 2)) == 0:
        message.raw_input_contents.append(draw(st.binary(max_size=80)))
    if draw(st.integers(0, 3)) == 0:
        message.outputs.add(name=draw(WORDS))
    if draw(st.integers(0, 3)) == 0:
        message.parameters.add(key=draw(WORDS), value={"string_param": draw(WORDS)})
    raw = message.SerializeToString()
    return GrpcCall(f"/{INFERENCE}/ModelInfer", draw(scarred(raw)) if draw(st.integers(0, 3)) == 0 else raw)
