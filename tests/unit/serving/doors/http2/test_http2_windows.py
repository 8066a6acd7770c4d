"""HTTP/2's windows, and clients that read slowly or not at all, on a connection without a socket."""

import asyncio
import tracemalloc
from types import SimpleNamespace

import pytest

from serving.doors.http2 import frames as http2_frames
from serving.doors.http2 import streams as http2_streams
from serving.doors.http2.hpack import encode
from serving.doors.slow_readers import PROGRESS_BYTES, WRITE_TIMEOUT_S
from tests.unit.serving.doors.http2.talk import BLOCK, DATA, HEADERS, RST, SETTINGS, WINDOW, ask, frame, number


async def test_an_answer_waits_for_the_windows_of_its_client(talk):
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(3)))
    assert [payload for kind, _, _, payload in talk.say(ask(1, b"hello")) if kind == DATA] == [b"hel"]
    assert [payload for kind, _, _, payload in talk.say(frame(WINDOW, 0, 1, number(1))) if kind == DATA] == [b"l"]
    rest = talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(9)))
    assert [(kind, flags) for kind, flags, *_ in rest] == [(SETTINGS, 1), (DATA, 0), (HEADERS, 5)]


async def test_a_large_answer_comes_in_frames_and_waits_for_the_connections_window(talk):
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 20)))
    talk.say(ask(1))
    (stream,) = talk.app.held
    talk.connection.send(stream, b"", bytes(100_000), encode([(b"end", b"1")]))
    first = sum(len(payload) for kind, _, _, payload in talk.frames() if kind == DATA)
    assert first == 65_535
    rest = talk.say(frame(WINDOW, 0, 0, number(1 << 20)))
    assert sum(len(payload) for kind, _, _, payload in rest if kind == DATA) == 100_000 - first
    assert max(len(payload) for _, _, _, payload in rest) <= 16_384
    assert rest[-1][:2] == (HEADERS, 5)


async def test_a_client_that_sends_much_is_let_send_more(talk):
    talk.app.max_bytes = talk.app.room_bytes = 1 << 24
    talk.say(frame(HEADERS, 4, 1, BLOCK))
    said = [talk.say(frame(DATA, 0, 1, bytes(16_384))) for _ in range(64)]
    given = [
        (stream, int.from_bytes(payload, "big")) for frames in said for kind, _, stream, payload in frames if kind == WINDOW
    ]
    assert {stream for stream, _ in given} == {0, 1}
    assert max(sum(more for stream, more in given if stream == which) for which in (0, 1)) <= 64 * 16_384


async def test_a_client_that_lets_no_answer_through_is_given_up(talk):
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), ask(1))
    talk.frames()
    talk.connection.sweep(asyncio.get_running_loop().time() + WRITE_TIMEOUT_S + 1, 1)
    assert [kind for kind, *_ in talk.frames()] == [RST]
    assert talk.app.went == [1]


@pytest.mark.parametrize(("granted", "is_kept"), [(1, False), (PROGRESS_BYTES, True)])
async def test_a_client_that_lets_single_bytes_through_lets_nothing_through(talk, granted, is_kept):
    now = [asyncio.get_running_loop().time()]
    talk.connection._loop = SimpleNamespace(time=lambda: now[0])
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), ask(1))
    talk.connection.answer(talk.app.held[0], b"", bytes(1 << 16), b"")
    for _ in range(4):
        now[0] += WRITE_TIMEOUT_S / 2 + 1
        if 1 in talk.connection.streams:
            talk.say(frame(WINDOW, 0, 1, number(granted)))
        now[0] += WRITE_TIMEOUT_S / 2
        talk.connection.sweep(now[0], 1)
    assert (1 in talk.connection.streams) is is_kept


async def test_a_stream_that_waits_for_its_turn_is_kept_while_its_client_takes_others(talk):
    now = [asyncio.get_running_loop().time()]
    talk.connection._loop = SimpleNamespace(time=lambda: now[0])
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 20)), ask(1), ask(3))
    for stream in talk.app.held:
        talk.connection.answer(stream, b"", bytes(1 << 18), b"")
    for _ in range(4):
        now[0] += WRITE_TIMEOUT_S - 1
        talk.say(frame(WINDOW, 0, 0, number(PROGRESS_BYTES)))
        talk.connection.sweep(now[0] + 1, 1)
    assert talk.connection.streams.keys() == {1, 3}
    talk.connection.sweep(now[0] + WRITE_TIMEOUT_S + 1, 1)
    assert not talk.connection.streams


@pytest.mark.parametrize(("taken", "is_kept"), [(0, False), (1, False), (PROGRESS_BYTES, True)])
@pytest.mark.parametrize("unread", [100_000, 50_000])
async def test_a_client_that_reads_nothing_of_its_socket_is_left(talk, taken, unread, is_kept):
    """Its windows are wide open, so that everything was sent as far as HTTP/2 knows. 50,000: below what stops the reading."""
    now = asyncio.get_running_loop().time()
    talk.connection._written_bytes, talk.wire.unread = 1 << 20, unread
    talk.connection.sweep(now, 1)
    for step in range(1, 4):
        talk.wire.unread -= taken
        talk.connection.sweep(now + step * (WRITE_TIMEOUT_S + 1), 1)
    assert talk.wire.is_closed is not is_kept


