"""The connections of the load generators, against servers that split, close, drop and keep silent."""

import asyncio
import socket
import threading
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from types import SimpleNamespace

import pytest

from loadtests.bench.benchmarks.rows import _Http
from loadtests.bench.load.connections import ClosedLoop, Judge, Load, Schedule

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Recorder(Judge):
    """Keeps what it is told; `until` is set after so many events."""

    def __init__(self, events):
        self.seen, self._events, self.until = [], events, asyncio.Event()

    def _add(self, *event):
        self.seen.append(event)
        if len(self.seen) == self._events:
            self.until.set()

    def answered(self, request, status, body, now):
        self._add(status, body)

    def lost(self, request, now):
        self._add("lost")

    def unanswered(self, request, now):
        self._add("unanswered")

    def unreachable(self, since, now):
        self._add("unreachable")


@asynccontextmanager
async def answering(*answers):
    """A server whose n-th request is answered by the n-th of these: parts to write; then the connection is closed if there is None."""
    left = iter(answers)

    async def serve(reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                for part in next(left, ()):
                    if part is None:
                        writer.close()
                        return
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def load_of(port, judge, **how):
    return closing(Load(port, judge, lambda *_: b"POST / HTTP/1.1\r\n\r\n", **how))


async def test_answers_come_in_parts_and_connections_end_and_are_made_anew():
    close = b"HTTP/1.1 429 X\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n"
    endless = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with answering([OK[:20], OK[20:-1], OK[-1:]], [OK], [close], [None], [endless], [OK]) as port:
        judge = Recorder(6)
        with load_of(port, judge, keeps_connecting=True) as load:
            load.begin(ClosedLoop())
            await load.connect(1)
            await judge.until.wait()
    assert judge.seen == [(200, b"{}"), (200, b"{}"), (429, b""), ("lost",), (500, b""), (200, b"{}")]


async def test_a_load_that_does_not_connect_again_ends_with_its_connection():
    async with answering([OK], [None]) as port:
        judge = Recorder(2)
        with load_of(port, judge) as load:
            await load.connect(1)
            load.begin(ClosedLoop())
            await load.ended.wait()
    assert (judge.seen, load.gone) == ([(200, b"{}"), ("lost",)], 1)


async def test_a_load_ends_once_everything_due_is_answered():
    async with answering([OK], [OK], [OK]) as port:
        judge = Recorder(3)
        with load_of(port, judge) as load:
            await load.connect(2)
            load.begin(Schedule([0.0, 0.0, 0.0]))
            await load.ended.wait()
    assert (judge.seen, load.gone) == ([(200, b"{}")] * 3, 0)


async def test_a_request_without_an_answer_is_given_up_and_the_connection_made_anew():
    async with answering([], [OK]) as port:
        judge = Recorder(2)
        with load_of(port, judge, keeps_connecting=True) as load:
            load.begin(ClosedLoop())
            await load.connect(1)
            load.give_up(after_s=-1.0)
            await judge.until.wait()
    assert judge.seen == [("unanswered",), (200, b"{}")]


async def test_a_port_nobody_listens_on():
    async with answering() as port:
        pass
    with load_of(port, Recorder(1)) as load, pytest.raises(OSError, match="onnect"):
        await load.connect(1)
    judge = Recorder(1)
    with load_of(port, judge, keeps_connecting=True) as load:
        connecting = asyncio.create_task(load.connect(1))
        await judge.until.wait()
        connecting.cancel()
    assert judge.seen == [("unreachable",)]


def test_a_kept_client_connects_anew_when_the_server_ends_an_old_connection():
    served = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in (
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none",
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
            ):
                connection, _ = listener.accept()
                with connection:
                    served.append(connection.recv(4096))
                    connection.sendall(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with ExitStack() as stack:
            client = _Http(stack, SimpleNamespace(name="a server", http_port=listener.getsockname()[1]))  # type: ignore[arg-type]
            assert [bytes(client.ask(client.request(b"{}"))[1]) for _ in range(2)] == [b"one", b"two"]
        server.join()
    assert len(served) == 2
