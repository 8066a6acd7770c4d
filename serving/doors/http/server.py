"""The HTTP server on a running loop: the socket it listens on, the limits of its connections, and how it ends.

serving.doors.http.connection handles one connection; serving.doors.listener has threads and loops. The limits are here because no other
server stands in front: docs/decisions/0017-own-http.md."""

import asyncio
import resource
import socket
import time
from typing import Final

from serving.doors.client_share import ClientShare, share_of
from serving.doors.counts import DoorCounts
from serving.doors.http.application import HttpApplication
from serving.doors.http.connection import ConnectionContext, HttpConnection
from serving.doors.http.limits import ConnectionLimits
from serving.doors.http.response_heads import ResponseHeads
from serving.doors.slow_readers import WRITE_TIMEOUT_S
from serving.doors.socket_handover import SETTLE_S, drop_new_connections, is_shared
from serving.doors.tls.handshakes import Wrap, plain

KEEP_ALIVE_S: Final = 75
"""Idle connections are kept this long: longer than a load balancer's usual 60 s, so that it is the one to close them."""
BACKLOG: Final = 2048
HEAD_TIMEOUT_S: Final = 30.0
"""How long a request line and headers may take to arrive."""
LINGER_S: Final = 1.0
"""How long a server that closes waits for the next request of an idle connection, to say in its answer that it is the last. If an idle
connection is closed, a request that is on its way gets no answer."""
CONNECTION_AGE_S: Final = 60.0
"""A connection this old (a quarter more or less, so that not all go at once) is closed with its next answer. A connection stays
with the replica that accepted it: without this, replicas that are added later would get no traffic from clients that keep their
connections."""
MAX_CONNECTIONS: Final = 10_000
MAX_UNFINISHED_BYTES: Final = 256 * 1024 * 1024
OTHER_FILES: Final = 256
"""File descriptors left to everything but connections."""
_TICK_S: Final = 1.0
_LOOKED_AT: Final = 500
"""Connections looked at in one turn of the loop."""


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


def affordable_connections(wanted: int) -> int:
    """At most so many connections, fewer if this process may not have that many files open. Its limit is first raised towards the
    system's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OTHER_FILES))


class HttpServer:
    """Serves one bound socket. max_connections: beyond it the newest is answered 503 and closed.

    max_unfinished_bytes: of the bodies that have begun to arrive, over all connections; beyond it the body that is growing is refused.
    max_client_share: of the connections, for one client address. wrap: puts TLS before connections."""

    def __init__(
        self,
        application: HttpApplication,
        sock: socket.socket,
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_unfinished_bytes: int = MAX_UNFINISHED_BYTES,
        counts: DoorCounts | None = None,
        max_client_share: float = 1.0,
        wrap: Wrap = plain,
    ) -> None:
        self._counts = counts or DoorCounts("http")
        self._application, self._sock = application, sock
        self._max_client_share, self._wrap = max_client_share, wrap
        self._max_connections, self._max_unfinished_bytes = max_connections, max_unfinished_bytes
        self._shared: ConnectionContext | None = None
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns once connections are accepted."""
        loop = asyncio.get_running_loop()
        limits = ConnectionLimits(
            connections=affordable_connections(self._max_connections),
            unfinished_bytes=self._max_unfinished_bytes,
            head_s=HEAD_TIMEOUT_S,
            body_s=self._application.body_timeout_s,
            keep_alive_s=KEEP_ALIVE_S,
            write_s=WRITE_TIMEOUT_S,
            linger_s=LINGER_S,
            age_s=CONNECTION_AGE_S,
        )
        heads, counts = ResponseHeads(time.time()), self._counts
        share = ClientShare(share_of(limits.connections, self._max_client_share))
        shared = self._shared = ConnectionContext(self._application, limits, loop, heads, counts, share=share)
        counts.most, counts.unfinished_bytes = limits.connections, lambda: shared.unfinished_bytes
        make = self._wrap(lambda: HttpConnection(shared))
        self._server = await loop.create_server(make, sock=self._sock, backlog=BACKLOG)
        self._sweeping = loop.create_task(_sweep(shared))

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._shared is None else len(self._shared.connections)

    def retire(self) -> None:
        """Ask each client to go, with the answer to its next request; new connections are still accepted."""
        if self._shared is not None:
            self._shared.is_closing = True

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let requests under way and on their way finish within grace_s, close."""
        shared, server = self._shared, self._server
        if shared is None or server is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_s
        if is_shared(self._sock) and drop_new_connections(self._sock):
            for _ in range(3):  # each lets the loop accept what has arrived, also one that was busy
                await asyncio.sleep(SETTLE_S / 3)
        server.close()
        self._sock.close()
        shared.is_closing = True
        await _wait_until_gone(shared, loop.time() + min(LINGER_S, grace_s))
        for connection in list(shared.connections):
            connection.end_if_idle()
        await _wait_until_gone(shared, until)
        cut_short = [work.ended() for connection in list(shared.connections) if (work := connection.give_up()) is not None]
        if cut_short:
            await asyncio.wait(cut_short, timeout=2)
        if self._sweeping is not None:
            self._sweeping.cancel()


async def _wait_until_gone(shared: ConnectionContext, until_s: float) -> None:
    while shared.connections and shared.loop.time() < until_s:  # noqa: ASYNC110  # an event would be set on the hot path
        await asyncio.sleep(0.01)


async def _sweep(shared: ConnectionContext) -> None:
    """Keep the date of the answers current, and close connections that exceed a time limit, so that silent connections do not use up the
    limit."""
    limits = shared.limits
    shortest_s = min(limits.head_s, limits.body_s, limits.keep_alive_s, limits.write_s, limits.linger_s)
    while True:
        await asyncio.sleep(min(_TICK_S, shortest_s / 4))
        shared.heads.tick(time.time())
        for number, connection in enumerate(list(shared.connections), 1):
            connection.expire(shared.loop.time())
            if number % _LOOKED_AT == 0:
                await asyncio.sleep(0)
