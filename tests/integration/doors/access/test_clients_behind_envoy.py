"""Clients of a real Envoy, as manifests/components/envoy runs it, in front of guarded doors that trust it: each client has its own address,
whatever it claims to be. Clients come from addresses of their own, so a forged header would show."""

import contextlib
import http.client
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from ipaddress import ip_network

import grpc
import pytest

from serving.access.forwarded import TrustedProxies
from serving.doors.grpc import stubs
from tests.fakes.serving.doors import open_doors, simple_message, simple_request
from tests.fakes.serving.envoy_front import Front, front, program
from tests.fakes.serving.guarded.gate_world import FakeWorld
from tests.waiting import HANG_S

ENVOY = program()
pytestmark = pytest.mark.skipif(ENVOY is None, reason="Envoy is not installed; it comes with the extra `envoy`")
LIMITED = "anonymous: [scorer]\nlimits: {address: {requests_per_s: 1, burst_s: 2}}\n"
ENVOYS_OWN = TrustedProxies([ip_network("127.0.0.1/32")])
INFER = f"/{stubs.SERVICE}/ModelInfer"


def world() -> FakeWorld:
    """Its clock stands still: each address has two requests, and no more."""
    return FakeWorld(LIMITED, proxies=ENVOYS_OWN)


@pytest.fixture(scope="module")
def doors():
    with open_doors(gate=world().gate) as opened:
        yield opened


@pytest.fixture(scope="module")
def envoy(doors, tmp_path_factory):
    with front(ENVOY, tmp_path_factory.mktemp("envoy"), doors.http_port, doors.grpc_port, {}) as running:
        yield running


@contextlib.contextmanager
def relay(source: str, port: int) -> Iterator[int]:
    """A port whose connections go on to `port` as those of the address `source`: gRPC's client cannot choose where it calls from."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, source, port), daemon=True).start()
        yield listening.getsockname()[1]


def _accept(listening: socket.socket, source: str, port: int) -> None:
    with contextlib.suppress(OSError):  # it was closed
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", port), HANG_S, (source, 0))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pass, args=(one, other), daemon=True).start()


def _pass(reading: socket.socket, writing: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := reading.recv(1 << 16):
            writing.sendall(part)
        writing.shutdown(socket.SHUT_WR)


def over_http(envoy: Front, source: str, *claims: tuple[str, str]) -> int:
    context = ssl.create_default_context(cafile=str(envoy.certificate))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", envoy.port, timeout=HANG_S, context=context, source_address=(source, 0)
    )
    body = json.dumps(simple_request()).encode()
    connection.putrequest("POST", "/v2/models/simple/infer")
    for name, value in (("authorization", f"Bearer {envoy.token(source)}"), ("content-length", str(len(body))), *claims):
        connection.putheader(name, value)
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status


def over_grpc(envoy: Front, source: str, *claims: tuple[str, str]) -> int:
    trust = grpc.ssl_channel_credentials(envoy.certificate.read_bytes())
    with relay(source, envoy.port) as port, grpc.secure_channel(f"127.0.0.1:{port}", trust) as channel:
        call = channel.unary_unary(INFER, None, stubs.ModelInferResponse.FromString)
        try:
            call(
                simple_message().SerializeToString(),
                metadata=[("authorization", f"Bearer {envoy.token(source)}"), *claims],
                timeout=HANG_S,
            )
        except grpc.RpcError as problem:
            return {"RESOURCE_EXHAUSTED": 429}[problem.code().name]
    return 200


@pytest.mark.parametrize(("ask", "net"), [(over_http, "127.0.1"), (over_grpc, "127.0.2")], ids=["HTTP", "gRPC"])
def test_attack_a_client_of_envoy_is_not_whom_it_claims_to_be(envoy, ask, net):
    forged = ("x-forwarded-for", "203.0.113.{n}"), ("x-real-ip", "203.0.113.{n}"), ("forwarded", "for=203.0.113.{n}")
    found = [ask(envoy, f"{net}.1", *((name, value.format(n=n)) for name, value in forged)) for n in range(4)]
    assert found == [200, 200, 429, 429], "a new invented address for each request brings nothing"
    assert ask(envoy, f"{net}.2", ("x-forwarded-for", f"{net}.1")) == 200, "nor is another client's limit used up by its name"
    assert ask(envoy, f"{net}.3") == 200


@pytest.mark.parametrize(("ask", "net"), [(over_http, "127.0.3"), (over_grpc, "127.0.4")], ids=["HTTP", "gRPC"])
@pytest.mark.parametrize(("last", "claims"), [
    pytest.param(1, [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "203.0.113.10")], id="in two lines"),
    pytest.param(2, [("x-forwarded-for", "203.0.113.9, 127.0.0.1")], id="with the proxy's own address behind it"),
    pytest.param(3, [("x-forwarded-for", "203.0.113.9, unknown, ")], id="with something behind it that is no address"),
    pytest.param(4, [("x-forwarded-for", ", ".join(["127.0.0.1"] * 40))], id="with more proxies than are passed over"),
    pytest.param(5, [("x-envoy-external-address", "203.0.113.9"), ("x-forwarded-for", "203.0.113.9")], id="in Envoy's own header"),
])  # fmt: skip
def test_attack_the_record_of_a_refusal_names_the_true_address(envoy, caplog, ask, net, last, claims):
    client = f"{net}.{last}"
    with caplog.at_level(logging.WARNING, "vedette.security"):
        assert [ask(envoy, client, *claims) for _ in range(3)] == [200, 200, 429]
    assert f"address={client} " in caplog.records[-1].getMessage()
    assert "203.0.113" not in caplog.text
