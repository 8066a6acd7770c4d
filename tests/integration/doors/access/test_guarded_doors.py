"""Guarded doors on real sockets, both alike: who gets what, what strangers learn, and that no secret is ever told."""

import json
import logging
import socket
import threading
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.access.policy_file import parse_policy
from serving.doors.grpc import stubs
from serving.errors import NotFound
from tests.fakes.serving.doors import open_doors, simple_message, simple_request
from tests.fakes.serving.guarded.gate_world import POLICY, FakeWorld
from tests.fakes.serving.guarded.token_issuer import token
from tests.fakes.serving.inference import MODELS
from tests.waiting import HANG_S

INFER = "/v2/models/{}/infer"


class Risks:
    async def of(self, entity):
        if entity != "blue/1":
            raise NotFound(f"nothing was ever said of the entity {entity}")
        return json.dumps({"entity": entity}).encode()

    async def highest(self, most, is_wanted=None):
        known = ["blue/1", "red/1", "other"]
        return json.dumps({"risks": [one for one in known if is_wanted is None or is_wanted(one)][:most]}).encode()


@pytest.fixture(scope="module")
def world():
    return FakeWorld("open: [health]\nlimits: {roles: {analyst: {requests_per_s: 0.001, burst_s: 4000, rows_per_s: 0.001}}}\n")


@pytest.fixture(scope="module")
def doors(world):
    with open_doors(gate=world.gate, risks=Risks()) as opened:
        yield opened


def as_(world, who):
    return {"authorization": f"Bearer {token(world.now_s, sub=who).decode()}"}


def over_grpc(doors, method, message, headers, answer=None):
    try:
        return "OK", doors.call(method, message.SerializeToString(), answer, metadata=list(headers.items()))
    except grpc.RpcError as problem:
        return problem.code().name, problem.details()


CASES = [
    # who, what, HTTP method, path, status
    ("", "infer", "POST", INFER.format("simple"), 401),
    ("nobody", "infer", "POST", INFER.format("simple"), 403),
    ("soar", "infer", "POST", INFER.format("simple"), 200),
    ("soar", "load", "POST", "/v2/repository/models/simple/load", 403),
    ("admin", "load", "POST", "/v2/repository/models/simple/load", 200),
    ("", "live", "GET", "/v2/health/live", 200),
    ("", "metrics", "GET", "/metrics", 401),
    ("soar", "metrics", "GET", "/metrics", 403),
    ("admin", "metrics", "GET", "/metrics", 200),
    ("blueadmin", "metrics of all, for a tenant", "GET", "/metrics", 403),
    ("", "openapi", "GET", "/openapi.json", 401),
    ("blue-1", "its own model", "GET", "/v2/models/echo", 200),
    ("blue-1", "a shared model", "GET", "/v2/models/simple", 200),
    ("blue-1", "another tenant's model", "GET", "/v2/models/words", 403),
    ("blue-1", "no model", "GET", "/v2/models/red-nothing", 403),
    ("blue-1", "a model of its own that is not there", "GET", "/v2/models/blue-nothing", 404),
    ("blueadmin", "load its own", "POST", "/v2/repository/models/echo/load", 200),
    ("blueadmin", "load a shared model", "POST", "/v2/repository/models/simple/load", 403),
    ("blueadmin", "unload another tenant's", "POST", "/v2/repository/models/words/unload", 403),
    ("blue-1", "statistics of a shared model", "GET", "/v2/models/simple/stats", 403),
    ("blueadmin", "risk of its entity", "GET", "/v2/risk/blue%2F1", 200),
    ("blueadmin", "risk of another tenant's entity", "GET", "/v2/risk/red%2F1", 403),
    ("blueadmin", "risk of no entity", "GET", "/v2/risk/red%2Fnothing", 403),
]


@pytest.mark.parametrize(("who", "what", "method", "path", "status"), CASES, ids=[f"{c[0] or 'nobody'}: {c[1]}" for c in CASES])
def test_who_gets_what(doors, world, who, what, method, path, status):
    body = simple_request() if path.endswith("/infer") else None
    answer = doors.http(method, path, body, as_(world, who) if who else {})
    assert answer.status == status
    if status in {401, 403}:
        assert set(answer.json) == {"error"}
        assert ("www-authenticate" in answer.headers) is (status == 401)


def test_a_stranger_gets_the_same_words_for_a_model_that_is_there_and_one_that_is_not(doors, world):
    for headers in ({}, as_(world, "red-1"), as_(world, "nobody"), {"authorization": "Bearer x.y.z"}):
        told = {doors.http("GET", path, None, headers).body for path in ("/v2/models/echo", "/v2/models/blue-nothing")}
        assert len(told) == 1


