"""HTTP/2 (RFC 9113) on asyncio, server side: frames, flow control, streams. The application interprets what the streams carry. It is
written for speed, which is the reason to have it: a request whose header block was seen before on its connection is one look-up, an answer
that fits the client's windows is one write of prepared bytes, and all that one packet brings is answered with one packet. Left out: server
push, priorities (read and ignored) and HTTP/1 upgrades. TLS is serving.doors.tls.transport's.

Here: a connection's life, from its greeting to its end. serving.doors.http2.incoming takes frames, serving.doors.http2.streams sends
answers."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from serving.doors.client_share import Client, ClientShare
from serving.doors.counts import CLIENT, CONNECTIONS, PROTOCOL, SLOW, DoorCounts
from serving.doors.http2.frames import (  # fmt: skip
    CALM,
    CANCEL,
    COMPRESSION,
    INTERNAL_ERROR,
    LARGEST_WINDOW,
    NO_ERROR,
    PING,
    SERVER_PREFACE,
    ProtocolFault,
    frame,
    goaway,
)
from serving.doors.http2.hpack import HpackError
from serving.doors.http2.incoming import GOAWAY_PING, RESETS, FrameReceiver
from serving.doors.http2.streams import Stream, StreamApplication
from serving.doors.slow_readers import PROGRESS_BYTES, WRITE_TIMEOUT_S, unread_bytes
from serving.doors.tls.transport import PEER

HEAD_TIMEOUT_S: Final = 30.0
"""How long a greeting, or the rest of a header block, may take to arrive."""
BODY_TIMEOUT_S: Final = 30.0
"""How long a request may take to arrive."""
RETIRE_S: Final = 1.0
"""For a connection that is asked to close: how long its client may take to acknowledge; then, to close."""
RESETS_PER_S: Final = 33.0
"""Cancelled calls that a client regains, of RESETS."""
CONTROL_PER_S: Final = 1000
"""Frames without requests that a client regains, of CONTROL_FRAMES."""
IDLE_S: Final = 900.0
"""A connection without a call for so long is asked to close. gRPC clients open another one with their next call."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Http2Connections:
    """The connections of one door. most: how many there may be; age_s: gives the age at which one is asked to go; share: how many each
    client address may have; counts: of the door."""

    most: int = 10_000
    age_s: Callable[[], float] | None = None
    share: ClientShare = field(default_factory=ClientShare)
    counts: DoorCounts = field(default_factory=lambda: DoorCounts("grpc"))
    known: "set[Http2Connection]" = field(default_factory=set)


