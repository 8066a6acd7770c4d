"""One connection on a real socket: slow and vanishing clients, limits of time and number, the end of the server."""

import asyncio
import socket
import threading
import time

import pytest

from serving.doors.http import server
from serving.doors.http.connection import HALF_CLOSE_S
from serving.doors.http.request_parser import BODY
from tests.fakes.serving.echo_server import BIG, Application, Client, get, opened, post
from tests.waiting import HANG_S, until


def test_a_client_that_half_closes_gets_its_answers(echo_server):
    client = Client(echo_server.port)
    client.send(get() + get("/later") + post(b"x" * 9000, "/later") + get())
    client.socket.shutdown(socket.SHUT_WR)
    assert [client.answer()[0] for _ in range(4)] == [200] * 4
    assert client.is_closed()


def test_a_client_that_half_closes_gets_a_big_answer_it_reads_slowly(echo_server):
    client = Client(echo_server.port)
    client.send(get("/big") + get("/big"))
    client.socket.shutdown(socket.SHUT_WR)
    assert [len(client.answer()[2]) for _ in range(2)] == [BIG, BIG]
    assert client.is_closed()


@pytest.mark.parametrize("way", ["reset", "closed"])
def test_a_client_that_leaves_cancels_its_request(client, echo_server, way):
    cancelled, begun = echo_server.cancelled, echo_server.begun
    client.send(get("/slow") + get())
    until(lambda: echo_server.begun > begun)
    time.sleep(2 * HALF_CLOSE_S)  # who ends sooner is taken to have asked all it wants, and gets its answers
    client.reset() if way == "reset" else client.socket.close()
    until(lambda: echo_server.cancelled == cancelled + 1)
    assert echo_server.begun == begun + 1, "what was pipelined behind it is not begun"


def test_a_client_that_does_not_read_holds_nothing_but_its_own_answers_up(monkeypatch):
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 0.4)
    with opened() as served:
        client = Client(served.port)
        client.send(get("/big") * 50)
        until(lambda: served.begun > 0)
        time.sleep(0.1)
        assert served.begun < 5, "the next is answered when the one before has left"
        assert Client(served.port).send(get()).answer()[0] == 200
        until(lambda: served.listener._server.connections <= 1)


def look_at_connections(served, now_s: float) -> None:
    """What the server does every now and then, at a time of the test's own."""

    async def look():
        for connection in list(served.listener._server._shared.connections):
            connection.expire(now_s)

    asyncio.run_coroutine_threadsafe(look(), served.loop).result(HANG_S)


def is_blocked(served) -> bool:
    """Whether the answer of the one connection waits for its client. Asked on the server's loop, so that it has counted what is unread:
    what the client reads before that is no progress."""

    async def look() -> bool:
        return any(connection._is_blocked for connection in list(served.listener._server._shared.connections))

    return asyncio.run_coroutine_threadsafe(look(), served.loop).result(HANG_S)


