"""HTTP/2's rules one by one, on a connection without a socket; the whole of them is tests/integration/doors/test_doors_http2.py's."""

import asyncio
import tracemalloc
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.doors.http2 import connection as http2
from serving.doors.http2 import frames as http2_frames
from serving.doors.http2 import streams as http2_streams
from serving.doors.http2.connection import Http2Connection
from serving.doors.http2.frames import PREFACE
from serving.doors.http2.hpack import HeaderDecoder, encode
from serving.doors.slow_readers import PROGRESS_BYTES, WRITE_TIMEOUT_S
from tests.waiting import until_so

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
BLOCK = encode([(b":path", b"/a")])
CLOSED = "closed"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.sent, self.is_closed, self.is_paused, self.unread = b"", False, False, 0

    def get_extra_info(self, _name):
        return None

    def write(self, data):
        self.sent += data

    def get_write_buffer_size(self):
        return self.unread

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True

    abort = close

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False


class Echo:
    """Answers every request with its body."""

    max_bytes = 1 << 16

    def __init__(self):
        self.room_bytes = 1 << 17
        self.heads, self.went, self.refused, self.held = 0, [], [], []
        self.is_holding = False

    def head(self, fields):
        self.heads += 1
        return dict(fields)

    def opened(self, stream): ...

    def arrived(self, stream): ...

    def complete(self, stream):
        if self.is_holding:
            self.held.append(stream)
        else:
            self.answer(stream)

    def answer(self, stream):
        stream.connection.answer(stream, encode([(b":status", b"200")]), bytes(stream.body), encode([(b"end", b"1")]))

    def too_large(self, stream):
        self.refused.append(stream.number)
        stream.connection.send(stream, encode([(b":status", b"413")]), b"", b"", is_last=True)

    too_slow = too_large

    def gone(self, stream):
        self.went.append(stream.number)


class Talk:
    """A connection, what answers it, and its client's side."""

    def __init__(self):
        self.wire, self.app = Wire(), Echo()
        self.connection = Http2Connection(self.app, set())
        self.connection.connection_made(self.wire)
        self._decoder, self._read = HeaderDecoder(), 0
        self.say(PREFACE, frame(SETTINGS, 0, 0))
        self.frames()

    def say(self, *parts):
        self.connection.data_received(b"".join(parts))
        return self.frames()

    def frames(self):
        """What was sent since the last look: (kind, flags, stream, payload)."""
        found = []
        while self._read < len(self.wire.sent):
            head = self.wire.sent[self._read : self._read + 9]
            end = self._read + 9 + int.from_bytes(head[:3], "big")
            found.append((head[3], head[4], int.from_bytes(head[5:], "big"), self.wire.sent[self._read + 9 : end]))
            self._read = end
        return found


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def ask(stream, body=b"hi", block=BLOCK):
    return frame(HEADERS, 4, stream, block) + frame(DATA, 1, stream, body)


def number(value):
    return value.to_bytes(4, "big")


@pytest.fixture
async def talk():
    return Talk()


async def test_a_request_is_answered_with_its_trailers_in_one_write(talk):
    answer = talk.say(ask(1))
    assert [(kind, flags, stream) for kind, flags, stream, _ in answer] == [(HEADERS, 4, 1), (DATA, 0, 1), (HEADERS, 5, 1)]
    assert answer[1][3] == b"hi"
    assert not talk.connection.streams


async def test_bytes_may_come_one_by_one(talk):
    answer = [found for byte in ask(1) for found in talk.say(bytes([byte]))]
    assert [kind for kind, *_ in answer] == [HEADERS, DATA, HEADERS]


async def test_a_block_seen_before_is_not_read_again_until_the_table_changes(talk):
    for stream in (1, 3, 5):
        talk.say(ask(stream))
    assert talk.app.heads == 1
    added = b"\x40\x01x\x01y"
    talk.say(ask(7, block=BLOCK + added), ask(9, block=BLOCK + added), ask(11))
    assert talk.app.heads == 4, "what changes the table is read each time, and nothing from before it is trusted"


async def test_an_index_means_what_the_table_holds_now(talk):
    seen = []
    talk.app.complete = lambda stream: seen.append(stream.head)
    talk.say(ask(1, block=b"\x40\x01x\x011"), ask(3, block=b"\xbe"), ask(5, block=b"\x40\x01x\x012"), ask(7, block=b"\xbe"))
    assert [head[b"x"] for head in seen] == [b"1", b"1", b"2", b"2"]


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


async def test_too_large_a_body_is_refused_while_it_comes(talk):
    talk.say(frame(HEADERS, 4, 1, BLOCK))
    said = [found for _ in range(8) for found in talk.say(frame(DATA, 0, 1, bytes(16_384)))]
    assert talk.app.refused == [1]
    assert (RST, 1, number(0)) in {(kind, stream, payload) for kind, _, stream, payload in said}, "the rest is not wanted"
    assert talk.say(ask(3)), "the connection goes on"


async def test_many_unfinished_bodies_together_are_bounded(talk):
    for stream in range(1, 9, 2):
        talk.say(frame(HEADERS, 4, stream, BLOCK), *[frame(DATA, 0, stream, bytes(16_000))] * 3)
    assert talk.app.refused
    talk.connection.connection_lost(None)
    assert talk.app.room_bytes == 1 << 17, "what ends makes room for others"


async def test_a_cancelled_call_is_told_and_not_answered(talk):
    talk.app.is_holding = True
    talk.say(ask(1))
    talk.say(frame(RST, 0, 1, number(8)))
    assert talk.app.went == [1]
    talk.app.answer(talk.app.held[0])
    assert not talk.frames()


