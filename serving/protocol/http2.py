"""HTTP/2 (RFC 9113) on asyncio, server side: frames, flow control, streams. What the streams carry is the application's.

As fast as Python allows, because that is why it is here: a request whose header block has been seen before on its connection is
one look-up, an answer that fits the client's windows is one write of prepared bytes, and all that one packet brings is
answered with one packet. Left out: server push, priorities (read and ignored), TLS and HTTP/1 upgrades (a proxy's)."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from serving.protocol.hpack import Decoder, Field, HpackError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME: Final = 16_384
"""Largest frame that we take; the protocol's default."""
STREAM_WINDOW: Final = 1 << 20
"""What a client may send on one stream before we say more."""
CONNECTION_WINDOW: Final = 16 << 20
MAX_STREAMS: Final = 1024
"""Calls at once on one connection."""
HEAD_TIMEOUT_S: Final = 30.0
"""How long a greeting, or the rest of a header block, may take to arrive."""
BODY_TIMEOUT_S: Final = 30.0
"""How long a request may take to arrive."""
STALLED_S: Final = 60.0
"""A client that has asked and lets no answer through for this long is given up."""
RETIRE_S: Final = 1.0
"""A connection that is asked to go: how long its client may take to say that it has heard; then, to close."""
RESETS: Final = 1000
"""Calls that a client may cancel before they are answered, at once; it regains RESETS_PER_S. Opening and cancelling in a loop
costs a client nothing and a server a call each (CVE-2023-44487)."""
RESETS_PER_S: Final = 33.0

REMEMBERED: Final = 64
"""Header blocks remembered of one connection."""

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(10)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE = 0x0, 0x1, 0x2, 0x3, 0x5, 0x6
REFUSED_STREAM, CANCEL, COMPRESSION, CALM = 0x7, 0x8, 0x9, 0xB
_LARGEST_WINDOW: Final = (1 << 31) - 1
_MORE_AT: Final = 512 * 1024
_LEAVING: Final = b"vedette!"

_log = logging.getLogger(__name__)


class Fault(Exception):
    """The client broke the protocol. stream: the one it concerns, 0 for the whole connection."""

    def __init__(self, code: int, why: str, stream: int = 0) -> None:
        super().__init__(why)
        self.code, self.stream = code, stream


class Application(Protocol):
    """What answers streams. Its methods run on the connection's loop and must not wait."""

    max_bytes: int
    """Largest request; held_bytes: of all unfinished requests of a connection together."""
    held_bytes: int

    def head(self, fields: list[Field]) -> Any:
        """What a request's fields mean: kept and given again for equal ones. Raises Fault for what is malformed."""

    def opened(self, stream: "Stream") -> None:
        """Its head has come, its body has not."""

    def arrived(self, stream: "Stream") -> None:
        """More of the body of a stream whose `is_flowing` is set."""

    def complete(self, stream: "Stream") -> None:
        """Everything has come."""

    def too_large(self, stream: "Stream") -> None:
        """The body is over the limit; no more of it is kept."""

    def too_slow(self, stream: "Stream") -> None:
        """The body did not come in time."""

    def gone(self, stream: "Stream") -> None:
        """The client does not want the answer any more."""


class Stream:
    """A request and its answer. body: what has come. state: the application's own. is_flowing: it takes the body in parts."""

    __slots__ = (
        "body",
        "connection",
        "head",
        "is_complete",
        "is_flowing",
        "number",
        "queue",
        "since",
        "state",
        "taken",
        "window",
    )

    def __init__(self, connection: "Connection", number: int, head: Any, window: int) -> None:
        self.connection, self.number, self.head, self.window = connection, number, head, window
        self.body: bytes | bytearray = b""
        self.is_complete = self.is_flowing = False
        self.state: Any = None
        self.taken = 0
        self.queue: list[tuple[bytes, bytes, bool]] = []
        self.since = 0.0

    @property
    def is_open(self) -> bool:
        """An answer can still be sent."""
        return self.number in self.connection.streams


