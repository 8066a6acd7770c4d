"""What a client sends over HTTP/2 (RFC 9113): frames taken apart, flow control of requests, streams opened and ended.

A request whose header block has been seen before on its connection is one look-up. Every function call in here costs each request."""

import asyncio
from abc import abstractmethod
from typing import Any, Final

from serving.doors.counts import PROTOCOL, DoorCounts
from serving.doors.http2.frames import (  # fmt: skip
    ACK,
    CALM,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    HTTP1,
    INITIAL_WINDOW,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    MAX_FRAME,
    MAX_STREAMS,
    NOT_HTTP2,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    STREAM_WINDOW,
    WINDOW_UPDATE,
    ProtocolFault,
    ended,
    frame,
    read_settings,
    unpadded,
    window_update,
)
from serving.doors.http2.hpack import HeaderDecoder
from serving.doors.http2.streams import FrameSender, Stream, StreamApplication

RESETS: Final = 1000
"""Burst of calls that a client may cancel or break before they are answered. Opening and cancelling calls is cheap for a client and costs
the server a call each (CVE-2023-44487, CVE-2025-8671). Settings concern every stream and count the same."""
CONTROL_FRAMES: Final = 10_000
"""Burst of frames that carry no request: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA. Each costs the server more than its client
(CVE-2019-9511 to 9518)."""
CONTROL_PER_CALL: Final = 16
"""Such frames that a call entitles its client to besides: updates of windows, pings that measure the bandwidth."""
REMEMBERED: Final = 64
"""Header blocks remembered of one connection, none longer than MAX_REMEMBERED bytes."""
MAX_REMEMBERED: Final = 2048
GOAWAY_PING: Final = b"vedette!"
"""Payload of the ping that asks whether a client has read our GOAWAY."""
_MORE_AT: Final = 512 * 1024


