"""What one client may ask of the loop by streaming calls (health watches, reflection), on a connection without a socket."""

import asyncio
import tracemalloc

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.doors.grpc.door import GrpcApplication
from serving.doors.grpc.streaming_call import MAX_MESSAGE_BYTES
from serving.doors.grpc.stubs import HEALTH, REFLECTION, SERVICE
from serving.doors.grpc.wire import framed
from serving.doors.http2 import connection as http2
from serving.doors.http2 import frames as http2_frames
from serving.doors.http2.connection import Http2Connection, Http2Connections
from serving.doors.http2.frames import PREFACE
from serving.doors.http2.hpack import encode
from tests.fakes.serving.inference import FakeInference
from tests.unit.serving.doors.http2.talk import DATA, GOAWAY, HEADERS, RST, SETTINGS, WINDOW, Talk, Wire, frame, number

ROOM = 1 << 20
WATCH, REFLECT = f"/{HEALTH}/Watch", f"/{REFLECTION}/ServerReflectionInfo"
QUESTION = framed(reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE).SerializeToString())


class Looks(FakeInference):
    """Counts how often somebody looks at a model."""

    def __init__(self):
        super().__init__()
        self.looks = 0

    def is_model_ready(self, name, version):
        self.looks += 1
        return super().is_model_ready(name, version)


class Client(Talk):
    """A client of the gRPC door."""

    def __init__(self):
        self.service, self.wire = Looks(), Wire()
        self.app = GrpcApplication(self.service, max_body_bytes=1 << 24, max_unfinished_bytes=ROOM)
        self.connection = Http2Connection(self.app, Http2Connections())
        self.connection.connection_made(self.wire)
        self._read = 0
        self.say(PREFACE, frame(SETTINGS, 0, 0))

    def open(self, stream, path, *more):
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b"content-type", b"application/grpc"),
        ]
        return self.say(frame(HEADERS, 4, stream, encode([*fields, *more])))

    def later(self, seconds):
        self.connection.sweep(asyncio.get_running_loop().time() + seconds, 1)
        return self.frames()


def watch(name):
    return framed(health_pb2.HealthCheckRequest(service=name).SerializeToString())


def status(frames, stream=1):
    """The grpc-status of the trailers on a stream, None if there are none."""
    said = [payload for kind, _, of, payload in frames if kind == HEADERS and of == stream and b"grpc-status" in payload]
    if not said:
        return None
    at = said[-1].index(b"grpc-status") + len(b"grpc-status")
    return int(said[-1][at + 1 : at + 1 + said[-1][at]])


async def some_turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def client():
    return Client()


@pytest.mark.parametrize("path", [WATCH, REFLECT])
async def test_a_message_that_claims_more_than_names_need_is_refused_at_its_length(client, path):
    client.open(1, path)
    assert status(client.say(frame(DATA, 0, 1, b"\0" + number(MAX_MESSAGE_BYTES + 1)))) == 8
    assert not client.connection.streams


async def test_a_byte_more_of_a_long_message_does_not_copy_what_came_before(client):
    client.open(1, REFLECT)
    message = framed(bytes(MAX_MESSAGE_BYTES))
    for at in range(0, 60_000, 10_000):
        client.say(frame(DATA, 0, 1, message[at : at + 10_000]))
    copied = []
    tracemalloc.start()
    try:
        for at in range(60_000, 60_010):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            client.say(frame(DATA, 0, 1, message[at : at + 1]))
            copied.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert sorted(copied)[5] < 30_000


async def test_a_message_may_come_byte_by_byte(client):
    client.open(1, WATCH)
    for byte in watch("simple"):
        client.say(frame(DATA, 0, 1, bytes([byte])))
    await some_turns()
    assert client.frames()[-1][3] == framed(health_pb2.HealthCheckResponse(status=1).SerializeToString())


@pytest.mark.parametrize("said", [b"", b"\0", QUESTION + b"\0"])
async def test_a_message_that_never_ends_is_given_a_time(client, said):
    client.open(1, REFLECT)
    client.say(frame(DATA, 0, 1, said))
    await some_turns()
    assert status(client.later(http2.BODY_TIMEOUT_S + 1)) == 3
    assert not client.connection.streams


async def test_a_streaming_call_may_rest_between_messages(client):
    client.open(1, REFLECT)
    for _ in range(2):
        client.say(frame(DATA, 0, 1, QUESTION))
        await some_turns()
        assert [kind for kind, *_ in client.frames()][-1] == DATA
        assert not client.later(10 * http2.BODY_TIMEOUT_S)


async def test_the_deadline_of_a_streaming_call_is_kept(client):
    client.open(1, WATCH, (b"grpc-timeout", b"1m"))
    client.say(frame(DATA, 1, 1, watch("simple")))
    frames = []
    while status(frames) is None:
        await asyncio.sleep(0)
        frames += client.frames()
    assert status(frames) == 4


