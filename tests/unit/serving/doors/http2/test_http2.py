"""HTTP/2's rules one by one, on a connection without a socket; the whole of them is tests/integration/doors/test_doors_http2.py's.

Windows and slow readers are test_http2_windows's."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.doors.http2 import connection as http2
from serving.doors.http2 import frames as http2_frames
from serving.doors.http2.connection import Http2Connection, Http2Connections
from serving.doors.http2.frames import CONTINUATION, WINDOW_UPDATE
from tests.unit.serving.doors.http2.talk import (
    BLOCK,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST,
    SETTINGS,
    Echo,
    Talk,
    Wire,
    ask,
    frame,
    number,
)
from tests.waiting import until_so


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


async def test_too_many_connections_are_closed():
    connections = Http2Connections(most=2)
    wires = [Wire() for _ in range(3)]
    for wire in wires:
        Http2Connection(Echo(), connections).connection_made(wire)
    assert [wire.is_closed for wire in wires] == [False, False, True]
    assert connections.counts.refused["connections"] == 1


async def test_plain_http_is_told_where_it_is():
    connection, wire = Http2Connection(Echo(), Http2Connections()), Wire()
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


async def test_settings_in_a_loop_end_the_connection(talk):
    last = []
    for _ in range(http2.RESETS + 1):
        last = talk.say(frame(SETTINGS, 0, 0, b"\0\4" + number(70_000))) or last
    assert (last[-1][0], last[-1][3][4:8]) == (GOAWAY, number(http2_frames.CALM))


@pytest.mark.parametrize(("flood", "is_within_a_call"), [
    pytest.param(frame(PING, 0, 0, b"12345678"), False, id="PING (CVE-2019-9512)"),
    pytest.param(frame(SETTINGS, 1, 0), False, id="acknowledged SETTINGS"),
    pytest.param(frame(2, 0, 7, number(0) + b"1"), False, id="PRIORITY (CVE-2019-9513)"),
    pytest.param(frame(WINDOW_UPDATE, 0, 0, number(1)), False, id="WINDOW_UPDATE"),
    pytest.param(frame(DATA, 0, 1), True, id="empty DATA (CVE-2019-9518)"),
    pytest.param(frame(12, 0, 0), False, id="frames of unknown kinds"),
])  # fmt: skip
async def test_a_flood_of_frames_without_requests_ends_the_connection(talk, flood, is_within_a_call):
    talk.app.is_holding = True
    talk.say(ask(1)[:-11] if is_within_a_call else ask(1))
    talk.say(flood * 9_900)
    assert not talk.wire.is_closed
    last = talk.say(flood * 300)
    assert (last[-1][0], last[-1][3][4:8]) == (GOAWAY, number(http2_frames.CALM))


@pytest.mark.heavy
async def test_calls_entitle_to_frames_of_their_own(talk):
    """A client that pings and widens windows with each call, for hours, is no flood."""
    for stream in range(1, 8001, 2):
        talk.say(ask(stream), frame(PING, 0, 0, b"12345678") * 3, frame(WINDOW_UPDATE, 0, 0, number(2)))
    assert not talk.wire.is_closed


async def test_a_flood_of_continuations_ends_the_connection(talk):
    """CVE-2024-27316: a header block that never ends, in small frames that each look harmless."""
    talk.say(frame(HEADERS, 0, 1, BLOCK))
    sent, last = 0, []
    while not talk.wire.is_closed:
        last = talk.say(frame(CONTINUATION, 0, 1, b"\0\1a\1b")) or last
        sent += 6
        assert sent < 64 * 1024
    assert (last[-1][0], last[-1][3][4:8]) == (GOAWAY, number(http2_frames.CALM))


async def test_empty_continuations_end_the_connection_at_once(talk):
    talk.say(frame(HEADERS, 0, 1, BLOCK), frame(CONTINUATION, 0, 1))
    assert talk.wire.is_closed


async def test_a_connection_without_calls_is_asked_to_go(talk):
    loop = talk.connection._loop
    talk.say(ask(1))
    now = loop.time()
    talk.connection.sweep(now, 1)
    talk.connection.sweep(now + http2.IDLE_S - 1, 1)
    assert not talk.frames()[1:], "not yet"
    talk.connection.sweep(now + http2.IDLE_S + 1, 1)
    assert talk.frames()[0][0] == GOAWAY


async def test_streams_opened_on_a_leaving_connection_are_not_all_remembered(talk):
    """A call under way keeps it open as long as it lasts; a client that opens more of them is told nothing and costs nothing."""
    talk.app.is_holding = True
    talk.say(ask(1))
    talk.connection.retire()
    ping = talk.frames()[-1]
    talk.say(frame(PING, 1, 0, ping[3]))
    for stream in range(3, 3 + 4 * http2_frames.MAX_STREAMS, 2):
        talk.say(frame(HEADERS, 5, stream, BLOCK))
    assert len(talk.connection._forgotten) <= http2_frames.MAX_STREAMS
    assert talk.connection.streams.keys() == {1}