class FrameReceiver(FrameSender):
    """The receiving half of a connection."""

    def __init__(self, application: StreamApplication, loop: asyncio.AbstractEventLoop, counts: DoorCounts) -> None:
        super().__init__(loop)
        self.is_retired = False
        self._application = application
        self._decoder = HeaderDecoder()
        self._heads: dict[bytes, Any] = {}
        self._unparsed = b""
        self._is_greeted = self._is_leaving = False
        self._header_block: tuple[int, int, bytearray] | None = None
        self._forgotten: dict[int, None] = {}
        self._taken = 0
        self._resets = float(RESETS)
        self._counts = counts
        self._control = 0
        self._most_control = CONTROL_FRAMES
        self._waits_since: float | None = None

    def consumed(self, stream: Stream, size: int) -> None:
        """The application has taken so much out of a streaming call's body."""
        size = min(size, stream.held)
        stream.held -= size
        self._application.room_bytes += size

    def _take(self, data: bytes) -> None:  # noqa: PLR0912  # flat: it is the hot loop
        """Every call in here is paid by each request."""
        at, size = 0, len(data)
        if not self._is_greeted:
            if not data.startswith(PREFACE):
                self._unparsed = data
                if not PREFACE.startswith(data):
                    if data.startswith(HTTP1):
                        self._transport.write(NOT_HTTP2)
                    self._counts.broken(PROTOCOL)
                    self._transport.close()
                return
            at, self._is_greeted, self._waits_since = len(PREFACE), True, None
        while size - at >= 9:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > MAX_FRAME:
                raise ProtocolFault(FRAME_SIZE, f"a frame has {length} bytes, at most {MAX_FRAME} are accepted")
            end = at + 9 + length
            if end > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : at + 9], "big") & LARGEST_WINDOW
            payload = data[at + 9 : end]
            at = end
            if self._header_block is not None and (kind != CONTINUATION or number != self._header_block[0]):
                raise ProtocolFault(PROTOCOL_ERROR, "another frame interrupts a header block")
            try:
                if kind == DATA:
                    self._data(flags, number, payload)
                elif kind == HEADERS:
                    self._headers(flags, number, payload)
                else:
                    self._other(kind, flags, number, payload)
            except ProtocolFault as fault:
                if not fault.stream:
                    raise
                self._stream_failed(fault)
        self._unparsed = data[at:] if at < size else b""

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & (PADDED | HAS_PRIORITY):
            payload = unpadded(payload) if flags & PADDED else payload
            if flags & HAS_PRIORITY:
                if len(payload) < 5:
                    raise ProtocolFault(FRAME_SIZE, "the priority fields of a HEADERS frame are incomplete")
                if int.from_bytes(payload[:4], "big") & LARGEST_WINDOW == number:
                    raise ProtocolFault(PROTOCOL_ERROR, "a stream depends on itself")
                payload = payload[5:]
        if not number & 1:
            raise ProtocolFault(PROTOCOL_ERROR, f"clients open streams with odd numbers only, not stream {number}")
        if not flags & END_HEADERS:
            self._header_block = (number, flags, bytearray(payload))
            self._waits_since = self._loop.time()
            return
        self._opened(number, flags, payload)

    def _opened(self, number: int, flags: int, block: bytes) -> None:
        is_end = bool(flags & END_STREAM)
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
            except ProtocolFault as fault:
                raise ProtocolFault(fault.code, str(fault), number) from None
            finally:
                if self._decoder.generation != before or len(self._heads) >= REMEMBERED:
                    self._heads.clear()
            if (
                self._decoder.generation == before and len(block) <= MAX_REMEMBERED
            ):  # else the bytes mean something else next time
                self._heads[block] = head
        if self._is_leaving:  # after GOAWAY: its client knows that this one is not answered, and sends it elsewhere
            self._forget(number)
            return
        if len(self.streams) >= MAX_STREAMS:
            raise ProtocolFault(REFUSED_STREAM, "the connection has too many calls open", number)
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
            raise ProtocolFault(STREAM_CLOSED, f"stream {number} is closed")
        if stream.is_complete:
            raise ProtocolFault(STREAM_CLOSED, f"stream {number} was ended by its client", number)
        if not is_end or any(name[:1] == b":" or name.lower() != name for name, _ in fields):
            raise ProtocolFault(PROTOCOL_ERROR, "malformed trailers", number)
        self._ended(stream)

    def _data(self, flags: int, number: int, payload: bytes) -> None:  # noqa: PLR0912  # flat: it is in the hot loop
        size = len(payload)
        self._taken += size
        if self._taken > _MORE_AT:
            self._out.append(window_update(0, self._taken))
            self._taken = 0
        if flags & PADDED:
            payload = unpadded(payload)
        stream = self.streams.get(number)
        if stream is None:
            if number == 0 or number > self._last:
                raise ProtocolFault(PROTOCOL_ERROR, f"a DATA frame on stream {number}, which is not open")
            if number in self._forgotten:
                return
            raise ProtocolFault(STREAM_CLOSED, f"stream {number} is closed", number)
        if stream.is_complete:
            raise ProtocolFault(STREAM_CLOSED, f"stream {number} was ended by its client", number)
        body = stream.body
        if not size and not flags & END_STREAM:
            self._control += 1
            self._check_control()
        if not body:
            stream.body = payload
        elif type(body) is bytearray:
            body += payload
        else:
            stream.body = bytearray(body) + payload
        kept = len(payload)
        stream.held += kept
        application = self._application
        application.room_bytes -= kept
        if len(stream.body) > application.max_bytes or application.room_bytes < 0:
            application.too_large(stream)
            return
        if flags & END_STREAM:
            self._ended(stream)
            return
        stream.taken += size
        if stream.taken > STREAM_WINDOW // 2:
            self._out.append(window_update(number, stream.taken))
            stream.taken = 0
        if stream.is_streaming:
            self._application.arrived(stream)

    def _ended(self, stream: Stream) -> None:
        stream.is_complete = True
        if not stream.is_streaming:
            self._free(stream)
        self._application.complete(stream)

    def _stop_work(self, stream: Stream) -> None:
        """See FrameSender."""
        self._application.gone(stream)

    def _free(self, stream: Stream) -> None:
        """See FrameSender."""
        self._application.room_bytes += stream.held
        stream.held = 0

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:  # noqa: PLR0912  # one line a kind
        size = len(payload)
        self._control += 1
        if self._control > self._most_control:
            self._check_control()
        if kind == WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == PING:
            if size != 8 or number:
                raise ProtocolFault(PROTOCOL_ERROR if number else FRAME_SIZE, "a malformed PING frame")
            if not flags & ACK:
                self._out.append(frame(PING, ACK, 0, 8) + payload)
            elif payload == GOAWAY_PING and self.is_retired:
                self._send_last_goaway()
        elif kind == SETTINGS:
            self._settings(flags, number, payload)
        elif kind == RST_STREAM:
            self._was_reset(number, size)
        elif kind == CONTINUATION:
            self._continuation(flags, payload)
        elif kind == PRIORITY:
            if not number:
                raise ProtocolFault(PROTOCOL_ERROR, "a PRIORITY frame on stream 0")
            if size != 5:
                raise ProtocolFault(FRAME_SIZE, "a malformed PRIORITY frame", number)
            if int.from_bytes(payload[:4], "big") & LARGEST_WINDOW == number:
                raise ProtocolFault(PROTOCOL_ERROR, "a stream depends on itself", number)
        elif kind == GOAWAY:
            if number:
                raise ProtocolFault(PROTOCOL_ERROR, "a GOAWAY frame on a stream")
        elif kind == PUSH:
            raise ProtocolFault(PROTOCOL_ERROR, "clients must not push")

    def _check_control(self) -> None:
        """End a connection that floods. What its calls entitle it to is counted only when it matters."""
        if self._control > self._most_control + CONTROL_PER_CALL * (self._last >> 1):
            raise ProtocolFault(CALM, "too many frames without requests")

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._header_block is None:
            raise ProtocolFault(PROTOCOL_ERROR, "a CONTINUATION frame without a header block")
        number, first_flags, block = self._header_block
        block += payload
        if len(block) > 2 * MAX_FRAME or (not payload and not flags & END_HEADERS):
            raise ProtocolFault(CALM, "a header block is too long")
        if flags & END_HEADERS:
            self._header_block = self._waits_since = None
            self._opened(number, first_flags, bytes(block))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ProtocolFault(PROTOCOL_ERROR, "a SETTINGS frame on a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ProtocolFault(FRAME_SIZE, "malformed settings")
        if flags & ACK:
            return
        self._spend("SETTINGS frames are sent too often")
        settings = dict(read_settings(payload))  # of a value sent several times the last counts: each would touch every stream
        self._frame = settings.get(LARGEST_FRAME, self._frame)
        if INITIAL_WINDOW in settings:
            self._initial_window_changed(settings[INITIAL_WINDOW])
        self._out.append(frame(SETTINGS, ACK, 0, 0))
        for stream in [stream for stream in self.streams.values() if stream.queue]:
            self._pump(stream)

    def _was_reset(self, number: int, size: int) -> None:
        if size != 4:
            raise ProtocolFault(FRAME_SIZE, "a malformed RST_STREAM frame")
        if number == 0 or number > self._last:
            raise ProtocolFault(PROTOCOL_ERROR, f"an RST_STREAM frame on stream {number}, which is not open")
        stream = self.streams.get(number)
        if stream is None:
            return
        self._abandon(stream)
        del self._forgotten[number]  # it said itself that nothing more comes

    def _abandon(self, stream: Stream) -> None:
        """Stop a call that its client cancelled, or broke so that it must be reset (CVE-2025-8671). Both count, because the work had
        begun."""
        self._spend("too many calls are cancelled")
        self._drop(stream)
        self._application.gone(stream)

    def _spend(self, why: str) -> None:
        self._resets -= 1
        if self._resets < 0:
            raise ProtocolFault(CALM, why)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream; more frames of it may still come."""
        if self.streams.pop(stream.number, None) is None:
            return
        self._free(stream)
        stream.queue.clear()
        self._waiting_for_window.pop(stream.number, None)
        self._forget(stream.number)
        if not self.streams:
            self._all_answered()

    def _forget(self, number: int) -> None:
        """Drop further frames of this stream silently, as long as it is among the last MAX_STREAMS forgotten ones."""
        self._forgotten[number] = None
        if len(self._forgotten) > MAX_STREAMS:
            del self._forgotten[next(iter(self._forgotten))]

    def _stream_failed(self, fault: ProtocolFault) -> None:
        self._counts.broken(PROTOCOL)
        stream = self.streams.get(fault.stream)
        if stream is not None:
            self._abandon(stream)
        self._out.append(ended(fault.stream, fault.code))

    @abstractmethod
    def _send_last_goaway(self) -> None:
        """What has come until now is answered, nothing more."""
