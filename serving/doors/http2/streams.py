"""HTTP/2's streams: a request and its answer, what answers them, and the half of a connection that sends.

serving.doors.http2.incoming receives."""

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from serving.access.credentials import ConnectionMemo, PeerCertificate
from serving.doors.http2.frames import (  # fmt: skip
    CALM,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    HEADERS,
    LARGEST_WINDOW,
    MAX_FRAME,
    NO_ERROR,
    PROTOCOL_ERROR,
    ProtocolFault,
    ended,
    frame,
)
from serving.doors.http2.hpack import Field
from serving.doors.requester import ClientConnection
from serving.doors.slow_readers import PROGRESS_BYTES

MAX_QUEUE: Final = 1000
"""Messages of one stream that wait for its client to take them."""
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of answers that may wait for the client of one connection. The first answer may be larger."""


class StreamApplication(Protocol):
    """What answers streams. Its methods run on the connection's loop and must not wait."""

    max_bytes: int
    """Largest request."""
    room_bytes: int
    """Bytes that the unfinished requests of all connections may still hold; the connections keep it up to date."""

    def head(self, fields: list[Field]) -> Any:
        """The head that a request's fields mean; it is reused for equal fields. Raises ProtocolFault if they are malformed."""

    def opened(self, stream: "Stream") -> None:
        """Its head has come, its body has not."""

    def arrived(self, stream: "Stream") -> None:
        """More of the body of a stream whose `is_streaming` is set."""

    def complete(self, stream: "Stream") -> None:
        """Everything has come."""

    def too_large(self, stream: "Stream") -> None:
        """The body is over the limit; no more of it is kept."""

    def too_slow(self, stream: "Stream") -> None:
        """The body did not come in time."""

    def gone(self, stream: "Stream") -> None:
        """The client does not want the answer any more."""


class Stream:
    """A request and its answer. body: what has come. state: the application's own. is_streaming: it takes the body in parts.

    window: what may be sent of the answer; queue: what must wait for it; drained: called when nothing waits any more. held: bytes
    of the room that its body takes. taken: bytes received since its client was last granted more. since: when the request (of one
    that flows: the message that is not whole yet) began to come, infinity if nothing is owed. sent_at: when its queue began to
    wait, or its client last took PROGRESS_BYTES of it; passed: bytes of it sent since."""

    __slots__ = (
        "body",
        "connection",
        "drained",
        "has_begun",
        "head",
        "held",
        "is_complete",
        "is_streaming",
        "number",
        "passed",
        "queue",
        "sent_at",
        "since",
        "state",
        "taken",
        "window",
    )

    def __init__(self, connection: "FrameSender", number: int, head: Any, window: int) -> None:
        self.connection, self.number, self.head, self.window = connection, number, head, window
        self.body: bytes | bytearray = b""
        self.is_complete = self.is_streaming = self.has_begun = False
        self.state: Any = None
        self.taken = self.held = self.passed = 0
        self.queue: list[tuple[bytes | memoryview, bytes, bool]] = []
        self.drained: Callable[[], None] | None = None
        self.since = self.sent_at = 0.0

    @property
    def is_open(self) -> bool:
        """An answer can still be sent."""
        return self.number in self.connection.streams