async def test_opening_and_cancelling_in_a_loop_ends_the_connection(talk):
    talk.app.is_holding = True
    last = []
    for stream in range(1, 2 * http2.RESETS + 5, 2):
        last = talk.say(ask(stream), frame(RST, 0, stream, number(8))) or last
    assert (last[-1][0], last[-1][3][4:8]) == (GOAWAY, number(http2_frames.CALM))
    assert talk.wire.is_closed


async def test_the_end_of_a_connection_cancels_what_works_for_it(talk):
    talk.app.is_holding = True
    talk.say(ask(1), ask(3))
    talk.connection.connection_lost(None)
    assert talk.app.went == [1, 3]


async def test_a_client_that_does_not_read_is_not_read(talk):
    talk.connection.pause_writing()
    assert talk.wire.is_paused
    talk.connection.resume_writing()
    assert not talk.wire.is_paused


async def test_going_is_told_and_what_was_sent_meanwhile_is_answered(talk, monkeypatch):
    monkeypatch.setattr(http2, "RETIRE_S", 0.01)
    talk.connection.retire()
    warning, ping = talk.frames()
    assert (warning[0], warning[3][:4]) == (GOAWAY, number((1 << 31) - 1)), "what is on its way may still come"
    assert talk.say(ask(1))[1][3] == b"hi"
    (goodbye,) = talk.say(frame(PING, 1, 0, ping[3]))
    assert (goodbye[0], goodbye[3][:4]) == (GOAWAY, number(1))
    assert not talk.say(ask(3)), "its client was told that this one goes elsewhere"
    await until_so(lambda: talk.wire.is_closed)


async def test_a_call_under_way_keeps_a_leaving_connection_open(talk, monkeypatch):
    monkeypatch.setattr(http2, "RETIRE_S", 0.01)
    talk.app.is_holding = True
    talk.say(ask(1))
    talk.connection.retire()
    await asyncio.sleep(0.05)
    assert not talk.wire.is_closed
    talk.app.answer(talk.app.held[0])
    await until_so(lambda: talk.wire.is_closed)


async def test_what_waits_too_long_is_ended(talk):
    loop = asyncio.get_running_loop()
    talk.say(frame(HEADERS, 4, 1, BLOCK))
    talk.connection.sweep(loop.time() + http2.BODY_TIMEOUT_S + 1, 1)
    assert talk.app.refused == [1]
    talk.say(frame(HEADERS, 0, 3, BLOCK))
    talk.connection.sweep(loop.time() + http2.HEAD_TIMEOUT_S + 1, 1)
    assert talk.wire.is_closed, "a header block that is never finished"


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


@pytest.mark.parametrize("how", ["by its windows", "by its socket"])
async def test_a_client_that_asks_for_more_than_it_reads_is_answered_no_more(talk, monkeypatch, how):
    """A first answer may be as large as it is; those beyond the bound are not kept."""
    monkeypatch.setattr(http2_streams, "MAX_WAITING_BYTES", 50_000)
    talk.app.is_holding = True
    if how == "by its windows":
        talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)))
    else:
        talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 24)), frame(WINDOW, 0, 0, number(1 << 24)))
        talk.connection.pause_writing()
    talk.say(ask(1), ask(3), ask(5))
    for stream, size in zip(talk.app.held, (60_000, 10_000, 10_000), strict=True):
        talk.connection.answer(stream, b"", bytes(size), b"")
        talk.wire.unread += size if how == "by its socket" and stream.number == 1 else 0
    resets = [(of, payload) for kind, _, of, payload in talk.frames() if kind == RST]
    assert resets == [(3, number(http2_frames.CALM)), (5, number(http2_frames.CALM))]
    assert talk.app.went == [3, 5], "what works for them is stopped"


async def test_answers_that_are_never_taken_are_bounded(talk):
    talk.app.is_holding = True
    talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), ask(1))
    for _ in range(http2_streams.MAX_QUEUE + 1):
        talk.connection.send(talk.app.held[0], b"", b"more", b"")
    assert talk.frames()[-1][::3] == (RST, number(http2_frames.CALM))


async def test_too_many_connections_are_closed():
    known = set()
    wires = [Wire() for _ in range(3)]
    for wire in wires:
        Http2Connection(Echo(), known, None, 2).connection_made(wire)
    assert [wire.is_closed for wire in wires] == [False, False, True]


async def test_plain_http_is_told_where_it_is():
    connection, wire = Http2Connection(Echo(), set()), Wire()
    connection.connection_made(wire)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert b"400 Bad Request" in wire.sent
    assert b"speaks gRPC" in wire.sent
    assert wire.is_closed


@given(st.lists(st.one_of(
    st.binary(max_size=200),
    st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)),
    st.builds(ask, st.sampled_from([1, 3, 5, 7, 9])),
), max_size=12))  # fmt: skip
def test_whatever_comes_the_connection_stands_or_is_closed_by_the_rules(parts):
    async def run() -> None:
        talk = Talk()
        for part in parts:
            if talk.wire.is_closed:
                break
            talk.connection.data_received(part)
        for kind, _, _, payload in talk.frames():
            assert (kind, payload[4:8]) != (GOAWAY, number(http2_frames.INTERNAL_ERROR)), "a defect of ours"

    asyncio.run(run())


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


async def test_settings_in_a_loop_end_the_connection(talk):
    last = []
    for _ in range(http2.RESETS + 1):
        last = talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(70_000))) or last
    assert (last[-1][0], last[-1][3][4:8]) == (GOAWAY, number(http2_frames.CALM))


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
    assert not talk.connection._held_up


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
