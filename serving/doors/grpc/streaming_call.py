"""The state of one streaming call: messages as they come in, and answers that wait for the client's windows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from math import inf
from typing import Final

from serving.doors.grpc.wire import FRAME_BYTES, HEAD, framed, message_length, unpacked
from serving.doors.http2.streams import Stream
from serving.errors import TooLarge

CHECK_AGAIN_S: Final = 1.0
"""How often a streaming call that waits is held to the rights of its caller, as often as the files of the access policy are looked at."""
MAX_WAITING: Final = 1000
"""Messages of one streaming call that wait for their turn."""
MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Largest message of a streaming call: they are names."""


class _Inbox:
    """Messages of a streaming call, as they come. Messages that wait here count against the byte limit until they are taken."""

    def __init__(self, stream: Stream, encoding: bytes, now: Callable[[], float]) -> None:
        self._stream, self._encoding, self._now = stream, encoding, now
        self._queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()

    def put(self) -> None:
        """Take the complete messages out of the stream's body. Raises TooLarge if one is too large or too many wait. A call for a few bytes
        is cheap, because only complete messages are copied."""
        stream, body, at = self._stream, self._stream.body, 0
        while len(body) - at >= FRAME_BYTES:
            size = message_length(body, at)
            if size > FRAME_BYTES + MAX_MESSAGE_BYTES:
                raise TooLarge(
                    f"a message is larger than {MAX_MESSAGE_BYTES} bytes; this method takes only names, so send one in each message"
                )
            if len(body) - at < size:
                break
            self._queue.put_nowait((body[at], bytes(body[at + FRAME_BYTES : at + size])))
            at += size
        if self._queue.qsize() > MAX_WAITING:
            raise TooLarge(f"more than {MAX_WAITING} messages wait on one stream; read the answers before you send more")
        if at:
            stream.body = bytes(body[at:])
            stream.since = self._now() if stream.body else inf
        elif stream.body and stream.since == inf:
            stream.since = self._now()

    def end(self) -> None:
        """No more will come."""
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await self._queue.get()) is not None:
            is_packed, message = item
            self._stream.connection.consumed(self._stream, FRAME_BYTES + len(message))
            yield await unpacked(message, self._encoding, MAX_MESSAGE_BYTES) if is_packed else message


class StreamingCall:
    """State of a streaming call."""

    def __init__(self, stream: Stream, encoding: bytes, now: Callable[[], float]) -> None:
        self.inbox = _Inbox(stream, encoding, now)
        self.task: asyncio.Task[None] | None = None
        self._stream, self._is_drained = stream, asyncio.Event()
        stream.drained = self._is_drained.set

    async def send(self, message: bytes) -> None:
        """Send, and wait until the client's windows have let it through."""
        stream = self._stream
        self._is_drained.clear()
        stream.connection.send(stream, b"" if stream.has_begun else HEAD, framed(message), b"")
        if stream.queue:
            await self._is_drained.wait()

    def cancel(self) -> None:
        """Stop what works for it."""
        if self.task is not None:
            self.task.cancel()


async def while_allowed(messages: AsyncIterator[bytes], check: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """The messages, as long as `check` does not raise; it is asked before each message, and every CHECK_AGAIN_S while none comes."""
    coming: asyncio.Task[bytes | None] | None = None
    try:
        while True:
            if coming is None:
                coming = asyncio.ensure_future(_next(messages))
            await asyncio.wait({coming}, timeout=CHECK_AGAIN_S)
            await check()
            if not coming.done():
                continue
            message, coming = coming.result(), None
            if message is None:
                return
            yield message
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})


async def _next(messages: AsyncIterator[bytes]) -> bytes | None:
    return await anext(messages, None)