def test_what_is_not_found_is_said_without_the_names_of_other_models(doors, world):
    for path in ("/v2/models/blue-nothing", "/v2/models/blue-nothing/stats", "/v2/models/blue-nothing/ready"):
        body = doors.http("GET", path, None, as_(world, "blue-1")).body
        assert b"blue-nothing" in body
        assert b"simple" not in body
        assert b"words" not in body


def test_lists_name_what_the_caller_may_know_of(doors, world):
    blue, admin = as_(world, "blue-1"), as_(world, "admin")
    assert doors.http("GET", "/v2/models", None, blue).json["models"] == ["simple", "echo"]
    assert "words" in doors.http("GET", "/v2/models", None, admin).json["models"]
    assert {one["name"] for one in doors.http("POST", "/v2/repository/index", {}, blue).json} == {"echo"}
    assert {one["name"] for one in doors.http("GET", "/v2/models/stats", None, blue).json["model_stats"]} <= {"echo"}
    assert doors.http("GET", "/v2/risk", None, as_(world, "blueadmin")).json["risks"] == ["blue/1"]
    assert len(doors.http("GET", "/v2/risk", None, admin).json["risks"]) == 3


def test_grpc_refuses_the_same(doors, world):
    ask, load = simple_message(), stubs.message("RepositoryModelLoadRequest")(triton_model_name="simple")
    assert over_grpc(doors, "ModelInfer", ask, {})[0] == "UNAUTHENTICATED"
    assert over_grpc(doors, "ModelInfer", ask, {"authorization": "Bearer x.y.z"})[0] == "UNAUTHENTICATED"
    assert over_grpc(doors, "ModelInfer", ask, as_(world, "nobody"))[0] == "PERMISSION_DENIED"
    assert over_grpc(doors, "ModelInfer", ask, as_(world, "soar"))[0] == "OK"
    assert over_grpc(doors, "RepositoryModelLoad", load, as_(world, "soar"))[0] == "PERMISSION_DENIED"
    assert over_grpc(doors, "RepositoryModelLoad", load, as_(world, "admin"))[0] == "OK"
    ready = stubs.message("ModelReadyRequest")(name="words")
    assert over_grpc(doors, "ModelReady", ready, as_(world, "blue-1"))[0] == "PERMISSION_DENIED"
    index = stubs.message("RepositoryIndexRequest")()
    assert {m.name for m in over_grpc(doors, "RepositoryIndex", index, as_(world, "blue-1"))[1].models} == {"echo"}
    assert over_grpc(doors, "ServerLive", stubs.message("ServerLiveRequest")(), {})[0] == "OK"


def test_health_of_the_server_is_open_and_that_of_a_model_is_for_those_who_may_know_of_it(doors, world):
    check = doors.channel.unary_unary("/grpc.health.v1.Health/Check", None, health_pb2.HealthCheckResponse.FromString)
    watch = doors.channel.unary_stream("/grpc.health.v1.Health/Watch", None, health_pb2.HealthCheckResponse.FromString)

    def asked(call, name, headers):
        try:
            answer = call(
                health_pb2.HealthCheckRequest(service=name).SerializeToString(), timeout=HANG_S, metadata=list(headers.items())
            )
            return next(iter(answer)).status if call is watch else answer.status
        except grpc.RpcError as problem:
            return problem.code().name

    for call in (check, watch):
        assert asked(call, "", {}) == 1
        assert asked(call, "words", {}) == "UNAUTHENTICATED"
        assert asked(call, "words", as_(world, "blue-1")) == "PERMISSION_DENIED"
        assert asked(call, "echo", as_(world, "blue-1")) == 1


def test_reflection_is_for_those_who_may_read_metadata(doors, world):
    stream = doors.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        None,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()]
    assert next(stream(iter(asked), timeout=HANG_S, metadata=list(as_(world, "soar").items()))).list_services_response.service
    with pytest.raises(grpc.RpcError) as refused:
        next(stream(iter(asked), timeout=HANG_S))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_request_is_the_caller_s_with_its_tenant(doors, world):
    doors.http("POST", INFER.format("simple"), simple_request(), as_(world, "blue-7"))
    over_grpc(doors, "ModelInfer", simple_message(), as_(world, "blue-7"))
    for seen in doors.service.seen[-2:]:
        assert (seen.caller, seen.caller_tenant, seen.tenant) == ("token:corp:blue-7", "blue", "blue")


