"""Which ports are chosen before anything listens, and that they stay ours."""

import socket

import pytest

from serving.doors.http.server import bind
from serving.launch.local import with_ports
from serving.settings import ServingSettings
from tests.waiting import HANG_S


@pytest.mark.parametrize("given", [
    pytest.param({}, id="one replica: another one takes its place when it dies"),
    pytest.param({"replicas": 2}, id="replicas that share them"),
])  # fmt: skip
def test_port_zero_is_a_port_that_replicas_may_listen_on_and_nobody_else(given):
    chosen, reserved = with_ports(ServingSettings(http_port=0, grpc_port=0, **given))
    try:
        for port in (chosen.http_port, chosen.grpc_port):
            with pytest.raises(OSError, match="cannot listen"):
                bind(chosen.host, port)
            with bind(chosen.host, port, reuse_port=True) as replica:
                replica.listen()
                replica.setblocking(True)
                with socket.create_connection((chosen.host, port), timeout=HANG_S) as client:
                    accepted, address = replica.accept()
                    accepted.close()
                    assert address == client.getsockname(), "connections come to the replica, none to the reservation"
    finally:
        for sock in reserved:
            sock.close()


def test_the_proxy_of_serve_shares_its_port_with_nobody():
    chosen, reserved = with_ports(ServingSettings(http_port=0, grpc_port=0, front_door="serve"))
    with bind(chosen.host, chosen.http_port):
        assert [sock.getsockname()[1] for sock in reserved] == [chosen.grpc_port]
    for sock in reserved:
        sock.close()


def test_a_port_that_is_given_is_kept():
    chosen, reserved = with_ports(ServingSettings(http_port=8123, grpc_port=8124, replicas=3))
    assert (chosen.http_port, chosen.grpc_port) == (8123, 8124)
    assert reserved == ()
