"""Settings that make no sense are refused before anything starts."""

import pytest

from serving.app import build
from serving.settings import ServingSettings


def test_two_doors_on_one_port_are_refused():
    """Replicas that share ports would both listen there, and the kernel would give each request to either."""
    with pytest.raises(ValueError, match="HTTP and gRPC have the same port 9000; give each its own"):
        ServingSettings(http_port=9000, grpc_port=9000)
    assert ServingSettings(http_port=0, grpc_port=0).http_port == 0, "any free ports are two"


@pytest.mark.parametrize("seconds", ["inf", "nan"])
def test_a_time_is_a_number(seconds):
    with pytest.raises(ValueError, match="default_deadline_s"):
        ServingSettings(default_deadline_s=seconds)


def test_an_argument_of_the_application_that_is_no_setting_is_refused():
    with pytest.raises(ValueError, match=r"no setting \['http_prot'\].*http_port"):
        build({"http_prot": "9000"})
