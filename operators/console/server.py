"""Runs the console: the one user of uvicorn. No event goes through it, so it needs no listener of our own; it runs in a process beside the
replicas.

A connection that does not send its request's head in time is closed; uvicorn itself would wait forever. uvicorn also looks ten times a
second whether it is to stop; here it is told."""

import asyncio
import contextlib
import socket
import ssl
from asyncio import TimerHandle
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_WITHIN_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
MOST_CONNECTIONS: Final = 500
MOST_HEAD_BYTES: Final = 32 * 1024
STOP_WITHIN_S: Final = 2
TICK_S: Final = 1.0
"""The header Date is as new as this."""


class BoundedHttp(H11Protocol):
    """HTTP/1.1 whose head must come in time."""

    _waiting: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come; its first head is due. Beyond the bound it is let go: each connection is a file, and pages need files too."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Something came. While no request is being answered, what came is the beginning of a head."""
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()


class _QuietServer(uvicorn.Server):
    """Sleeps until there is something to do."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def main_loop(self) -> None:
        """Until somebody says that it is to stop."""
        told = asyncio.Event()
        self._told = asyncio.get_running_loop(), told
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await told.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal."""
        super().handle_exit(sig, frame)
        self.wake()

    def wake(self) -> None:
        """Look now whether to stop; from any thread."""
        if self._told is not None:
            loop, told = self._told
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(told.set)


class ConsoleServer:
    """One console on one listening socket. tls_cert, tls_key: PEM files, both or none."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, tls_cert: Path | None = None, tls_key: Path | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_WITHIN_S,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )
        self._server, self._listener = _QuietServer(config), listener

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, or `stop`."""
        self._server.run(sockets=[self._listener])

    async def serve(self) -> None:
        """The same within a running loop; signals are left to the caller."""
        await self._server._serve(sockets=[self._listener])  # `serve` would take the process's signals

    def stop(self) -> None:
        """End soon; from any thread."""
        self._server.should_exit = True
        self._server.wake()
