"""The doors behind Envoy as the `fronted` overlay has it: who may come, how often, how slowly; and that answers stay as they are."""

import http.client
import json
import socket
import ssl
import subprocess

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2, status_pb2

from serving.doors.grpc import stubs
from tests.fakes.serving.doors import open_doors, simple_message, simple_request
from tests.fakes.serving.envoy_front import Front, front, program, write_tokens
from tests.waiting import HANG_S, until

INFER = f"/{stubs.SERVICE}/ModelInfer"
ENVOY = program()
pytestmark = pytest.mark.skipif(ENVOY is None, reason="Envoy is not installed; it comes with the extra `envoy`")
FEW = {
    "{max_tokens: 2000, tokens_per_fill: 1000, fill_interval: 1s}": "{max_tokens: 40, tokens_per_fill: 1, fill_interval: 60s}",
    "request_headers_timeout: 10s": "request_headers_timeout: 1s",
    "request_timeout: 30s": "request_timeout: 2s",
    "transport_socket_connect_timeout: 5s": "transport_socket_connect_timeout: 1s",
}


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(doors, tmp_path_factory):
    with front(ENVOY, tmp_path_factory.mktemp("envoy"), doors.http_port, doors.grpc_port, FEW) as running:
        yield running


def post(opened: Front, token: str | None, body=None, **headers: str) -> http.client.HTTPResponse:
    context = ssl.create_default_context(cafile=str(opened.certificate))
    connection = http.client.HTTPSConnection("127.0.0.1", opened.port, timeout=HANG_S, context=context)
    sent = {**headers, **({"authorization": f"Bearer {token}"} if token else {})}
    connection.request("POST", "/v2/models/simple/infer", json.dumps(body or simple_request()), sent)
    response = connection.getresponse()
    response.text = response.read().decode()
    connection.close()
    return response


@pytest.fixture
def channel(opened):
    trust = grpc.ssl_channel_credentials(opened.certificate.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{opened.port}", trust) as made:
        yield made


def infer(channel, token: str | None, message=None, **options):
    metadata = [("authorization", f"Bearer {token}")] if token else []
    call = channel.unary_unary(INFER, None, stubs.ModelInferResponse.FromString)
    return call((message or simple_message()).SerializeToString(), metadata=metadata, timeout=HANG_S, **options)


def test_both_doors_answer_on_one_port(opened, channel, doors):
    assert json.loads(post(opened, opened.token("a")).text)["model_name"] == "simple"
    assert infer(channel, opened.token("a")).model_name == "simple"


@pytest.mark.parametrize("claims", [
    pytest.param(None, id="no token"),
    pytest.param({"iss": "https://elsewhere.example"}, id="another issuer"),
    pytest.param({"aud": "others"}, id="for somebody else"),
    pytest.param({"lasts_s": -60}, id="expired"),
])  # fmt: skip
def test_who_may_not_come(opened, channel, claims):
    token = None if claims is None else opened.token("b", **claims)
    assert post(opened, token).status in ({401} if claims is None or "aud" not in claims else {403})
    with pytest.raises(grpc.RpcError) as refusal:
        infer(channel, token)
    assert refusal.value.code().name in {"UNAUTHENTICATED", "PERMISSION_DENIED"}


def test_a_token_of_another_key(opened):
    head, claims, signature = opened.token("b").split(".")
    assert post(opened, ".".join((head, claims, signature[::-1]))).status == 401


def test_too_many_requests_of_one_client_and_another_is_answered(opened, channel):
    token = opened.token("greedy")
    statuses = [post(opened, token) for _ in range(45)]
    assert [r.status for r in statuses].count(429) >= 4
    assert statuses[-1].getheader("retry-after") == "1"
    with pytest.raises(grpc.RpcError) as refusal:
        infer(channel, token)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert post(opened, opened.token("modest")).status == 200


def test_an_error_comes_through_with_its_details(opened, channel):
    with pytest.raises(grpc.RpcError) as refusal:
        infer(channel, opened.token("c"), simple_message("busy"))
    status = status_pb2.Status.FromString(dict(refusal.value.trailing_metadata())["grpc-status-details-bin"])
    cause = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(cause)
    assert (refusal.value.code().name, cause.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")


def test_deadlines_come_from_the_client_alone(opened, channel, doors):
    post(opened, opened.token("d"))
    assert doors.service.seen[-1].deadline_s is None, "not from Envoy's own timeout"
    post(opened, opened.token("d"), **{"x-request-timeout-ms": "250"})
    assert doors.service.seen[-1].deadline_s == 0.25
    infer(channel, opened.token("d"))
    assert HANG_S / 2 < doors.service.seen[-1].deadline_s < 1.05 * HANG_S


def test_the_platform_asks_without_a_token_and_only_what_is_its(opened):
    found = {}
    for path in ("/v2/health/ready", "/metrics", "/v2/models/simple"):
        connection = http.client.HTTPConnection("127.0.0.1", opened.platform, timeout=HANG_S)
        connection.request("GET", path)
        found[path] = connection.getresponse().status
    assert found == {"/v2/health/ready": 200, "/metrics": 200, "/v2/models/simple": 404}


@pytest.mark.parametrize(("begun", "shook"), [
    pytest.param(b"", False, id="a handshake that never comes"),
    pytest.param(b"POST /v2/models/simple/infer HTTP/1.1\r\nhost: x\r\nx-slow: ", True, id="headers that never end"),
    pytest.param(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab", True, id="a body that never ends"),
])  # fmt: skip
def test_a_slow_client_is_cut_off(opened, begun, shook):
    sock = socket.create_connection(("127.0.0.1", opened.port), timeout=HANG_S)
    if shook:
        sock = ssl.create_default_context(cafile=str(opened.certificate)).wrap_socket(sock, server_hostname="localhost")
    sock.sendall(begun)
    while sock.recv(4096):
        pass


def test_the_component_is_a_valid_configuration(opened):
    done = subprocess.run(
        [str(ENVOY), "--mode", "validate", "-c", str(opened.folder / "envoy.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_new_keys_are_taken_over_while_it_runs(opened):
    """Last here: tokens of the key before are turned away from now on."""
    before, opened.key = opened.token("e"), ec.generate_private_key(ec.SECP256R1())
    assert post(opened, opened.token("e")).status == 401
    write_tokens(opened.folder, opened.key)
    until(lambda: post(opened, opened.token("f")).status == 200)
    assert post(opened, before).status == 401