@pytest.mark.parametrize(("who", "more", "header", "status"), [
    pytest.param("blue-1", {}, "blue", 200, id="the caller's own tenant"),
    pytest.param("blue-1", {}, "red", 403, id="another tenant in the header"),
    pytest.param("blue-1", {"parameters": {"tenant": "red"}}, None, 403, id="another tenant in the parameter"),
    pytest.param("blue-1", {"parameters": {"tenant": "red"}}, "blue", 403, id="another tenant behind the right one"),
    pytest.param("blue-1", {"parameters": {"tenant": ""}}, None, 403, id="an empty tenant"),
    pytest.param("soar", {"parameters": {"tenant": "red"}}, None, 403, id="a caller without a tenant names one of the policy"),
    pytest.param("soar", {"parameters": {"tenant": "elsewhere"}}, None, 200, id="and one that the policy does not know"),
])  # fmt: skip
def test_the_tenant_of_a_request(doors, world, who, more, header, status):
    headers = as_(world, who) | ({"x-vedette-tenant": header} if header is not None else {})
    assert doors.http("POST", INFER.format("simple"), simple_request(**more), headers).status == status
    v1 = {"instances": [{"INPUT0": list(range(16)), "INPUT1": [1] * 16}], **more}
    assert doors.http("POST", "/v1/models/simple:predict", v1, headers).status == status


def test_a_row_of_another_tenant_is_refused(doors, world):
    def asked(*tenants):
        rows = {"name": "tenant", "shape": [len(tenants)], "datatype": "BYTES", "data": list(tenants)}
        return doors.http("POST", INFER.format("echo"), {"inputs": [rows]}, as_(world, "blue-1")).status

    assert (asked("blue", "blue"), asked("blue", "red")) == (200, 403)


@pytest.mark.parametrize(("who", "path", "more", "status"), [
    ("soar", INFER.format("simple"), {"parameters": {"explain": "shap"}}, 403),
    ("soar", INFER.format("simple"), {"outputs": [{"name": "explanation"}]}, 403),
    ("admin", INFER.format("simple"), {"parameters": {"explain": "shap"}}, 200),
    ("soar", "/v1/models/simple:explain", None, 403),
])  # fmt: skip
def test_reasons_need_a_right_of_their_own_however_they_are_asked_for(doors, world, who, path, more, status):
    v1 = {"instances": [{"INPUT0": list(range(16)), "INPUT1": [1] * 16}]}
    assert doors.http("POST", path, v1 if more is None else simple_request(**more), as_(world, who)).status == status


