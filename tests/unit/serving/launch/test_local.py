"""What is known before Ray is started."""

import socket

import pytest

from serving.launch.local import start_local
from serving.settings import ServingSettings


@pytest.mark.parametrize("door", ["http_port", "grpc_port"])
def test_a_port_that_is_taken_is_said_at_once(door):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*choose another port"):
            start_local(ServingSettings(**{"http_port": 0, "grpc_port": 0, door: port}))