async def test_messages_that_wait_for_their_turn_take_of_the_room(client):
    client.open(1, WATCH)
    client.say(frame(DATA, 0, 1, watch("simple")))
    await some_turns()
    free = client.app.room_bytes
    for _ in range(10):
        client.say(frame(DATA, 0, 1, framed(bytes(10_000))))
    assert client.app.room_bytes < free - 100_000
    client.say(frame(DATA, 1, 1, b""))
    assert client.app.room_bytes < free - 100_000, "they wait still"
    client.say(frame(RST, 0, 1, number(8)))
    assert client.app.room_bytes == ROOM


async def test_padding_of_a_streaming_call_takes_no_room(client):
    client.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 24)), frame(WINDOW, 0, 0, number(1 << 24)))
    client.open(1, REFLECT)
    for _ in range(100):
        client.say(frame(DATA, 8, 1, b"\xff" + QUESTION + bytes(255)))
        await some_turns()
    assert client.app.room_bytes == ROOM


async def test_answers_wait_for_their_client_before_more_are_made(client):
    """A question of 50 bytes has an answer of some kilobytes."""
    client.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)))
    client.open(1, REFLECT)
    client.say(frame(DATA, 0, 1, QUESTION * 100))
    await some_turns(300)
    assert len(client.connection.streams[1].queue) == 1
    client.frames()
    frames = client.say(frame(WINDOW, 0, 1, number(1 << 24)), frame(WINDOW, 0, 0, number(1 << 24)))
    await some_turns(300)
    whole = b"".join(payload for kind, _, _, payload in [*frames, *client.frames()] if kind == DATA)
    answers = 0
    while whole:
        whole, answers = whole[5 + int.from_bytes(whole[1:5], "big") :], answers + 1
    assert answers == 100


@pytest.mark.parametrize("last", [0, 1])
async def test_what_comes_after_a_refusal_that_waits_is_let_go(client, last):
    client.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)))
    client.open(1, WATCH)
    client.say(frame(DATA, 0, 1, watch("simple")))
    await some_turns()
    client.say(frame(DATA, 0, 1, b"\0" + number(1 << 30)))
    frames = client.say(frame(DATA, last, 1, b"more"))
    assert GOAWAY not in [kind for kind, *_ in frames]
    assert client.app.room_bytes == ROOM
    assert status(client.say(frame(WINDOW, 0, 1, number(1000)))) == 8
    assert not client.connection.streams


async def test_a_hundred_watches_are_one_look(client):
    for stream in range(1, 201, 2):
        client.open(stream, WATCH)
        client.say(frame(DATA, 1, stream, watch("simple")))
    await some_turns(300)
    assert client.service.looks == 1


async def test_all_who_watch_are_told_of_a_change_in_the_next_turns_of_the_loop(client):
    for stream in range(1, 201, 2):
        client.open(stream, WATCH)
        client.say(frame(DATA, 1, stream, watch("simple")))
    await some_turns(300)
    assert len({of for kind, _, of, _ in client.frames() if kind == DATA}) == 100
    await client.service.unload("simple")
    await some_turns()
    assert len({of for kind, _, of, _ in client.frames() if kind == DATA}) == 100
    assert client.service.looks == 2


async def test_changes_of_one_turn_are_one_look(client):
    client.open(1, WATCH)
    client.say(frame(DATA, 1, 1, watch("simple")))
    await some_turns()
    for _ in range(10):
        await client.service.unload("echo")
        await client.service.load("echo")
    await some_turns()
    assert client.service.looks == 2


async def test_a_service_at_rest_is_not_asked_about_its_health(client):
    """However long somebody watches: nothing is due on the loop."""
    client.open(1, WATCH)
    client.say(frame(DATA, 1, 1, watch("simple")))
    await some_turns()
    assert not [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]


async def test_who_watches_is_told_that_the_door_goes(client):
    client.open(1, WATCH)
    client.say(frame(DATA, 1, 1, watch("simple")))
    await some_turns()
    client.frames()
    client.app.health.close()
    await some_turns()
    frames = client.frames()
    assert frames[0][3] == framed(health_pb2.HealthCheckResponse(status=2).SerializeToString())
    assert status(frames) == 0


async def test_nobody_looks_for_watches_that_are_gone(client):
    for stream in range(1, 9, 2):
        client.open(stream, WATCH)
        client.say(frame(DATA, 1, stream, watch(f"m{stream}")))
    await some_turns()
    client.connection.connection_lost(None)
    await some_turns()
    before = client.service.looks
    await client.service.unload("simple")
    await some_turns()
    assert client.service.looks == before
    assert not client.app.health._states


async def test_breaking_calls_in_a_loop_ends_the_connection_like_cancelling_them(client):
    """CVE-2025-8671: the server is made to reset what it has begun."""
    last = []
    for stream in range(1, 2 * http2.RESETS + 5, 2):
        client.open(stream, WATCH)
        last = client.say(frame(DATA, 1, stream, watch("simple")), frame(WINDOW, 0, stream, number(0))) or last
    assert (last[-1][0], last[-1][3][4:8]) == (GOAWAY, number(http2_frames.CALM))
    assert client.wire.is_closed