def test_over_the_limit_the_next_is_refused_and_others_are_not(doors, world):
    ann, message = as_(world, "ann"), simple_message()
    statuses = [doors.http("POST", INFER.format("simple"), simple_request(), ann).status for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    answer = doors.http("POST", INFER.format("simple"), simple_request(), ann)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["ratelimit"].startswith('"caller";r=0;t=')
    assert over_grpc(doors, "ModelInfer", message, ann)[0] == "RESOURCE_EXHAUSTED"
    assert doors.http("POST", INFER.format("simple"), simple_request(), as_(world, "soar")).status == 200


def test_a_policy_that_changes_counts_for_connections_that_are_open():
    world = FakeWorld()
    closed = parse_policy("version: 1", Path("/nowhere/access.yaml"))

    async def close():
        world.gate.use(closed, world.keys)

    with open_doors(gate=world.gate) as opened:
        connection, headers, statuses = opened.connection(), as_(world, "soar"), []
        for _ in range(2):
            connection.request("GET", "/v2/models/simple", headers=headers)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            opened.listener.submit(close()).result(HANG_S)
        connection.close()
    assert statuses == [200, 401], "the issuer has left the policy"


PLANTED = ("planted-secret-one", "planted-secret-two", "planted-secret-three")


def test_no_secret_is_told_in_an_answer_or_a_log_line(doors, world, caplog):
    """Tokens, keys and passwords in every place that a client may put them, on every path, good and bad."""
    good_key = world.key(roles=["admin"])
    good_token = token(world.now_s, sub="admin", planted="planted-secret-one").decode()
    brought = [
        {"authorization": "Bearer planted-secret-one"},
        {"authorization": "Basic planted-secret-two"},
        {"x-api-key": "vdk_abcdefghij_planted-secret-three-planted-secret-three-xx"},
        {"authorization": f"Bearer {good_token}"},
        {"x-api-key": good_key},
        {"authorization": "Bearer a.planted-secret-one.b", "x-api-key": "planted-secret-two"},
    ]
    told = []
    with caplog.at_level(logging.DEBUG):
        for headers in brought:
            for method, path in (
                ("GET", "/v2/models/simple"),
                ("POST", INFER.format("nope")),
                ("GET", "/nope"),
                ("PUT", "/metrics"),
            ):
                answer = doors.http(method, path, simple_request() if method == "POST" else None, headers)
                told += [answer.body.decode("latin-1"), repr(answer.headers)]
            told += [str(over_grpc(doors, "ModelInfer", simple_message(), headers))]
    told += [record.getMessage() + str(record.exc_text) for record in caplog.records]
    told += [repr(list(world.gate.metrics())), repr(doors.service.seen)]
    assert any("refused: reason=" in line for line in told)
    for secret in (*PLANTED, good_key.split("_", 2)[2], good_token.rpartition(".")[2], good_token.split(".")[1]):
        assert not [line for line in told if secret in line]


@pytest.mark.parametrize(
    ("model", "inputs", "status"),
    [
        pytest.param("flows", ["bytes", "proto"], 403, id="a shared model that reads stored features is refused to tenants"),
        pytest.param("flows", ["bytes", "proto", "tenant"], 200, id="unless its rows carry the tenant, which is checked"),
        pytest.param("simple", ["INPUT0", "INPUT1"], 200, id="a shared model without stored features is not"),
    ],
)
def test_stored_features_of_a_shared_model(monkeypatch, model, inputs, status):
    read = MODELS["flows"]
    monkeypatch.setitem(MODELS, "flows", replace(read, parameters={**read.parameters, "feature_service": "of_all"}))
    world = FakeWorld(policy=POLICY.replace("shared_models: [simple]", "shared_models: [simple, flows]"))
    columns = {"bytes": ("FP32", [1.0]), "proto": ("BYTES", ["tcp"]), "tenant": ("BYTES", ["blue"])}
    body = {
        "inputs": [{"name": n, "datatype": columns[n][0], "shape": [1], "data": columns[n][1]} for n in inputs if n in columns]
    }
    with open_doors(gate=world.gate) as opened:
        answer = opened.http("POST", INFER.format(model), body if body["inputs"] else simple_request(), as_(world, "blue-1"))
        assert answer.status == status, answer.body
        admin = opened.http("POST", INFER.format(model), body if body["inputs"] else simple_request(), as_(world, "admin"))
        assert admin.status == (403 if "tenant" in inputs else 200), "a caller without a tenant names none of the policy"


def test_a_client_at_ten_times_its_limit_takes_nothing_from_another():
    """By counts and not by the clock: of a caller over its limit only what the limit allows reaches a model; of the other all does."""
    world = FakeWorld("limits: {caller: {requests_per_s: 5, burst_s: 2}}\n")
    with open_doors(gate=world.gate) as opened:
        greedy, modest = as_(world, "soar"), as_(world, "admin")
        statuses = {"greedy": [], "modest": []}
        for second in range(4):
            world.now_s += 1.0 if second else 0.0
            for n in range(50):
                statuses["greedy"].append(opened.http("POST", INFER.format("simple"), simple_request(), greedy).status)
                if n % 10 == 0:
                    statuses["modest"].append(opened.http("POST", INFER.format("simple"), simple_request(), modest).status)
        reached = [seen.caller for seen in opened.service.seen]
    assert set(statuses["modest"]) == {200}
    assert statuses["greedy"].count(200) == 10 + 3 * 5
    assert set(statuses["greedy"]) == {200, 429}
    assert reached.count("token:corp:soar") == 25, "what is refused is refused before its body is decoded"


def test_nobody_waits_for_the_body_of_a_request_that_shows_nothing():
    """The body never comes: over HTTP the client asks first, over gRPC the answer ends the call."""
    world = FakeWorld(policy=POLICY[: POLICY.index("certificates:")])
    with open_doors(gate=world.gate) as opened:
        _asks_without_a_body(opened)
        assert opened.http("POST", INFER.format("simple"), simple_request(), as_(world, "soar")).status == 200
        assert opened.http("POST", INFER.format("simple"), simple_request()).status == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "GET", "OPTIONS"])
def test_no_method_has_the_body_of_a_stranger_kept(method):
    world = FakeWorld(policy=POLICY[: POLICY.index("certificates:")])
    with (
        open_doors(gate=world.gate) as opened,
        socket.create_connection(("127.0.0.1", opened.http_port), timeout=HANG_S) as plain,
    ):
        plain.sendall(b"%b /v2/models HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" % method.encode() + b"x" * 99_999)
        other = opened.http("GET", "/v2/health/live", None, {"content-length": "0"})
        assert other.status == 200, "a length of nothing is no body"
        assert opened.listener._http._shared.unfinished_bytes == 0
        plain.sendall(b"x")
        assert b" 401 " in plain.recv(65536)


def _asks_without_a_body(doors):
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as plain:
        head = b"POST /v2/models/simple/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
        plain.sendall(head)
        assert plain.recv(4096).startswith(b"HTTP/1.1 401")
    never = threading.Event()

    def messages():
        never.wait(HANG_S)
        yield b""

    call = doors.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as refused:
        call(messages(), timeout=HANG_S)
    never.set()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
