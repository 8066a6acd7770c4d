"""Where the doors listen: start, share a port, fail to start, drain."""

import http.client
import json
import socket
import threading

import grpc
import pytest

from serving.doors.grpc.stubs import SERVICE
from serving.doors.http import server
from serving.doors.http.door import HttpDoor
from serving.doors.http.server import bind
from serving.doors.listener import DoorBackend, HttpListener, Listener
from serving.errors import Overloaded, Unavailable
from tests.fakes.serving.doors import MAX_BODY_BYTES, simple_message, simple_request
from tests.fakes.serving.inference import FakeInference
from tests.waiting import HANG_S, ends, until


def get(port: int, path: str = "/v2/health/live") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def post(port: int, model: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    connection.request("POST", f"/v2/models/{model}/infer", json.dumps(simple_request()))
    response = connection.getresponse()
    return response.status, response.read()


def listener(service=None, *, events=None, problem=None, admit=None, on_refused=None, **options) -> Listener:
    events = [] if events is None else events

    async def startup() -> DoorBackend:
        events.append(threading.current_thread().name)
        if problem is not None:
            raise problem
        return DoorBackend(service or FakeInference(), admit=admit, on_refused=on_refused)

    async def shutdown() -> None:
        events.append("shutdown")

    ports = {"http_port": 0, "grpc_port": None, **options}
    return Listener(startup, shutdown, host="127.0.0.1", max_body_bytes=MAX_BODY_BYTES, **ports)


def doors_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in {"doors", "http"}]


def test_everything_behind_the_doors_is_built_on_their_thread():
    events: list[str] = []
    opened = listener(events=events)
    ports = opened.start(30)
    assert get(ports.http) == 200
    assert ports.grpc is None

    async def where() -> str:
        return threading.current_thread().name

    assert opened.submit(where()).result(HANG_S) == events[0] == "doors"
    opened.stop(1)
    assert events == ["doors", "shutdown"]
    assert doors_threads() == []


def test_replicas_share_a_port():
    first = listener(reuse_port=True)
    port = first.start(30).http
    second = listener(http_port=port, reuse_port=True)
    assert second.start(30).http == port
    assert {get(port) for _ in range(10)} == {200}
    first.stop(1)
    assert {get(port) for _ in range(10)} == {200}, "the other replica goes on answering"
    second.stop(1)


def test_a_port_that_is_taken_says_so():
    sock = bind("127.0.0.1", 0)
    sock.listen()
    port = sock.getsockname()[1]
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port"):
        listener(http_port=port)
    events: list[str] = []
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port} for gRPC"):
        listener(grpc_port=port, events=events).start(30)
    assert events == ["doors", "shutdown"], "what was built is taken down again"
    sock.close()
    assert doors_threads() == []


def test_a_startup_that_fails_is_told_to_the_caller():
    events: list[str] = []
    with pytest.raises(Unavailable, match="no store"):
        listener(problem=Unavailable("no store"), events=events).start(30)
    assert events == ["doors", "shutdown"]
    assert doors_threads() == []


def test_requests_under_way_are_finished_and_new_ones_turned_away():
    service = FakeInference()
    opened = listener(service)
    port = opened.start(30).http
    loop = opened._thread.loop
    answers: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: answers.append(post(port, "slow")))
    asking.start()
    until(lambda: service.seen)
    stopping = threading.Thread(target=opened.stop, args=(10,))
    stopping.start()

    def is_refused():
        try:
            get(port)
        except ConnectionRefusedError:
            return True
        except (ConnectionError, http.client.HTTPException):
            return False  # connected in the very moment of closing
        return False

    until(is_refused, "the listener went on accepting")
    loop.call_soon_threadsafe(service.release.set)
    asking.join(HANG_S)
    stopping.join(HANG_S)
    assert answers[0][0] == 200


def test_what_does_not_finish_within_the_grace_is_asked_to_come_back():
    service = FakeInference()
    opened = listener(service)
    port = opened.start(30).http
    outcome: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: outcome.append(post(port, "slow")))
    asking.start()
    until(lambda: service.seen)
    ends(lambda: opened.stop(0.2))
    asking.join(HANG_S)
    assert outcome[0][0] == 503
    assert b"shutting down" in outcome[0][1]
    assert doors_threads() == []


def test_a_door_can_be_served_on_its_own():
    listening = HttpListener(HttpDoor(FakeInference(), max_body_bytes=100))
    port = listening.start()
    assert get(port) == 200
    assert post(port, "simple")[0] == 413
    listening.stop(1)
    with pytest.raises(ConnectionRefusedError):
        get(port)


def test_a_connection_that_stays_silent_is_closed(monkeypatch):
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.2)
    opened = listener()
    port = opened.start(30).http
    with (
        socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as silent,
        socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as half,
    ):
        half.sendall(b"GET /v2 HT")
        assert silent.recv(10) == b""
        assert half.recv(10) == b""
    assert get(port) == 200
    opened.stop(1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/simple/infer", 429),
        ("/v2/models/simple/versions/1/infer/?x=1", 429),
        ("/v1/models/simple:predict", 429),
        ("/v2/repository/index", 200),
    ],
)
def test_only_inferences_are_refused_early(path, status):
    service, told = FakeInference(), []
    opened = listener(service, admit=lambda: Overloaded("full"), on_refused=lambda *refused: told.append(refused[:3]))
    port = opened.start(30).http
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    for _ in range(2):
        connection.request("POST", path, json.dumps(simple_request()) if status == 429 else "", {"traceparent": "any"})
        response = connection.getresponse()
        assert response.status == status
        assert response.getheader("retry-after") == ("1" if status == 429 else None)
        response.read()
    assert not service.seen
    assert told == [("http", path.encode(), b"any")] * 2 * (status == 429)
    assert get(port) == 200
    connection.close()
    opened.stop(1)


def test_only_inferences_are_refused_early_over_grpc():
    service, told = FakeInference(), []
    refusing = {"admit": lambda: Overloaded("full"), "on_refused": lambda *refused: told.append(refused[:3])}
    opened = listener(service, grpc_port=0, **refusing)
    with grpc.insecure_channel(f"127.0.0.1:{opened.start(30).grpc}") as channel:
        with pytest.raises(grpc.RpcError) as refusal:
            channel.unary_unary(f"/{SERVICE}/ModelInfer")(simple_message().SerializeToString(), timeout=HANG_S)
        assert (refusal.value.code(), refusal.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=HANG_S)
    assert not service.seen
    assert told == [("grpc", f"/{SERVICE}/ModelInfer".encode(), None)]
    opened.stop(1)


def test_a_listener_that_cannot_start_leaves_no_thread():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match=r"(?i)stream socket"):
            HttpListener(HttpDoor(FakeInference(), max_body_bytes=MAX_BODY_BYTES), sock=sock).start()
    assert doors_threads() == []
