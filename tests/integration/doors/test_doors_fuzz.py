"""Nothing a client sends may be answered with a defect of ours, or close a door.

Each law is tried FUZZ_EXAMPLES times (environment; else 40 in `make test`; 1500 makes over 10,000 requests). A refusal is any 4xx, or
501 for what the protocol has and this server does not offer."""

import gzip
import http.client
import json
import os
import socket
from urllib.parse import quote

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.doors.grpc import stubs
from tests import laws
from tests.fakes.serving.doors import Doors, open_doors, simple_message, simple_request
from tests.waiting import HANG_S

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", laws.count(160)))
tried = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(["INT32", "FP16", "BYTES", "INPUT0", "x", 2**31, 2**63, -1, 1e39]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "parameters", "inputs", "binary_data_size", "b64"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
SEEDS = [
    ("/v2/models/simple/infer", simple_request(id="1", outputs=[{"name": "OUTPUT0", "parameters": {"binary_data": True}}])),
    ("/v2/models/echo/infer", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [2, 1], "data": [["a"], ["b"]]}]}),
    ("/v2/models/echo/infer", {"parameters": {"timeout": 9}, "inputs": [{"name": "x", "datatype": "FP16", "shape": [1], "data": [2]}]}),
    ("/v1/models/simple:predict", {"instances": [{"INPUT0": list(range(16)), "INPUT1": [1] * 16}]}),
    ("/v1/models/words:predict", {"inputs": {"text": [["a"], [{"b64": "/w=="}]]}}),
    ("/v1/models/echo:predict", {"instances": [1.0, 2.5], "signature_name": "serving_default"}),
    ("/v2/repository/index", {"ready": True}),
    ("/v2/repository/models/echo/load", {"parameters": {"unload_dependents": False}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened
        assert opened.http("GET", "/v2/health/live").status == 200
        assert opened.http("POST", "/v2/models/simple/infer", simple_request()).status == 200
        assert opened.call("ServerLive", b"").live


def no_defect(status: int, said: object) -> None:
    assert status < 500 or status == 501, (status, said)


def send(doors: Doors, method: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    answer = doors.http(method, path, body, headers)
    no_defect(answer.status, answer.body)
    if answer.status >= 400 and method != "HEAD":
        assert list(json.loads(answer.body)) == ["error"] or "error" in json.loads(answer.body)


@st.composite
def mutated(draw, document):
    """The document with one to three of its nodes replaced, removed or doubled."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["replace", "remove", "double"])):
            case "replace":
                holder[key] = draw(JSON)
            case "remove":
                del holder[key]
            case "double" if isinstance(holder, list):
                holder.append(holder[key])
    return document


def _places(node):
    keys = range(len(node)) if isinstance(node, list) else list(node) if isinstance(node, dict) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


@tried
@given(data=st.data(), seed=st.sampled_from(SEEDS))
def test_bodies_that_are_almost_right(doors, data, seed):
    path, document = seed
    send(doors, "POST", path, json.dumps(data.draw(mutated(document))).encode("utf-8", "surrogatepass"))


@tried
@given(seed=st.sampled_from(SEEDS), document=JSON)
def test_bodies_of_any_json(doors, seed, document):
    send(doors, "POST", seed[0], json.dumps(document).encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw, body: bytes) -> bytes:
    """The bytes with some of them flipped, cut out or put in."""
    at = draw(st.integers(0, max(0, len(body) - 1)))
    return body[:at] + draw(st.binary(max_size=6)) + body[at + draw(st.integers(0, 4)) :]


@tried
@given(data=st.data(), seed=st.sampled_from(SEEDS), packed=st.booleans())
def test_bodies_with_damaged_bytes(doors, data, seed, packed):
    body = json.dumps(seed[1]).encode()
    body = data.draw(damaged(gzip.compress(body) if packed else body))
    send(doors, "POST", seed[0], body, {"Content-Encoding": "gzip"} if packed else None)


@tried
@given(
    tensors=st.lists(
        st.tuples(
            st.sampled_from(["INT32", "FP16", "BYTES", "BOOL", "FP64"]),
            st.lists(st.integers(-1, 4) | st.integers(), max_size=3),
            st.binary(max_size=24) | st.just(b"\x01\0\0\0a"),
            st.none() | st.integers(-1, 30) | st.integers(),
        ),
        max_size=3,
    ),
    parameters=st.dictionaries(st.just("binary_data_output"), st.booleans() | st.text(max_size=2), max_size=1),
    stated=st.none()
    | st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=4)
    | st.integers(-2, 400).map(str),
)
def test_binary_bodies(doors, tensors, parameters, stated):
    inputs = [
        {
            "name": f"x{i}",
            "datatype": kind,
            "shape": shape,
            "parameters": {"binary_data_size": len(raw) if size is None else size},
        }
        for i, (kind, shape, raw, size) in enumerate(tensors)
    ]
    header = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header)) if stated is None else stated}
    send(doors, "POST", "/v2/models/echo/infer", header + b"".join(raw for _, _, raw, _ in tensors), headers)


WORDS = st.sampled_from(
    ["v1", "v2", "models", "simple", "echo", "versions", "1", "infer", "ready", "health", "live", "repository", "index"]
)
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=12)
HEADER_NAMES = [
    *("accept-encoding", "content-encoding", "traceparent", "x-request-timeout-ms", "grpc-timeout", "content-type", "x-other"),
    *("inference-header-content-length", "x-envoy-expected-rq-timeout-ms", "expect", "connection", "cookie", "host"),
]
HEADERS = st.dictionaries(
    st.sampled_from(HEADER_NAMES),
    VALUES | st.sampled_from(["gzip", "deflate", "0", "1", "-1", "1e9", "100-continue", "close", "gzip;q=0, deflate"]),
    max_size=4,
)


@tried
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    parts=st.lists(WORDS | st.text(max_size=6).map(lambda text: quote(text.encode("utf-8", "surrogatepass"))), max_size=6),
    query=VALUES.map(quote),
    headers=HEADERS,
    body=st.binary(max_size=64) | st.sampled_from([json.dumps(document).encode() for _, document in SEEDS]),
)
def test_any_path_method_and_headers(doors, method, parts, query, headers, body):
    send(doors, method, f"/{'/'.join(parts)}?{query}", body, headers)


@tried
@given(
    pieces=st.lists(
        st.binary(max_size=40)
        | st.sampled_from(
            [b"POST /v2/models/echo/infer HTTP/1.1\r\n", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"]
        )
        | st.sampled_from(
            [b"\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"GET /v2 HTTP/1.1\r\n\r\n", b"upgrade: websocket\r\n", b"host: x\r\n"]
        ),
        max_size=6,
    )
)
def test_bytes_that_may_be_no_http(doors, pieces):
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as wire:
        try:
            wire.sendall(b"".join(pieces))
            wire.shutdown(socket.SHUT_WR)
            answer = b""
            while part := wire.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            return
    for line in answer.split(b"\r\n"):
        if line.startswith(b"HTTP/1.1 "):
            no_defect(int(line.split()[1]), answer)


METHODS = ["ModelInfer", "ModelReady", "ModelMetadata", "RepositoryIndex", "RepositoryModelLoad", "ServerMetadata"]
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}


def ask(doors: Doors, method: str, body: bytes) -> None:
    try:
        doors.call(method, body)
    except grpc.RpcError as refusal:
        assert refusal.code() not in OURS, refusal  # noqa: PT017 - a refusal is as good as an answer


@tried
@given(data=st.data(), method=st.sampled_from(METHODS), raw=st.booleans())
def test_messages_with_damaged_bytes(doors, data, method, raw):
    body = simple_message(raw=raw).SerializeToString()
    ask(doors, method, data.draw(st.binary(max_size=60) if method != "ModelInfer" else damaged(body)))


@tried
@given(
    datatype=st.sampled_from(["INT32", "INT8", "UINT8", "FP16", "FP32", "BOOL", "BYTES", "", "X"]),
    shape=st.lists(st.integers(-1, 4) | st.integers(-(2**63), 2**63 - 1), max_size=3),
    numbers=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    texts=st.lists(st.binary(max_size=4), max_size=3),
    raws=st.lists(st.binary(max_size=16), max_size=2),
    parameters=st.dictionaries(
        st.text(max_size=5) | st.sampled_from(["timeout", "binary_data_output"]), st.integers(-5, 2**62), max_size=2
    ),
)
def test_messages_that_do_not_fit(doors, datatype, shape, numbers, texts, raws, parameters):
    message = stubs.ModelInferRequest(model_name="echo", raw_input_contents=raws)
    tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
    tensor.contents.int_contents.extend(numbers)
    tensor.contents.bytes_contents.extend(texts)
    for key, value in parameters.items():
        message.parameters[key].int64_param = value
    ask(doors, "ModelInfer", message.SerializeToString())


def test_a_thousand_requests_on_one_connection_leave_no_trace(doors):
    """Requests good and bad, back to back: the door holds no more than before."""
    connection = http.client.HTTPConnection("127.0.0.1", doors.http_port, timeout=HANG_S)
    good = json.dumps(simple_request()).encode()
    for number in range(min(1000, 10 * EXAMPLES)):
        connection.request("POST", "/v2/models/simple/infer", good[: len(good) - number % 7])
        response = connection.getresponse()
        response.read()
        assert response.status == (400 if number % 7 else 200)
    connection.close()
    assert np.array_equal(doors.service.seen[-1].inputs[0].data, [range(16)])
