"""uvicorn on a running loop, and the socket it listens on.

The one user of uvicorn. What uvicorn leaves to a proxy in front is held here, since there may be none: the size and time of a
request's head, and refusals in the protocol's own body. Threads and loops are serving.protocol.listener's."""

import asyncio
import logging
import random
import socket
from contextlib import suppress
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.protocol.errors import error_body
from serving.protocol.turning_away import SETTLE_S, is_shared, turn_away

KEEP_ALIVE_S: Final = 75
"""Idle connections are kept this long: longer than a load balancer's usual 60 s, so that it is the one to close them."""
BACKLOG: Final = 2048
MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest request line and headers together."""
HEAD_TIMEOUT_S: Final = 30.0
"""How long a request line and headers may take to arrive."""
LINGER_S: Final = 1.0
"""How long a server that closes waits for the next request of an idle connection, to say in its answer that it is the last. A
connection closed while idle may cross a request that is on its way, which nobody then answers."""
CONNECTION_AGE_S: Final = 60.0
"""A connection this old (a quarter more or less, so that not all go at once) is closed with its next answer. A connection stays
with the replica that accepted it: without this, clients that keep theirs would never meet the replicas added later."""


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket. reuse_port: several replicas share the port and the kernel spreads connections over them.

    Raises OSError, which names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as problem:
        sock.close()
        raise OSError(problem.errno, f"cannot listen on {host}:{port}: {problem.strerror}; choose another port") from problem
    sock.setblocking(False)
    return sock


class _Http11(HttpToolsProtocol):
    """uvicorn's protocol, with what it leaves to a proxy: a head has a size and a time, a refusal has the protocol's body."""

    is_last = False
    """The answer that comes next is the connection's last, and says so."""
    head_since: float | None = None
    """Loop time since when a head is awaited; None between requests (uvicorn's keep-alive timer) and within a body."""
    _head_bytes = 0
    _is_in_body = False
    _is_at_end = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.head_since = self.loop.time()
        self._retires = self.head_since + CONNECTION_AGE_S * random.uniform(0.75, 1.25)  # noqa: S311  # spreads, hides nothing

    def data_received(self, data: bytes) -> None:
        self._is_at_end = False
        super().data_received(data)
        if not (self._is_in_body or self._is_at_end):  # these bytes ended no request: they are all of an unfinished head
            self._head_bytes += len(data)
            self.head_since = self.head_since or self.loop.time()
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(b"431 Request Header Fields Too Large", f"the request's head is over {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._is_in_body, self._head_bytes, self.head_since = True, 0, None
        super().on_headers_complete()
        if self.is_last or self.loop.time() > self._retires:
            self.cycle.keep_alive = False  # uvicorn then says `connection: close` and closes after the answer

    def on_message_complete(self) -> None:
        self._is_in_body, self._is_at_end = False, True
        super().on_message_complete()

    def end_after_answer(self) -> None:
        """Close after the answer under way, or the next if that one has begun: always one that says so."""
        self.is_last = True
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", "the request is not HTTP/1.1: malformed request line, header or chunk")

    def _refuse(self, status: bytes, message: str) -> None:
        body = error_body(message)
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()


class HttpServer:
    """uvicorn on the running loop, serving one bound socket."""

    def __init__(self, app: Any, sock: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            http=_Http11,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the doors log what matters themselves
        self._config = config
        self._server = uvicorn.Server(config)
        self._sock = sock
        self._task: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns once connections are accepted."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._sock]))
        while not self._server.started:
            if self._task.done():
                await self._task
                raise RuntimeError("the HTTP listener ended while it started")
            await asyncio.sleep(0.005)
        self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """Close connections whose request does not come: whoever opens thousands and stays silent takes the place of others."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HEAD_TIMEOUT_S / 4)
            oldest = loop.time() - HEAD_TIMEOUT_S
            for connection in list(self._server.server_state.connections):
                if isinstance(connection, _Http11) and connection.head_since is not None and connection.head_since < oldest:
                    connection.transport.close()

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let requests under way and on their way finish within grace_s, close."""
        if self._task is None:
            return
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._say_goodbye(min(LINGER_S, grace_s))
        self._config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]  # uvicorn passes it on to wait_for
        self._server.should_exit = True
        await asyncio.wait([self._task], timeout=grace_s + 2)
        if not self._task.done():
            self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _say_goodbye(self, linger_s: float) -> None:
        """Take no new connection; end those there are with an answer that says so, as far as one comes within linger_s."""
        if is_shared(self._sock) and turn_away(self._sock):
            for _ in range(3):  # each lets the loop accept what has arrived, also one that was busy
                await asyncio.sleep(SETTLE_S / 3)
        for server in self._server.servers:
            server.close()
        self._sock.close()
        deadline = asyncio.get_running_loop().time() + linger_s
        while self._server.server_state.connections and asyncio.get_running_loop().time() < deadline:
            for connection in list(self._server.server_state.connections):
                if isinstance(connection, _Http11):
                    connection.end_after_answer()
            await asyncio.sleep(0.01)
