"""A listener that the tests of connections share, and a client of it for each test."""

import pytest

from tests.fakes.serving.echo_server import Client, opened


@pytest.fixture(scope="module")
def echo_server():
    with opened() as application:
        yield application


@pytest.fixture
def client(echo_server):
    echo_server.is_full = False
    echo_server.release.clear()
    opened_client = Client(echo_server.port)
    yield opened_client
    opened_client.socket.close()
