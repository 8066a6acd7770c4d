"""Requests that two servers might read differently, through a real Envoy: whatever Envoy makes of them, the door does what Envoy asked for
and nothing else. A request that Envoy took for part of a body, and the door for a request, would be work without an answer."""

import contextlib
import socket
import subprocess

import pytest

from loadtests.bench.benchmarks.grpc_doors import envoy
from loadtests.bench.process import Running
from tests.fakes.serving.envoy_front import program
from tests.integration.doors.http.test_http1_torture import CASES, LAST
from tests.ports import free_port
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.skipif(program() is None, reason="Envoy is not installed; it comes with the extra `envoy`")
SMUGGLED = b"GET /now?smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /now HTTP/1.1\r\nhost: x\r\n"
CHUNKS = b"0\r\n\r\n" + SMUGGLED
HIDDEN = {
    "CL.TE": POST + b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n" % len(CHUNKS) + CHUNKS,
    "TE.CL": POST
    + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n%x\r\n" % len(SMUGGLED)
    + SMUGGLED
    + b"\r\n0\r\n\r\n",
    "TE.TE, obfuscated": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: x\r\ncontent-length: 5\r\n\r\n" + CHUNKS,
    "TE behind a tab": POST + b"transfer-encoding:\tchunked\r\ncontent-length: %d\r\n\r\n" % len(CHUNKS) + CHUNKS,
    "TE with a space before the colon": POST
    + b"transfer-encoding : chunked\r\ncontent-length: %d\r\n\r\n" % len(CHUNKS)
    + CHUNKS,
    "TE: identity, chunked": POST + b"transfer-encoding: identity, chunked\r\n\r\n" + CHUNKS,
    "two lengths": POST + b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a folded length": POST + b"x: y\r\n content-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "bare line feeds": POST + b"x: y\ncontent-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a bare carriage return": POST + b"x: y\rcontent-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a line feed in a chunk extension": POST + b"transfer-encoding: chunked\r\n\r\n0;a\nb\r\n\r\n" + SMUGGLED,
    "absolute form of another host": b"GET http://y/now HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED)
    + SMUGGLED,
}
"""Each holds SMUGGLED where one reading takes it for a body, another for a request."""


@pytest.fixture(scope="module")
def envoy_port(echo_server, tmp_path_factory):
    port = free_port()
    command = envoy(Running("echo", 0, echo_server.port, 0)).command
    log = tmp_path_factory.mktemp("envoy") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [part.replace("{http_port}", str(port)) for part in command], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            until(lambda: _accepts(port))
            yield port
        finally:
            process.terminate()
            process.wait(HANG_S)


def _accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=HANG_S):
        return True
    return False


def statuses(port, wire):
    """The status of each answer, until Envoy says that it closes. One that comes later than a moment is missed, not invented."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as sock:
        said = b""
        with contextlib.suppress(ConnectionError):
            sock.sendall(wire)
        sock.settimeout(1.0)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while b"connection: close" not in said and (part := sock.recv(1 << 20)):
                said += part
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("name", [*CASES, *HIDDEN])
def test_the_door_does_what_envoy_asked_for_and_nothing_else(envoy_port, echo_server, name):
    wire = HIDDEN[name] if name in HIDDEN else CASES[name][0]
    begun = echo_server.begun
    found = statuses(envoy_port, wire + LAST)
    assert echo_server.begun - begun <= len(found), "work that nobody asked for"
    assert echo_server.begun - begun >= found.count(200)
