"""Which ports are chosen before anything listens."""

import pytest

from serving.launch.local import with_ports
from serving.settings import ServingSettings


@pytest.mark.parametrize(("given", "http_is_chosen", "grpc_is_chosen"), [
    pytest.param({}, False, False, id="one replica takes what the system gives it"),
    pytest.param({"replicas": 2}, True, True, id="replicas share a port, so it is chosen for them"),
    pytest.param({"front_door": "serve"}, True, False, id="Serve's proxy does not say what it took"),
])  # fmt: skip
def test_port_zero(given, http_is_chosen, grpc_is_chosen):
    chosen = with_ports(ServingSettings(http_port=0, grpc_port=0, **given))
    assert (chosen.http_port > 0, chosen.grpc_port > 0) == (http_is_chosen, grpc_is_chosen)


def test_a_port_that_is_given_is_kept():
    chosen = with_ports(ServingSettings(http_port=8123, grpc_port=8124, replicas=3))
    assert (chosen.http_port, chosen.grpc_port) == (8123, 8124)
