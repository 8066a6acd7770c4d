"""Threads, loops and sockets: where the doors listen.

A replica runs its doors in a thread of its own with an event loop of its own (uvloop), away from the thread that talks to Ray.
`Listener` builds everything on that loop by the caller's `startup` hook, so that Scorer, feature connections and both doors live on one
loop; `HttpListener` serves an application that needs no such hook. The answers are the application's."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import uvloop

from serving.access.gate import Gate
from serving.doors.client_share import ClientShare, share_of
from serving.doors.counts import AllDoorCounts
from serving.doors.grpc.server import Http2Door, start_http2
from serving.doors.http.application import HttpApplication
from serving.doors.http.door import HttpDoor, RiskAnswers
from serving.doors.http.narrow_door import HEALTH, METRICS, NarrowDoor
from serving.doors.http.server import MAX_CONNECTIONS, MAX_UNFINISHED_BYTES, HttpServer, affordable_connections, bind
from serving.doors.interpreter import settle
from serving.doors.requester import OnEarlyRefusal
from serving.doors.tls.certificates import Certificates
from serving.doors.tls.files import HTTP1, HTTP2, TlsFiles
from serving.doors.tls.handshakes import UNFINISHED_SHARE, Handshakes, Wrap, plain
from serving.doors.tls.transport import TlsConnection
from serving.errors import ServingError
from serving.ports import InferenceService
from serving.telemetry.metric_doc import Figures

START_TIMEOUT_S: Final = 120.0
PROBE_CONNECTIONS: Final = 64

T = TypeVar("T")
_log = logging.getLogger(__name__)


class LoopThread:
    """One thread running one uvloop; coroutines are handed to it from anywhere."""

    def __init__(self, name: str) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run it there; the future is thread-safe."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        """Stop the loop and wait for the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)


class HttpListener:
    """Serves an application in a thread of its own: `start()` gives the port, `stop(grace_s)` drains.

    limits: keyword arguments of HttpServer."""

    def __init__(
        self,
        application: HttpApplication,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        reuse_port: bool = False,
        sock: socket.socket | None = None,
        **limits: Any,
    ) -> None:
        self._application, self._limits = application, limits
        self._sock = sock or bind(host, port, reuse_port=reuse_port)
        self._thread: LoopThread | None = None
        self._server: HttpServer | None = None

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._sock.getsockname()[1])

    def start(self) -> int:
        """Listen; the bound port. Raises OSError or ValueError if the socket cannot be listened on."""
        port = self.port
        self._thread = LoopThread("http")
        try:
            self._server = HttpServer(self._application, self._sock, **self._limits)
            self._thread.submit(self._server.start()).result(START_TIMEOUT_S)
        except BaseException:
            self._thread.close()
            self._thread = None
            raise
        return port

    def stop(self, grace_s: float = 5.0) -> None:
        """Drain and end the thread."""
        if self._thread is not None and self._server is not None:
            self._thread.submit(self._server.stop(grace_s)).result(grace_s + 10)
            self._thread.close()
            self._thread = None


@dataclass(frozen=True, slots=True)
class DoorBackend:
    """What a listener's `startup` hook gives: the service behind the doors, and the text of /metrics, classic and in
    OpenMetrics.

    union: makes of this replica's metrics the page of all replicas that share the port. admit: called by the doors when the head of an
    inference request has come; it returns the refusal or None (serving.resilience.admission). on_refused: told of each
    refusal. degraded: what is out, for readiness. risks: answers questions about risks; None: nobody may ask. counts: what the doors
    count. watch: called with each further source of metrics that the doors have. gate: decides who may ask for what; None: everybody for
    everything."""

    service: InferenceService
    metrics: Callable[[], bytes] | None = None
    union: Callable[[bytes], Awaitable[bytes]] | None = None
    admit: Callable[[], ServingError | None] | None = None
    on_refused: OnEarlyRefusal | None = None
    degraded: Callable[[], Sequence[str]] = tuple
    risks: RiskAnswers | None = None
    counts: AllDoorCounts = field(default_factory=AllDoorCounts)
    watch: Callable[[Callable[[], Figures]], object] = lambda _: None
    gate: Gate | None = None
    openmetrics: Callable[[], bytes] | None = None


def http_door(backend: DoorBackend, max_body_bytes: int) -> HttpDoor:
    """The HTTP door in front of it; the same for every listener."""
    return HttpDoor(
        backend.service,
        max_body_bytes=max_body_bytes,
        metrics=backend.metrics,
        openmetrics=backend.openmetrics,
        union=backend.union,
        admit=backend.admit,
        on_refused=backend.on_refused,
        degraded=backend.degraded,
        risks=backend.risks,
        counts=backend.counts.http,
        gate=backend.gate,
    )


@dataclass(frozen=True, slots=True)
class DoorAddresses:
    """Where the doors listen. grpc is None if that door is closed. own: metrics and health on the loopback interface, never shared."""

    http: int
    grpc: int | None
    own: int = 0