class Connection(asyncio.Protocol):
    """One client. retires_at: loop time at which it is asked to go; None: never."""

    def __init__(self, application: Application, known: set["Connection"], age_s: Callable[[], float] | None = None) -> None:
        self.streams: dict[int, Stream] = {}
        self.is_retired = False
        self._application, self._known, self._age_s = application, known, age_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # comes with connection_made
        self._decoder = Decoder()
        self._heads: dict[bytes, Any] = {}
        self._left = b""
        self._out: list[bytes] = []
        self._is_reading = self._is_greeted = self._is_leaving = False
        self._block: tuple[int, int, bytearray] | None = None
        self._last = 0
        self._forgotten: dict[int, None] = {}
        self._window = self._first_window = 65_535
        self._frame = MAX_FRAME
        self._taken = self._held = 0
        self._resets = float(RESETS)
        self._waits_since: float | None = None

    # ---- the transport's side

    def connection_made(self, transport: Any) -> None:
        """Say what we take."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client that vanished without a word is found
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._known.add(self)
        self._waits_since = self._loop.time()
        self.retires_at = None if self._age_s is None else self._waits_since + self._age_s()
        transport.write(_HELLO)

    def connection_lost(self, _problem: Exception | None) -> None:
        """Nobody is there to answer."""
        self._known.discard(self)
        self._is_leaving = True
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            self._application.gone(stream)

    def pause_writing(self) -> None:
        """A client that does not read is not read either."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._transport.resume_reading()

    def eof_received(self) -> bool:
        """It has closed its side; there is nobody to answer."""
        return False

    def data_received(self, data: bytes) -> None:
        """Take every whole frame, then send what that led to."""
        self._is_reading = True
        try:
            self._take(self._left + data if self._left else data)
        except Fault as fault:
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

    def send(self, stream: Stream, head: bytes, data: bytes, tail: bytes, *, is_last: bool = False) -> None:
        """Answer: a header block, data, a block of trailers; each may be empty. Trailers, or is_last, end the answer."""
        number = stream.number
        if number not in self.streams:
            return
        size, is_over = len(data), is_last or bool(tail)
        if head:
            self._block_out(number, head, is_end=is_last and not size and not tail)
        if size or not head:
            if not stream.queue and size <= stream.window and size <= self._window and size <= self._frame:
                self._window -= size
                stream.window -= size
                if size or (is_last and not tail):
                    self._out.append(_frame(_DATA, _END_STREAM if is_last and not tail else 0, number, size) + data)
                if tail:
                    self._block_out(number, tail, is_end=True)
            else:
                stream.queue.append((data, tail, is_last))
                stream.since = self._loop.time()
                self._pump(stream)
                is_over = is_over and not stream.queue
        elif tail:
            self._block_out(number, tail, is_end=True)
        if is_over:
            self._answered(stream)
        if not self._is_reading:
            self.flush()

    def reset(self, stream: Stream, code: int) -> None:
        """Give a stream up."""
        self._drop(stream)
        self._out.append(_frame(_RST_STREAM, 0, stream.number, 4) + code.to_bytes(4, "big"))
        if not self._is_reading:
            self.flush()

    def consumed(self, size: int) -> None:
        """The application has taken so much out of a flowing stream's body."""
        self._held -= size

    def flush(self) -> None:
        """Send what is waiting, in one write."""
        out, self._out = self._out, []
        if not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def retire(self) -> None:
        """Ask the client to go, as gracefully as the protocol knows: it is told, and what it has sent until it heard is
        answered; then the connection ends."""
        if self.is_retired:
            return
        self.is_retired = True
        if not self._is_greeted:
            self._transport.close()
            return
        self._out.append(_goaway(_LARGEST_WINDOW, NO_ERROR) + _frame(_PING, 0, 0, 8) + _LEAVING)
        self.flush()
        self._loop.call_later(RETIRE_S, self._leave)

    def close(self) -> None:
        """End it, what is written is sent first."""
        self._transport.close()

    def sweep(self, now_s: float, passed_s: float) -> None:
        """Look for what has waited too long."""
        self._resets = min(float(RESETS), self._resets + RESETS_PER_S * passed_s)
        if self._waits_since is not None and now_s - self._waits_since > HEAD_TIMEOUT_S:
            self._transport.abort()
            return
        if self.retires_at is not None and now_s > self.retires_at:
            self.retire()
        for stream in list(self.streams.values()):
            if stream.queue and now_s - stream.since > STALLED_S:
                self._application.gone(stream)
                self.reset(stream, CANCEL)
            elif not (stream.is_complete or stream.is_flowing or stream.queue) and now_s - stream.since > BODY_TIMEOUT_S:
                self._application.too_slow(stream)

    # ---- frames in

    def _take(self, data: bytes) -> None:  # noqa: PLR0912  # flat: it is the hot loop
        """Every call in here is paid by each request."""
        at, size = 0, len(data)
        if not self._is_greeted:
            if not data.startswith(PREFACE):
                self._left = data
                if not PREFACE.startswith(data):
                    if data.startswith(_HTTP1):
                        self._transport.write(_NOT_HTTP2)
                    self._transport.close()
                return
            at, self._is_greeted, self._waits_since = len(PREFACE), True, None
        while size - at >= 9:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > MAX_FRAME:
                raise Fault(FRAME_SIZE, f"a frame of {length} bytes, at most {MAX_FRAME} are taken")
            end = at + 9 + length
            if end > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : at + 9], "big") & _LARGEST_WINDOW
            payload = data[at + 9 : end]
            at = end
            if self._block is not None and (kind != _CONTINUATION or number != self._block[0]):
                raise Fault(PROTOCOL_ERROR, "a header block is interrupted")
            try:
                if kind == _DATA:
                    self._data(flags, number, payload)
                elif kind == _HEADERS:
                    self._headers(flags, number, payload)
                else:
                    self._other(kind, flags, number, payload)
            except Fault as fault:
                if not fault.stream:
                    raise
                self._spoiled(fault)
        self._left = data[at:] if at < size else b""

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & (_PADDED | _HAS_PRIORITY):
            payload = _unpadded(payload) if flags & _PADDED else payload
            if flags & _HAS_PRIORITY:
                if len(payload) < 5:
                    raise Fault(FRAME_SIZE, "a priority is cut off")
                if int.from_bytes(payload[:4], "big") & _LARGEST_WINDOW == number:
                    raise Fault(PROTOCOL_ERROR, "a stream depends on itself")
                payload = payload[5:]
        if not number & 1:
            raise Fault(PROTOCOL_ERROR, f"clients do not open stream {number}")
        if not flags & _END_HEADERS:
            self._block = (number, flags, bytearray(payload))
            self._waits_since = self._loop.time()
            return
        self._opened(number, flags, payload)

    def _opened(self, number: int, flags: int, block: bytes) -> None:
        is_end = bool(flags & _END_STREAM)
        if number <= self._last:
            self._trailers(number, block, is_end=is_end)
            return
        self._last = number
        head = self._heads.get(block)
        if head is None:
            before = self._decoder.generation
            fields = self._decoder.decode(block)
            try:
                head = self._application.head(fields)
            except Fault as fault:
                raise Fault(fault.code, str(fault), number) from None
            finally:
                if self._decoder.generation != before or len(self._heads) >= REMEMBERED:
                    self._heads.clear()
            if self._decoder.generation == before:  # else the same bytes would mean something else the next time
                self._heads[block] = head
        if self._is_leaving:  # its client has been told that this one is not answered, and sends it elsewhere
            self._forgotten[number] = None
            return
        if len(self.streams) >= MAX_STREAMS:
            raise Fault(REFUSED_STREAM, "too many calls at once on one connection", number)
        stream = self.streams[number] = Stream(self, number, head, self._first_window)
        if is_end:
            stream.is_complete = True
            self._application.opened(stream)
            if number in self.streams:
                self._application.complete(stream)
            return
        stream.since = self._loop.time()
        self._application.opened(stream)

    def _trailers(self, number: int, block: bytes, *, is_end: bool) -> None:
        fields = self._decoder.decode(block)
        stream = self.streams.get(number)
        if stream is None:
            if number in self._forgotten:
                return
            raise Fault(STREAM_CLOSED, f"stream {number} is closed")
        if stream.is_complete:
            raise Fault(STREAM_CLOSED, f"stream {number} was ended by its client", number)
        if not is_end or any(name[:1] == b":" or name.lower() != name for name, _ in fields):
            raise Fault(PROTOCOL_ERROR, "malformed trailers", number)
        self._ended(stream)

    def _data(self, flags: int, number: int, payload: bytes) -> None:  # noqa: PLR0912  # flat: it is in the hot loop
        size = len(payload)
        self._taken += size
        if self._taken > _MORE_AT:
            self._out.append(_window_update(0, self._taken))
            self._taken = 0
        if flags & _PADDED:
            payload = _unpadded(payload)
        stream = self.streams.get(number)
        if stream is None:
            if number == 0 or number > self._last:
                raise Fault(PROTOCOL_ERROR, f"data on stream {number}, which is not open")
            if number in self._forgotten:
                return
            raise Fault(STREAM_CLOSED, f"stream {number} is closed", number)
        if stream.is_complete:
            raise Fault(STREAM_CLOSED, f"stream {number} was ended by its client", number)
        body = stream.body
        if not body:
            stream.body = payload
        elif type(body) is bytearray:
            body += payload
        else:
            stream.body = bytearray(body) + payload
        self._held += len(payload)
        if len(stream.body) > self._application.max_bytes or self._held > self._application.held_bytes:
            self._application.too_large(stream)
            return
        if flags & _END_STREAM:
            self._ended(stream)
            return
        stream.taken += size
        if stream.taken > STREAM_WINDOW // 2:
            self._out.append(_window_update(number, stream.taken))
            stream.taken = 0
        if stream.is_flowing:
            self._application.arrived(stream)

    def _ended(self, stream: Stream) -> None:
        stream.is_complete = True
        self._held -= len(stream.body)
        self._application.complete(stream)

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:  # noqa: PLR0912  # one line a kind
        size = len(payload)
        if kind == _WINDOW_UPDATE:
            self._widened(number, payload)
        elif kind == _PING:
            if size != 8 or number:
                raise Fault(PROTOCOL_ERROR if number else FRAME_SIZE, "a malformed ping")
            if not flags & _ACK:
                self._out.append(_frame(_PING, _ACK, 0, 8) + payload)
            elif payload == _LEAVING and self.is_retired:
                self._leave()
        elif kind == _SETTINGS:
            self._settings(flags, number, payload)
        elif kind == _RST_STREAM:
            self._was_reset(number, size)
        elif kind == _CONTINUATION:
            self._continuation(flags, payload)
        elif kind == _PRIORITY:
            if not number:
                raise Fault(PROTOCOL_ERROR, "a priority of no stream")
            if size != 5:
                raise Fault(FRAME_SIZE, "a malformed priority", number)
            if int.from_bytes(payload[:4], "big") & _LARGEST_WINDOW == number:
                raise Fault(PROTOCOL_ERROR, "a stream depends on itself", number)
        elif kind == _GOAWAY:
            if number:
                raise Fault(PROTOCOL_ERROR, "a goodbye on a stream")
        elif kind == _PUSH:
            raise Fault(PROTOCOL_ERROR, "clients do not push")

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Fault(PROTOCOL_ERROR, "a continuation of nothing")
        number, first_flags, block = self._block
        block += payload
        if len(block) > 2 * MAX_FRAME or (not payload and not flags & _END_HEADERS):
            raise Fault(CALM, "a header block is too long")
        if flags & _END_HEADERS:
            self._block = self._waits_since = None
            self._opened(number, first_flags, bytes(block))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Fault(PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & _ACK and payload):
            raise Fault(FRAME_SIZE, "malformed settings")
        for at in range(0, len(payload), 6):
            name, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if name == 2 and value > 1:
                raise Fault(PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
            if name == 4:
                if value > _LARGEST_WINDOW:
                    raise Fault(FLOW_CONTROL, f"INITIAL_WINDOW_SIZE is {value}")
                self._rewindow(value)
            if name == 5:
                if not MAX_FRAME <= value < 1 << 24:
                    raise Fault(PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {value}")
                self._frame = value
        if not flags & _ACK:
            self._out.append(_frame(_SETTINGS, _ACK, 0, 0))
            for stream in [stream for stream in self.streams.values() if stream.queue]:
                self._pump(stream)

    def _rewindow(self, value: int) -> None:
        change, self._first_window = value - self._first_window, value
        for stream in self.streams.values():
            stream.window += change
            if stream.window > _LARGEST_WINDOW:
                raise Fault(FLOW_CONTROL, "a window is too large")

    def _widened(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fault(FRAME_SIZE, "a malformed window update")
        more = int.from_bytes(payload, "big") & _LARGEST_WINDOW
        if not number:
            if not more:
                raise Fault(PROTOCOL_ERROR, "a window update by 0")
            self._window += more
            if self._window > _LARGEST_WINDOW:
                raise Fault(FLOW_CONTROL, "the connection's window is too large")
            for stream in [stream for stream in self.streams.values() if stream.queue]:
                self._pump(stream)
            return
        if number > self._last:
            raise Fault(PROTOCOL_ERROR, f"a window of stream {number}, which is not open")
        if not more:
            raise Fault(PROTOCOL_ERROR, "a window update by 0", number)
        found = self.streams.get(number)
        if found is not None:
            found.window += more
            if found.window > _LARGEST_WINDOW:
                raise Fault(FLOW_CONTROL, "a stream's window is too large", number)
            self._pump(found)

    def _was_reset(self, number: int, size: int) -> None:
        if size != 4:
            raise Fault(FRAME_SIZE, "a malformed reset")
        if number == 0 or number > self._last:
            raise Fault(PROTOCOL_ERROR, f"a reset of stream {number}, which is not open")
        stream = self.streams.get(number)
        if stream is None:
            return
        self._resets -= 1
        if self._resets < 0:
            raise Fault(CALM, "too many calls are cancelled")
        self._drop(stream)
        del self._forgotten[number]  # it said itself that nothing more comes
        self._application.gone(stream)

    # ---- frames out

    def _block_out(self, number: int, block: bytes, *, is_end: bool) -> None:
        flags = _END_STREAM if is_end else 0
        if len(block) <= self._frame:
            self._out.append(_frame(_HEADERS, flags | _END_HEADERS, number, len(block)) + block)
            return
        parts = [block[at : at + self._frame] for at in range(0, len(block), self._frame)]
        for index, part in enumerate(parts):
            kind, more = (_HEADERS, flags) if index == 0 else (_CONTINUATION, 0)
            end = _END_HEADERS if index + 1 == len(parts) else 0
            self._out.append(_frame(kind, more | end, number, len(part)) + part)

    def _pump(self, stream: Stream) -> None:
        """Send of a stream's queue what its client's windows allow."""
        while stream.queue:
            data, tail, is_last = stream.queue[0]
            at, size = 0, len(data)
            while at < size:
                part = min(size - at, self._frame, stream.window, self._window)
                if part <= 0:
                    stream.queue[0] = (data[at:], tail, is_last)
                    return
                self._window -= part
                stream.window -= part
                at += part
                is_end = is_last and not tail and at == size
                self._out.append(_frame(_DATA, _END_STREAM if is_end else 0, stream.number, part) + data[at - part : at])
                stream.since = self._loop.time()
            if not size and is_last and not tail:
                self._out.append(_frame(_DATA, _END_STREAM, stream.number, 0))
            if tail:
                self._block_out(stream.number, tail, is_end=True)
            stream.queue.pop(0)
            if tail or is_last:
                self._answered(stream)

    def _answered(self, stream: Stream) -> None:
        if not stream.is_complete:  # the rest of the request is not wanted
            self._out.append(_frame(_RST_STREAM, 0, stream.number, 4) + b"\0\0\0\0")
            self._drop(stream)
            return
        self.streams.pop(stream.number, None)
        if self._is_leaving and not self.streams:
            self._loop.call_later(RETIRE_S, self._transport.close)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream of which more may still come."""
        if self.streams.pop(stream.number, None) is None:
            return
        if not stream.is_complete:
            self._held -= len(stream.body)
        stream.queue.clear()
        self._forgotten[stream.number] = None
        if len(self._forgotten) > MAX_STREAMS:
            del self._forgotten[next(iter(self._forgotten))]
        if self._is_leaving and not self.streams:
            self._loop.call_later(RETIRE_S, self._transport.close)

    def _leave(self) -> None:
        """What has come until now is answered, nothing more."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._out.append(_goaway(self._last, NO_ERROR))
        if not self._is_reading:
            self.flush()
        if not self.streams:
            self._loop.call_later(RETIRE_S, self._transport.close)

    def _spoiled(self, fault: Fault) -> None:
        stream = self.streams.get(fault.stream)
        if stream is not None:
            self._drop(stream)
            self._application.gone(stream)
        self._out.append(_frame(_RST_STREAM, 0, fault.stream, 4) + fault.code.to_bytes(4, "big"))

    def _fail(self, code: int, why: str) -> None:
        self._is_leaving = True
        self._left = b""
        self._out.append(_goaway(self._last, code, why.encode()))
        self.flush()
        self._transport.close()


def _frame(kind: int, flags: int, number: int, size: int) -> bytes:
    """A frame's first nine bytes."""
    return (size << 48 | kind << 40 | flags << 32 | number).to_bytes(9, "big")


def _goaway(last: int, code: int, why: bytes = b"") -> bytes:
    return _frame(_GOAWAY, 0, 0, 8 + len(why)) + last.to_bytes(4, "big") + code.to_bytes(4, "big") + why


def _window_update(number: int, more: int) -> bytes:
    return _frame(_WINDOW_UPDATE, 0, number, 4) + more.to_bytes(4, "big")


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Fault(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


_OURS: Final = _setting(3, MAX_STREAMS) + _setting(4, STREAM_WINDOW) + _setting(6, 64 * 1024)
_HELLO: Final = _frame(_SETTINGS, 0, 0, len(_OURS)) + _OURS + _window_update(0, CONNECTION_WINDOW - 65_535)
_HTTP1: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ")
_SAID: Final = b"this port speaks gRPC over HTTP/2; plain HTTP has a port of its own"
_NOT_HTTP2: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
) % (len(_SAID), _SAID)