def test_a_client_that_reads_slowly_is_not_dropped():
    with opened() as served:
        client = Client(served.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(get("/big", headers=b"connection: close\r\n"))
        until(lambda: is_blocked(served))
        now_s, size = served.loop.time(), 0
        for step in range(1, 7):
            while size < step * 500_000:
                size += len(client.socket.recv(60_000))
            now_s += server.WRITE_TIMEOUT_S + 1
            look_at_connections(served, now_s)
        while part := client.socket.recv(1 << 20):
            size += len(part)
        assert size > BIG


def test_a_client_that_reads_nothing_is_dropped():
    with opened() as served:
        client = Client(served.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(get("/big", headers=b"connection: close\r\n"))
        until(lambda: is_blocked(served))
        now_s = served.loop.time()
        for _ in range(6):
            now_s += server.WRITE_TIMEOUT_S + 1
            look_at_connections(served, now_s)
        until(lambda: served.listener._server.connections == 0)


def test_a_body_that_trickles_is_refused(monkeypatch):
    monkeypatch.setattr(Application, "body_timeout_s", 0.2)
    with opened() as served:
        client = Client(served.port).send(post(b"ab", length=10))
        status, head, body = client.answer()
        assert (status, "connection: close" in head, b"did not arrive within 0.2 s" in body) == (400, True, True)
        assert client.is_closed()


def test_an_idle_connection_is_closed(monkeypatch):
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.2)
    with opened() as served:
        client = Client(served.port).send(get())
        assert client.answer()[0] == 200
        assert client.is_closed()


def test_the_newest_connection_is_turned_away_beyond_the_limit():
    with opened(max_connections=3) as served:
        first = [Client(served.port).send(get()) for _ in range(3)]
        assert [client.answer()[0] for client in first] == [200] * 3
        newest = Client(served.port).send(get())
        status, head, _ = newest.answer()
        assert (status, "retry-after: 1" in head, "connection: close" in head) == (503, True, True)
        assert newest.is_closed()
        assert first[0].send(get()).answer()[0] == 200
        first[1].socket.close()
        newest.socket.close()
        until(lambda: served.listener._server.connections == 2)
        assert Client(served.port).send(get()).answer()[0] == 200


def test_unfinished_bodies_together_have_a_limit():
    with opened(max_unfinished_bytes=250_000) as served:
        one, two = (Client(served.port).send(post(b"x" * 150_000, length=160_000)) for _ in range(2))
        shared = served.listener._server._shared

        def one_is_refused() -> bool:
            open_ = list(shared.connections)
            return [c._parser.stage for c in open_] == [BODY] * 2 and sorted(c._counted_bytes for c in open_) == [0, 150_000]

        until(one_is_refused)
        statuses = {client.send(b"y" * 10_000).answer()[0] for client in (one, two)}
        assert statuses == {200, 429}
        assert one.send(post(b"x" * 100_000)).answer()[0] == 200
        assert shared.unfinished_bytes == 0


def test_what_a_vanished_client_held_is_given_back():
    with opened(max_unfinished_bytes=250_000) as served:
        client = Client(served.port).send(post(b"x" * 150_000, length=160_000))
        until(lambda: served.listener._server._shared.unfinished_bytes >= 100_000)
        client.reset()
        until(lambda: served.listener._server._shared.unfinished_bytes == 0)


def test_what_does_not_finish_within_the_grace_is_cancelled():
    with opened() as served:
        client = Client(served.port).send(get("/slow"))
        until(lambda: served.begun)
        served.listener.stop(0.1)
        status, head, body = client.answer()
        assert (status, "connection: close" in head, b"shutting down" in body) == (503, True, True)
        assert served.cancelled == 1


def test_while_it_ends_every_answer_says_so():
    with opened() as served:
        client = Client(served.port).send(get())
        client.answer()
        stopping = threading.Thread(target=served.listener.stop, args=(5,))
        stopping.start()
        until(lambda: served.listener._server._shared.is_closing)
        status, head, _ = client.send(get()).answer()
        assert (status, "connection: close" in head) == (200, True)
        assert client.is_closed()
        stopping.join(HANG_S)


def test_the_processes_file_limit_bounds_the_connections(monkeypatch):
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr(server.resource, "setrlimit", lambda *_: None)
    assert server.affordable_connections(10_000) == 1024 - server.OTHER_FILES
    assert server.affordable_connections(100) == 100


def test_one_address_cannot_take_all_connections():
    with opened(max_connections=8, max_client_share=0.5) as server:
        held = [Client(server.port).send(get()) for _ in range(4)]
        assert [client.answer()[0] for client in held] == [200] * 4
        refused = Client(server.port)
        status, head, body = refused.answer()
        assert (status, "connection: close" in head) == (429, True)
        assert b"this address has too many connections" in body
        held.pop().close()
        until(lambda: server.listener._server.connections == 3)
        assert Client(server.port).send(get()).answer()[0] == 200, "a place that was given back"
