"""The gRPC door on a socket: the connections it has, their number and age, and how it ends.

serving.doors.grpc.door answers what they bring."""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Final

from serving.access.gate import Gate
from serving.doors.client_share import ClientShare, share_of
from serving.doors.counts import DoorCounts
from serving.doors.grpc.door import GrpcApplication
from serving.doors.http.server import MAX_CONNECTIONS, MAX_UNFINISHED_BYTES, affordable_connections
from serving.doors.http2.connection import Http2Connection, Http2Connections
from serving.doors.requester import OnEarlyRefusal
from serving.doors.socket_handover import SETTLE_S, drop_new_connections, is_shared
from serving.doors.tls.handshakes import Wrap, plain
from serving.errors import ServingError
from serving.ports import InferenceService

CONNECTION_AGE_S: Final = 60.0
"""If replicas share the port, a connection of this age (a quarter more or less) is asked to close. Its client opens another one, which any
replica may get. Otherwise replicas that are added later would get no traffic, because gRPC clients keep one connection."""
SWEEP_S: Final = 1.0
BACKLOG: Final = 2048


class Http2Door:
    """A running gRPC door."""

    def __init__(
        self, sock: socket.socket, application: GrpcApplication, server: asyncio.Server, connections: Http2Connections
    ) -> None:
        self.port = int(sock.getsockname()[1])
        self._sock, self._application, self._server, self._connections = sock, application, server, connections
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for connection in list(self._connections.known):
                connection.sweep(now, now - before)
            before = now

    async def stop(self, grace_s: float) -> None:
        """Say not serving, accept nothing more, ask every client to go, let calls under way finish within grace_s."""
        self._application.health.close()
        self._sweeping.cancel()
        if grace_s > 0 and is_shared(self._sock) and drop_new_connections(self._sock):
            for _ in range(3):  # each lets the loop accept what has arrived, also one that was busy
                await asyncio.sleep(SETTLE_S / 3)
        self._server.close()
        deadline = asyncio.get_running_loop().time() + grace_s
        if grace_s > 0:
            for connection in list(self._connections.known):
                connection.retire()
        while self._connections.known and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.01)
        for connection in list(self._connections.known):
            for stream in list(connection.streams.values()):
                self._application.give_up(stream)
        await asyncio.sleep(0.01)  # so that the clients of cancelled calls get a status
        for connection in list(self._connections.known):
            connection.close()


async def start_http2(
    service: InferenceService,
    sock: socket.socket,
    *,
    max_body_bytes: int,
    max_connections: int = MAX_CONNECTIONS,
    max_unfinished_bytes: int = MAX_UNFINISHED_BYTES,
    admit: Callable[[], ServingError | None] | None = None,
    on_refused: OnEarlyRefusal | None = None,
    counts: DoorCounts | None = None,
    max_client_share: float = 1.0,
    wrap: Wrap = plain,
    gate: Gate | None = None,
) -> Http2Door:
    """Listen on a bound socket. Beyond max_connections the newest are closed; max_unfinished_bytes: of requests that have begun to
    arrive, over all connections; max_client_share: of the connections, for one client address; wrap: puts TLS before connections."""
    loop = asyncio.get_running_loop()
    application = GrpcApplication(
        service,
        max_body_bytes=max_body_bytes,
        max_unfinished_bytes=max_unfinished_bytes,
        admit=admit,
        on_refused=on_refused,
        counts=counts,
        gate=gate,
    )
    counts = application.counts
    most = counts.most = affordable_connections(max_connections)
    counts.unfinished_bytes = lambda: max_unfinished_bytes - application.room_bytes
    age_s = (lambda: CONNECTION_AGE_S * random.uniform(0.75, 1.25)) if is_shared(sock) else None  # noqa: S311  # nosec B311  # spreads, hides nothing
    connections = Http2Connections(most, age_s, ClientShare(share_of(most, max_client_share)), counts)
    make = wrap(lambda: Http2Connection(application, connections))
    server = await loop.create_server(make, sock=sock, backlog=BACKLOG)
    return Http2Door(sock, application, server, connections)
