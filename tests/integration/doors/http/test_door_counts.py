"""Everything that a door refuses is counted by reason, whether or not it came as far as a model."""

import socket
import struct

import grpc
import pytest

from serving.doors.counts import AllDoorCounts
from serving.doors.grpc.stubs import SERVICE
from serving.doors.http.request_parser import MAX_HEAD_BYTES
from serving.doors.listener import DoorBackend, Listener
from serving.errors import Overloaded
from tests.fakes.serving.doors import Doors, simple_message, simple_request
from tests.fakes.serving.inference import FakeInference
from tests.waiting import HANG_S, until

INFER = "/v2/models/simple/infer"
CONNECTIONS = 8


class Counted(Doors):
    counts: AllDoorCounts


@pytest.fixture(scope="module")
def doors():
    counts, service = AllDoorCounts(), FakeInference()
    refusing: list[Overloaded] = []

    async def startup():
        return DoorBackend(service, counts=counts, admit=lambda: refusing[0] if refusing else None)

    async def shutdown():
        pass

    listener = Listener(
        startup, shutdown, host="127.0.0.1", http_port=0, grpc_port=0, max_body_bytes=4096, max_connections=CONNECTIONS
    )
    ports = listener.start(30)
    channel = grpc.insecure_channel(f"127.0.0.1:{ports.grpc}")
    opened = Counted(service, ports.http, ports.grpc, channel, listener)
    opened.counts, opened.refusing = counts, refusing
    yield opened
    channel.close()
    listener.stop(1)


def raw(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as sock:
        sock.sendall(text)
        sock.settimeout(HANG_S)
        try:
            return sock.recv(65536)
        except ConnectionResetError:
            return b""


def counted(doors, door: str, reason: str, act) -> None:
    """The act raises this count by one, and no other."""
    counts = getattr(doors.counts, door)
    before = dict(counts.refused)
    act()
    until(lambda: counts.refused != before, lambda: f"nothing was counted: {before}")
    assert {why: n - before[why] for why, n in counts.refused.items() if n != before[why]} == {reason: 1}


@pytest.mark.parametrize(
    ("reason", "method", "path", "body"),
    [
        pytest.param("malformed", "POST", INFER, b"{not json", id="a body that is no JSON"),
        pytest.param("malformed", "POST", INFER, {"inputs": []}, id="a request without inputs"),
        pytest.param("too_large", "POST", INFER, b"x" * 5000, id="a body over the limit"),
        pytest.param("unknown", "GET", "/nowhere", None, id="a path that there is not"),
        pytest.param("unknown", "POST", "/v2/models/no-such/infer", simple_request(), id="a model that there is not"),
        pytest.param("method", "DELETE", INFER, None, id="a method that the path has not"),
    ],
)
def test_what_http_refuses(doors, reason, method, path, body):
    counted(doors, "http", reason, lambda: doors.http(method, path, body))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello", id="TLS on a plain door"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET / HTTP/3.7\r\nhost: a\r\n\r\n", id="a version that there is not"),
    ],
)
def test_bytes_that_are_no_http(doors, text):
    counted(doors, "http", "protocol", lambda: raw(doors.http_port, text))


def test_a_head_over_the_limit(doors):
    counted(doors, "http", "head_too_large", lambda: raw(doors.http_port, b"GET /" + b"a" * 2 * MAX_HEAD_BYTES))


def test_errors_of_the_service_count_too(doors):
    doors.service.unloaded.add("simple")
    try:
        counted(doors, "http", "unavailable", lambda: doors.http("GET", "/v2/health/ready"))
    finally:
        doors.service.unloaded.clear()


def test_early_refusals_count_once(doors):
    doors.refusing.append(Overloaded("busy"))
    try:
        counted(doors, "http", "overloaded", lambda: doors.http("POST", INFER, simple_request()))
    finally:
        doors.refusing.clear()


def test_an_answer_counts_nowhere(doors):
    before = dict(doors.counts.http.refused), dict(doors.counts.grpc.refused)
    assert doors.http("POST", INFER, simple_request()).status == 200
    doors.call("ModelInfer", simple_message().SerializeToString())
    assert (dict(doors.counts.http.refused), dict(doors.counts.grpc.refused)) == before


def call(doors, method: str, body: bytes) -> None:
    with pytest.raises(grpc.RpcError):
        doors.channel.unary_unary(method)(body, timeout=HANG_S)


@pytest.mark.parametrize(
    ("reason", "method", "body"),
    [
        pytest.param("malformed", f"/{SERVICE}/ModelInfer", b"\xff\xff\xff", id="bytes that are no message"),
        pytest.param("too_large", f"/{SERVICE}/ModelInfer", b"x" * 5000, id="a message over the limit"),
        pytest.param("unsupported", "/no.Service/Method", b"", id="a method that there is not"),
        pytest.param("unknown", f"/{SERVICE}/ModelInfer", simple_message("no-such").SerializeToString(), id="no such model"),
    ],
)
def test_what_grpc_refuses(doors, reason, method, body):
    counted(doors, "grpc", reason, lambda: call(doors, method, body))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", id="HTTP/1 on the gRPC door"),
        pytest.param(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">I", 9)[1:] + b"\x06\x00" + bytes(4) + b"x" * 9,
            id="a malformed PING",
        ),
    ],
)
def test_bytes_that_are_no_http2(doors, text):
    counted(doors, "grpc", "protocol", lambda: raw(doors.grpc_port, text))


def test_open_connections_and_those_beyond_the_limit(doors):
    counts = doors.counts.http
    assert counts.most == CONNECTIONS
    held = [socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) for _ in range(CONNECTIONS)]
    try:
        until(lambda: counts.open == CONNECTIONS, lambda: f"{counts.open} are open")
        counted(doors, "http", "connections", lambda: raw(doors.http_port, b""))
    finally:
        for sock in held:
            sock.close()
    until(lambda: counts.open == 0, lambda: f"{counts.open} are open")


def test_a_body_that_is_on_its_way_is_seen(doors):
    counts = doors.counts.http
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as sock:
        sock.sendall(b"POST /v2/models/simple/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n" + b"x" * 600)
        until(lambda: counts.unfinished_bytes() == 600, lambda: f"{counts.unfinished_bytes()} bytes")
    until(lambda: counts.unfinished_bytes() == 0, lambda: f"{counts.unfinished_bytes()} bytes")
