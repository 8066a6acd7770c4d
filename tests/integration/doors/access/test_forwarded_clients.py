"""Both doors behind a proxy, on real sockets: limits and lines of security events are about the clients, not about the proxy."""

import logging
from ipaddress import ip_network

import grpc
import pytest

from serving.access.forwarded import TrustedProxies
from tests.fakes.serving.doors import open_doors, simple_message, simple_request
from tests.fakes.serving.guarded.gate_world import FakeWorld

INFER = "/v2/models/simple/infer"
LIMITED = "anonymous: [scorer]\nlimits: {address: {requests_per_s: 1, burst_s: 2}}\n"
LOOPBACK = TrustedProxies([ip_network("127.0.0.0/8")])
ELSEWHERE = TrustedProxies([ip_network("10.0.0.0/8")])


def over_http(doors, forwarded):
    return doors.http("POST", INFER, simple_request(), {"x-forwarded-for": forwarded}).status


def over_grpc(doors, *forwarded):
    try:
        doors.call(
            "ModelInfer", simple_message().SerializeToString(), None, metadata=[("x-forwarded-for", one) for one in forwarded]
        )
    except grpc.RpcError as problem:
        return {"RESOURCE_EXHAUSTED": 429}[problem.code().name]
    return 200


@pytest.mark.parametrize("ask", [over_http, over_grpc], ids=["HTTP", "gRPC"])
def test_clients_behind_a_trusted_proxy_have_limits_of_their_own(ask):
    with open_doors(gate=FakeWorld(LIMITED, proxies=LOOPBACK).gate) as doors:
        assert [ask(doors, f"{n}.9.9.9, 203.0.113.9") for n in range(1, 5)] == [200, 200, 429, 429], (
            "what it sends itself changes nothing"
        )
        assert ask(doors, "198.51.100.1") == 200


@pytest.mark.parametrize("ask", [over_http, over_grpc], ids=["HTTP", "gRPC"])
def test_attack_a_client_that_no_proxy_stands_before_chooses_no_address(ask):
    with open_doors(gate=FakeWorld(LIMITED, proxies=ELSEWHERE).gate) as doors:
        assert [ask(doors, f"203.0.113.{n}") for n in range(4)] == [200, 200, 429, 429]


def test_attack_a_second_line_of_metadata_does_not_hide_what_the_proxy_appends():
    with open_doors(gate=FakeWorld(LIMITED, proxies=LOOPBACK).gate) as doors:
        assert [over_grpc(doors, f"{n}.9.9.9", "203.0.113.9") for n in range(1, 5)] == [200, 200, 429, 429]


def test_the_line_of_a_refusal_names_the_client(caplog):
    world = FakeWorld(proxies=LOOPBACK)
    with caplog.at_level(logging.WARNING, "vedette.security"), open_doors(gate=world.gate) as doors:
        assert (
            doors.http("POST", INFER, simple_request(), {"x-forwarded-for": "203.0.113.9", "x-api-key": "wrong"}).status == 401
        )
    assert "address=203.0.113.9 door=http" in caplog.records[-1].getMessage()