async def test_answers_in_between_hide_no_reading_and_make_none(talk):
    """What is written meanwhile is not what the client has taken."""
    now = asyncio.get_running_loop().time()
    talk.wire.unread = 100_000
    talk.connection._written_bytes = 200_000
    talk.connection.sweep(now, 1)
    talk.connection._written_bytes += 50_000
    talk.wire.unread += 50_000 - PROGRESS_BYTES
    talk.connection.sweep(now + WRITE_TIMEOUT_S + 1, 1)
    assert not talk.wire.is_closed, "it has read"
    talk.connection._written_bytes += 50_000
    talk.wire.unread += 50_000
    talk.connection.sweep(now + 2 * (WRITE_TIMEOUT_S + 1), 1)
    assert talk.wire.is_closed


async def test_a_client_that_has_read_everything_may_rest(talk):
    now = asyncio.get_running_loop().time()
    for wait in range(4):
        talk.wire.unread = 0 if wait % 2 else 100
        talk.connection.sweep(now + wait * (WRITE_TIMEOUT_S - 1), 1)
    assert not talk.wire.is_closed


async def test_answers_to_many_questions_of_one_packet_are_bounded_too(talk, monkeypatch):
    """They are all made before the first of them can leave, however fast their client reads."""
    monkeypatch.setattr(http2_streams, "MAX_WAITING_BYTES", 40_000)
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 24)), frame(WINDOW, 0, 0, number(1 << 24)))
    sizes = {11: 100_000, 3: 30_000, 5: 30_000, 7: 30_000, 9: 30_000}
    talk.app.answer = lambda stream: stream.connection.answer(stream, b"", bytes(sizes[stream.number]), b"")
    said = talk.say(ask(3), ask(5), ask(7), ask(9))
    assert [(of, payload) for kind, _, of, payload in said if kind == RST] == [(n, number(http2_frames.CALM)) for n in (7, 9)]
    said = talk.say(frame(SETTINGS, 0, 0), ask(11))
    assert sum(len(payload) for kind, _, _, payload in said if kind == DATA) == 100_000, "a first one may be as large as it is"


@pytest.mark.parametrize("how", ["by its windows", "by its socket"])
async def test_a_client_that_asks_for_more_than_it_reads_is_answered_no_more(talk, monkeypatch, how):
    """A first answer may be as large as it is, and takes no room from those beside it; those beyond the bound are not kept."""
    monkeypatch.setattr(http2_streams, "MAX_WAITING_BYTES", 50_000)
    talk.app.is_holding = True
    if how == "by its windows":
        talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)))
    else:
        talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 24)), frame(WINDOW, 0, 0, number(1 << 24)))
        talk.connection.pause_writing()
    talk.say(ask(1), ask(3), ask(5), ask(7))
    for stream, size in zip(talk.app.held, (60_000, 49_000, 10_000, 10_000), strict=True):
        talk.connection.answer(stream, b"", bytes(size), b"")
        talk.wire.unread += size if how == "by its socket" and stream.number <= 3 else 0
    resets = [(of, payload) for kind, _, of, payload in talk.frames() if kind == RST]
    assert resets == [(5, number(http2_frames.CALM)), (7, number(http2_frames.CALM))]
    assert talk.app.went == [5, 7], "what works for them is stopped"


async def test_answers_that_are_never_taken_are_bounded(talk):
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), ask(1))
    for _ in range(http2_streams.MAX_QUEUE + 1):
        talk.connection.send(talk.app.held[0], b"", b"more", b"")
    assert talk.frames()[-1][::3] == (RST, number(http2_frames.CALM))


class Streams(dict):
    """Counts how often all of them are looked at."""

    looks = 0

    def values(self):
        self.looks += 1
        return super().values()


@pytest.fixture
def counted(talk):
    """A connection with a call under way, and its streams."""
    talk.app.is_holding = True
    talk.say(ask(1))
    streams = talk.connection.streams = Streams(talk.connection.streams)
    return streams


async def test_a_setting_said_many_times_in_one_frame_touches_the_streams_once(talk, counted):
    values = b"".join(b"\0\4" + number(70_000 + n) for n in range(2000))
    talk.say(frame(SETTINGS, 0, 0, values))
    assert counted.looks <= 2
    assert counted[1].window == 70_000 + 1999


async def test_a_wider_connection_looks_at_no_stream_that_does_not_wait_for_it(talk, counted):
    for _ in range(100):
        talk.say(frame(WINDOW, 0, 0, number(1)))
    assert counted.looks == 0


async def test_streams_that_wait_for_the_connection_go_on_one_after_another(talk):
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 20)), ask(1), ask(3), ask(5))
    for stream in talk.app.held:
        talk.connection.answer(stream, b"", b"x" * 40_000, encode([(b"end", b"1")]))
    talk.frames()
    got = {1: 0, 3: 0, 5: 0}
    for _ in range(60):
        for kind, _, of, payload in talk.say(frame(WINDOW, 0, 0, number(1000))):
            got[of] += len(payload) if kind == DATA else 0
    assert not talk.connection.streams
    assert sum(got.values()) == 120_000 - 65_535
    assert not talk.connection._waiting_for_window


async def test_a_window_of_one_byte_does_not_copy_the_rest_of_an_answer(talk):
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), ask(1))
    talk.connection.answer(talk.app.held[0], b"", bytes(1 << 20), b"")
    talk.say(frame(WINDOW, 0, 1, number(1)))
    tracemalloc.start()
    try:
        (sent,) = talk.say(frame(WINDOW, 0, 1, number(1)))
        copied = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sent[3]) == 1
    assert copied < 1 << 19