class Listener:
    """Both doors and all that is behind them on one loop in one thread.

    startup runs on that loop before anything listens; shutdown runs there after the doors are closed, also when start fails
    half-way. grpc_port None: no gRPC door. tls: None for plain doors. probe_port: a plain port that answers health only; None: there is
    none. max_client_share: of a door's connections, for one client address. Raises TlsError, OSError."""

    def __init__(
        self,
        startup: Callable[[], Awaitable[DoorBackend]],
        shutdown: Callable[[], Awaitable[None]],
        *,
        host: str,
        http_port: int,
        grpc_port: int | None,
        max_body_bytes: int,
        reuse_port: bool = False,
        max_connections: int = MAX_CONNECTIONS,
        max_unfinished_bytes: int = MAX_UNFINISHED_BYTES,
        max_client_share: float = 1.0,
        tls: TlsFiles | None = None,
        probe_port: int | None = None,
    ) -> None:
        self._startup, self._shutdown = startup, shutdown
        self._certificates = None if tls is None else Certificates.open(tls)
        self._following: asyncio.Task[None] | None = None
        self._max_client_share, self._probe_port = max_client_share, probe_port
        self._host, self._grpc_port, self._max_body_bytes = host, grpc_port, max_body_bytes
        self._max_connections, self._max_unfinished_bytes = _affordable(max_connections, tls), max_unfinished_bytes
        self._reuse_port = reuse_port
        self._sock = bind(host, http_port, reuse_port=reuse_port)
        self._thread: LoopThread | None = None
        self._http: HttpServer | None = None
        self._own: HttpServer | None = None
        self._probes: HttpServer | None = None
        self._grpc: Http2Door | None = None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> DoorAddresses:
        """Build, then listen. Raises the exception of `startup`, or OSError for a port that is taken."""
        self._thread = LoopThread("doors")
        try:
            return self._thread.submit(self._open()).result(timeout_s)
        except BaseException:
            self.stop(0)
            raise

    async def _open(self) -> DoorAddresses:
        http_port = int(self._sock.getsockname()[1])
        backend = await self._startup()
        if self._certificates is not None:
            self._following = asyncio.get_running_loop().create_task(self._certificates.follow())
            backend.watch(self._certificates.metrics)
            backend = replace(backend, degraded=_also(backend.degraded, self._certificates.problem))
        door = http_door(backend, self._max_body_bytes)
        if self._grpc_port is not None:
            self._grpc = await self._open_grpc(backend, self._grpc_port)
        self._http = HttpServer(
            door,
            self._sock,
            max_connections=self._max_connections,
            max_unfinished_bytes=self._max_unfinished_bytes,
            counts=backend.counts.http,
            max_client_share=self._max_client_share,
            wrap=self._wrap(backend, "http", HTTP1),
        )
        await self._http.start()
        own = bind("127.0.0.1", 0)
        self._own = HttpServer(NarrowDoor(door, HEALTH | METRICS), own)
        await self._own.start()
        if self._probe_port is not None:
            probes = bind(self._host, self._probe_port, reuse_port=self._reuse_port)
            self._probes = HttpServer(NarrowDoor(door, HEALTH), probes, max_connections=PROBE_CONNECTIONS, max_client_share=0.5)
            await self._probes.start()
        settle()
        return DoorAddresses(http_port, None if self._grpc is None else self._grpc.port, int(own.getsockname()[1]))

    async def _open_grpc(self, backend: DoorBackend, port: int) -> Http2Door:
        try:
            sock = bind(self._host, port, reuse_port=self._reuse_port)
        except OSError as problem:
            reason = os.strerror(problem.errno or 0)
            message = f"cannot listen on {self._host}:{port} for gRPC: {reason}; choose another port"
            raise OSError(problem.errno, message) from problem
        return await start_http2(
            backend.service,
            sock,
            max_body_bytes=self._max_body_bytes,
            max_connections=self._max_connections,
            max_unfinished_bytes=self._max_unfinished_bytes,
            admit=backend.admit,
            on_refused=backend.on_refused,
            counts=backend.counts.grpc,
            max_client_share=self._max_client_share,
            wrap=self._wrap(backend, "grpc", HTTP2),
            gate=backend.gate,
        )

    def _wrap(self, backend: DoorBackend, door: str, protocol: str) -> Wrap:
        """TLS before the connections of a door, if there is TLS."""
        certificates = self._certificates
        if certificates is None:
            return plain
        most = max(1, self._max_connections // UNFINISHED_SHARE)
        share = ClientShare(share_of(most, self._max_client_share))
        handshakes = Handshakes(door, most, asyncio.get_running_loop(), share)
        backend.watch(handshakes.metrics)

        def wrap(make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
            return lambda: TlsConnection(make, certificates.context(protocol), handshakes)

        return wrap

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._thread is not None

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run something on the doors' loop, where everything behind them lives."""
        if self._thread is None:
            raise RuntimeError("the listener is not running")
        return self._thread.submit(work)

    def retire(self) -> None:
        """Have HTTP clients connect anew with their next request, elsewhere if this replica is no longer chosen. gRPC clients are told by
        `stop`. On the doors' loop."""
        if self._http is not None:
            self._http.retire()

    def stop(self, grace_s: float = 5.0) -> None:
        """Close both doors, letting requests under way finish within grace_s; then run shutdown and end the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            self._sock.close()
            return
        try:
            thread.submit(self._close(grace_s)).result(grace_s + 30)
        finally:
            thread.close()
            self._sock.close()

    async def _close(self, grace_s: float) -> None:
        if self._following is not None:
            self._following.cancel()
        for together in ((self._http, self._grpc), (self._own, self._probes)):  # metrics and health stay readable until the end
            doors = [door.stop(grace_s) for door in together if door is not None]
            for outcome in await asyncio.gather(*doors, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    _log.error("a door did not close cleanly", exc_info=outcome)
        await self._shutdown()


def _also(lines: Callable[[], Sequence[str]], more: Callable[[], Sequence[str]]) -> Callable[[], Sequence[str]]:
    return lambda: (*lines(), *more())


def _affordable(connections: int, tls: TlsFiles | None) -> int:
    """Connections of a door: fewer if the process may not have as many files, of which unfinished handshakes take some."""
    unfinished = 0 if tls is None else connections // UNFINISHED_SHARE
    return max(1, min(connections, affordable_connections(connections + unfinished) - unfinished))
