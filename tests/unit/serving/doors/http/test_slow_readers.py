"""How long an answer waits for a client that reads slowly, on a transport whose reading is the test's own."""

import asyncio

import pytest

from serving.doors.http.connection import ConnectionContext, ConnectionLimits, HttpConnection
from serving.doors.http.reply import Reply
from serving.doors.http.response_heads import ResponseHeads
from serving.doors.slow_readers import PROGRESS_BYTES, WRITE_TIMEOUT_S
from tests.fakes.serving.echo_server import get

ANSWER_BYTES = 50_000
LIMITS = ConnectionLimits(
    connections=10,
    unfinished_bytes=1 << 20,
    head_s=1e9,
    body_s=1e9,
    keep_alive_s=1e9,
    write_s=WRITE_TIMEOUT_S,
    linger_s=1e9,
    age_s=1e9,
)


class Wire:
    """A transport that nobody reads but the test. As asyncio's does, one that is closed first sends what was written."""

    def __init__(self) -> None:
        self.unread = 0
        self.is_aborted = False
        self._is_closing = False

    def write(self, data: bytes) -> None:
        self.unread += len(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.unread += sum(map(len, pieces))

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, _: str) -> None:
        return None


class Application:
    """Answers ANSWER_BYTES."""

    max_body_bytes = 1000
    body_timeout_s = 30.0

    def admit_head(self, *_):
        return None

    async def respond(self, *_):
        return Reply(b"x" * ANSWER_BYTES)


@pytest.fixture
async def asked():
    """A connection, its wire, and the loop's time at which an answer that ends it was written; nothing ever stopped the writing."""
    loop = asyncio.get_running_loop()
    connection = HttpConnection(ConnectionContext(Application(), LIMITS, loop, ResponseHeads(0.0)))
    wire = Wire()
    connection.connection_made(wire)
    connection.data_received(get(headers=b"connection: close\r\n"))
    assert (wire.unread > ANSWER_BYTES, wire.is_closing()) == (True, True)
    return connection, wire, loop.time()


@pytest.mark.parametrize(("read_bytes", "is_kept"), [(PROGRESS_BYTES, True), (PROGRESS_BYTES - 1, False), (0, False)])
async def test_the_last_answer_waits_for_a_client_that_reads_and_for_no_other(asked, read_bytes, is_kept):
    connection, wire, now_s = asked
    for _ in range(5):
        wire.unread -= read_bytes
        now_s += WRITE_TIMEOUT_S + 1
        connection.expire(now_s)
    assert wire.is_aborted is not is_kept


async def test_what_was_left_of_an_earlier_answer_says_nothing_of_the_last(asked):
    connection, wire, now_s = asked
    wire.unread, last = 10, wire.unread
    connection.pause_writing()
    connection.resume_writing()
    wire.unread = last
    for _ in range(3):
        wire.unread -= PROGRESS_BYTES
        now_s += WRITE_TIMEOUT_S + 1
        connection.expire(now_s)
    assert not wire.is_aborted


async def test_from_when_the_writing_stops_reading_is_counted(asked):
    connection, wire, now_s = asked
    connection.pause_writing()
    connection.expire(now_s + WRITE_TIMEOUT_S + 1)
    assert wire.is_aborted