class Http2Connection(FrameReceiver, asyncio.Protocol):
    """One client, one of `connections`."""

    def __init__(self, application: StreamApplication, connections: Http2Connections) -> None:
        super().__init__(application, asyncio.get_running_loop(), connections.counts)
        self._connections = connections
        self._client: Client = None
        self._watched: tuple[float, int] | None = None
        self._last_seen, self._idle_since = 0, self._loop.time()

    # ---- the transport's side

    def connection_made(self, transport: Any) -> None:
        """Send our settings."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # detects a client that vanished without closing
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = transport.get_extra_info(PEER)
        connections = self._connections
        self._client, is_within = connections.share.enter(transport)
        if len(connections.known) >= connections.most:
            self._counts.broken(CONNECTIONS)
            transport.abort()
            return
        connections.known.add(self)
        self._counts.open += 1
        self._waits_since = self._loop.time()
        self.retires_at = None if connections.age_s is None else self._waits_since + connections.age_s()
        transport.write(SERVER_PREFACE)
        if not is_within:
            self._fail(CALM, "this address has too many connections to this server; use open ones again", CLIENT)

    def connection_lost(self, _problem: Exception | None) -> None:
        """Cancel all calls: the client is gone."""
        connections = self._connections
        if self in connections.known:
            connections.known.discard(self)
            self._counts.open -= 1
        connections.share.leave(self._client)
        self._client = None
        self._is_leaving = True
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            self._free(stream)
            self._application.gone(stream)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        self._is_blocked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_blocked = False
        self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The client has closed its side: cancel all calls."""
        return False

    def data_received(self, data: bytes) -> None:
        """Take every whole frame, then send what that led to."""
        self._is_reading = True
        try:
            self._take(self._unparsed + data if self._unparsed else data)
        except ProtocolFault as fault:
            self._fail(fault.code, str(fault))
        except HpackError as problem:
            self._fail(COMPRESSION, str(problem))
        except Exception:
            _log.exception("an HTTP/2 connection failed")
            self._fail(INTERNAL_ERROR, "internal error")
        finally:
            self._is_reading = False
            if self._out:
                self.flush()

    # ---- for the application

    def retire(self) -> None:
        """Ask the client to close, as gracefully as the protocol allows (GOAWAY): requests that it sent before it read this are answered;
        then the connection ends."""
        if self.is_retired:
            return
        self.is_retired = True
        if not self._is_greeted:
            self._transport.close()
            return
        self._out.append(goaway(LARGEST_WINDOW, NO_ERROR) + frame(PING, 0, 0, 8) + GOAWAY_PING)
        self.flush()
        self._loop.call_later(RETIRE_S, self._send_last_goaway)

    def close(self) -> None:
        """End it, what is written is sent first."""
        self._transport.close()

    def sweep(self, now_s: float, passed_s: float) -> None:
        """End what has waited too long."""
        self._resets = min(float(RESETS), self._resets + RESETS_PER_S * passed_s)
        self._control = max(0, self._control - int(CONTROL_PER_S * passed_s))
        if (self._waits_since is not None and now_s - self._waits_since > HEAD_TIMEOUT_S) or self._reads_nothing(now_s):
            self._counts.broken(SLOW)
            self._transport.abort()
            return
        if self.streams or self._last != self._last_seen:
            self._last_seen, self._idle_since = self._last, now_s
        if (self.retires_at is not None and now_s > self.retires_at) or now_s - self._idle_since > IDLE_S:
            self.retire()
        for stream in list(self.streams.values()):
            if stream.queue and now_s - self._waits_from(stream) > WRITE_TIMEOUT_S:
                self._counts.broken(SLOW)
                self._stop_work(stream)
                self.reset(stream, CANCEL)
            elif not (stream.is_complete or stream.queue) and now_s - stream.since > BODY_TIMEOUT_S:
                self._application.too_slow(stream)

    def _reads_nothing(self, now_s: float) -> bool:
        """Whether what was written waits and its client has taken next to nothing of it for too long."""
        if not self._transport.get_write_buffer_size():
            self._watched = None
            return False
        taken = self._written_bytes - unread_bytes(self._transport)
        since, before = self._watched = self._watched or (now_s, taken)
        if now_s - since <= WRITE_TIMEOUT_S:
            return False
        self._watched = (now_s, taken)
        return taken < before + PROGRESS_BYTES

    def _waits_from(self, stream: Stream) -> float:
        """Since when its client has let next to nothing of it through. Where its own window is open it waits for its turn."""
        return stream.sent_at if stream.window <= 0 else max(stream.sent_at, self._passed_at)

    def _all_answered(self) -> None:
        if self._is_leaving:
            self._loop.call_later(RETIRE_S, self._transport.close)

    def _send_last_goaway(self) -> None:
        """Answer the streams so far; refuse later ones."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._out.append(goaway(self._last, NO_ERROR))
        if not self._is_reading:
            self.flush()
        if not self.streams:
            self._all_answered()

    def _fail(self, code: int, why: str, reason: str = PROTOCOL) -> None:
        self._counts.broken(reason)
        self._is_leaving = True
        self._unparsed = b""
        self._out.append(goaway(self._last, code, why.encode()))
        self.flush()
        self._transport.close()