class FrameSender(ClientConnection, ABC):
    """The half of a connection that sends: answers, within the windows that its client grants."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.streams: dict[int, Stream] = {}
        self._loop = loop
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # comes with connection_made
        self._out: list[bytes] = []
        self._is_reading = self._is_blocked = False
        self._written_bytes = self._passed = 0
        self._passed_at = 0.0
        self.peer: PeerCertificate | None = None
        self.memo: ConnectionMemo | None = None
        self._last = 0
        self._waiting_for_window = OrderedDict[int, Stream]()
        """Streams that wait only for the connection's window."""
        self._window = self._first_window = 65_535
        self._frame = MAX_FRAME
        self._most_waiting = MAX_WAITING_BYTES
        """Bytes: the first answer that had to wait, and MAX_WAITING_BYTES."""

    def send(self, stream: Stream, head: bytes, data: bytes, tail: bytes, *, is_last: bool = False) -> None:
        """Answer: a header block, data, a block of trailers; each may be empty. Trailers, or is_last, end the answer."""
        number = stream.number
        if number not in self.streams:
            return
        size, is_over = len(data), is_last or bool(tail)
        if head:
            stream.has_begun = True
            self._block_out(number, head, is_end=is_last and not size and not tail)
        if size or not head:
            fits = not stream.queue and size <= stream.window and size <= self._window and size <= self._frame
            if (self._is_blocked or not fits) and not self._has_room(stream, size):
                self._refuse_answer(stream)
                return
            if fits:
                self._window -= size
                stream.window -= size
                if size or (is_last and not tail):
                    self._out.append(frame(DATA, END_STREAM if is_last and not tail else 0, number, size) + data)
                if tail:
                    self._block_out(number, tail, is_end=True)
            else:
                if not stream.queue:
                    stream.sent_at, stream.passed = self._loop.time(), 0
                stream.queue.append((data, tail, is_last))
                self._pump(stream)
                is_over = is_over and not stream.queue
        elif tail:
            self._block_out(number, tail, is_end=True)
        if is_over:
            self._answered(stream)
        if not self._is_reading:
            self.flush()

    def answer(self, stream: Stream, head: bytes, data: bytes, tail: bytes) -> None:
        """Send a whole answer: the usual one, which fits the windows, as one piece; any other as `send` does it."""
        number, size = stream.number, len(data)
        if not stream.is_complete or size > stream.window or size > self._window or size > self._frame or self._is_blocked:
            self.send(stream, head, data, tail)
            return
        if self.streams.pop(number, None) is None:
            return
        self._window -= size
        named = number.to_bytes(4, "big")
        opening = (len(head) << 16 | HEADERS << 8 | END_HEADERS).to_bytes(5, "big")
        middle = (size << 16 | DATA << 8).to_bytes(5, "big")
        end = (len(tail) << 16 | HEADERS << 8 | END_HEADERS | END_STREAM).to_bytes(5, "big")
        self._out.append(b"".join((opening, named, head, middle, named, data, end, named, tail)))
        if not self.streams:
            self._all_answered()
        if not self._is_reading:
            self.flush()

    def reset(self, stream: Stream, code: int) -> None:
        """Give a stream up."""
        self._drop(stream)
        self._out.append(ended(stream.number, code))
        if not self._is_reading:
            self.flush()

    def flush(self) -> None:
        """Send what is waiting, in one write."""
        out, self._out = self._out, []
        if not self._transport.is_closing():
            data = out[0] if len(out) == 1 else b"".join(out)
            self._written_bytes += len(data)
            self._transport.write(data)

    def _has_room(self, stream: Stream, size: int) -> bool:
        """Whether so much more may wait for the client."""
        if len(stream.queue) >= MAX_QUEUE:
            return False
        waiting = self._transport.get_write_buffer_size() if self._is_blocked else 0
        waiting += sum(map(len, self._out))  # of the packet that is being answered
        waiting += sum(len(data) for stream in self.streams.values() for data, _, _ in stream.queue)
        if waiting < MAX_FRAME:
            self._most_waiting = size + MAX_WAITING_BYTES
            return True
        return waiting + size <= self._most_waiting

    def _refuse_answer(self, stream: Stream) -> None:
        """Refuse this answer: the client asks for more than it reads."""
        self._stop_work(stream)
        self.reset(stream, CALM)

    def _note_progress(self, stream: Stream, size: int) -> None:
        """Count so many of the waiting bytes as sent."""
        stream.passed += size
        self._passed += size
        if stream.passed >= PROGRESS_BYTES:
            stream.sent_at, stream.passed = self._loop.time(), 0
        if self._passed >= PROGRESS_BYTES:
            self._passed_at, self._passed = self._loop.time(), 0

    def _block_out(self, number: int, block: bytes, *, is_end: bool) -> None:
        flags = END_STREAM if is_end else 0
        if len(block) <= self._frame:
            self._out.append(frame(HEADERS, flags | END_HEADERS, number, len(block)) + block)
            return
        parts = [block[at : at + self._frame] for at in range(0, len(block), self._frame)]
        for index, part in enumerate(parts):
            kind, more = (HEADERS, flags) if index == 0 else (CONTINUATION, 0)
            end = END_HEADERS if index + 1 == len(parts) else 0
            self._out.append(frame(kind, more | end, number, len(part)) + part)

    def _pump(self, stream: Stream) -> None:
        """Send of a stream's queue what its client's windows allow. A client may grant single bytes: nothing of the rest is copied."""
        while stream.queue:
            data, tail, is_last = stream.queue[0]
            at, size = 0, len(data)
            while at < size:
                part = min(size - at, self._frame, stream.window, self._window)
                if part <= 0:
                    stream.queue[0] = (memoryview(data)[at:], tail, is_last)
                    if stream.window > 0:
                        self._waiting_for_window[stream.number] = stream
                    return
                self._window -= part
                stream.window -= part
                at += part
                is_end = is_last and not tail and at == size
                self._out.append(frame(DATA, END_STREAM if is_end else 0, stream.number, part) + data[at - part : at])
                self._note_progress(stream, part)
            if not size and is_last and not tail:
                self._out.append(frame(DATA, END_STREAM, stream.number, 0))
            if tail:
                self._block_out(stream.number, tail, is_end=True)
            stream.queue.pop(0)
            if tail or is_last:
                self._answered(stream)
        if stream.drained is not None:
            stream.drained()

    def _answered(self, stream: Stream) -> None:
        if not stream.is_complete:  # the rest of the request is not needed
            self._out.append(ended(stream.number, NO_ERROR))
            self._drop(stream)
            return
        self.streams.pop(stream.number, None)
        self._free(stream)
        if not self.streams:
            self._all_answered()

    def _initial_window_changed(self, value: int) -> None:
        change, self._first_window = value - self._first_window, value
        for stream in self.streams.values():
            stream.window += change
            if stream.window > LARGEST_WINDOW:
                raise ProtocolFault(FLOW_CONTROL, "a window is too large")

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolFault(FRAME_SIZE, "a malformed WINDOW_UPDATE frame")
        more = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if not number:
            if not more:
                raise ProtocolFault(PROTOCOL_ERROR, "a WINDOW_UPDATE frame by 0")
            self._window += more
            if self._window > LARGEST_WINDOW:
                raise ProtocolFault(FLOW_CONTROL, "the connection's window is too large")
            while self._waiting_for_window and self._window > 0:
                self._pump(self._waiting_for_window.popitem(last=False)[1])
            return
        if number > self._last:
            raise ProtocolFault(PROTOCOL_ERROR, f"a WINDOW_UPDATE frame on stream {number}, which is not open")
        if not more:
            raise ProtocolFault(PROTOCOL_ERROR, "a WINDOW_UPDATE frame by 0", number)
        found = self.streams.get(number)
        if found is not None:
            found.window += more
            if found.window > LARGEST_WINDOW:
                raise ProtocolFault(FLOW_CONTROL, "a stream's window is too large", number)
            self._pump(found)

    @abstractmethod
    def consumed(self, stream: Stream, size: int) -> None:
        """The application has taken so much out of a streaming call's body."""

    @abstractmethod
    def _drop(self, stream: Stream) -> None:
        """Forget a stream of which more may still come."""

    @abstractmethod
    def _free(self, stream: Stream) -> None:
        """Give back the room that its body takes."""

    @abstractmethod
    def _stop_work(self, stream: Stream) -> None:
        """Stop the work for a stream that gets no answer."""

    @abstractmethod
    def _all_answered(self) -> None:
        """No stream is left."""
