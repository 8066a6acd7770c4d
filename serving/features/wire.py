"""One multiplexed connection to Redis: every read on the loop shares it, commands of one loop tick leave in one write.

Replies come in the order of the commands, so the reads waiting are a queue. A read that is given up keeps its place in it, and
a connection that answers nothing for a while is dropped. This module knows Redis' protocol (RESP, parsed by hiredis) and no
features."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import hiredis

STALLED_S: Final = 1.0
"""A connection whose oldest read waits this long is dropped."""
MOST_WAITING: Final = 20_000
"""Reads that may wait at once; one more is answered None at once."""

_AT_ONCE: Final = 16
"""Reads that leave together without waiting for the tick to end, so that Redis works while the loop still decodes."""

ReplyError = hiredis.ReplyError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is and how to log in."""

    host: str
    port: int
    database: int
    username: str | None
    password: str | None
    is_tls: bool
    socket: str | None = None

    @classmethod
    def of(cls, url: str) -> "Address":
        """Parse `redis://[user:password@]host[:port][/database]`, `rediss://` or `unix:///path`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path:
            return cls("", 0, 0, None, None, False, parts.path)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError(f"{url!r} is no Redis address; expected redis://HOST:PORT/DATABASE, rediss:// for TLS")
        database = parts.path.strip("/")
        if database and not database.isdigit():
            raise ValueError(f"{url!r}: the database is {database!r}, expected a number")
        user, password = (unquote(p) if p else None for p in (parts.username, parts.password))
        return cls(parts.hostname, parts.port or 6379, int(database or 0), user, password, parts.scheme == "rediss")

    def handshake(self) -> list[bytes]:
        """The commands to begin with."""
        commands = []
        if self.password is not None:
            commands.append(command(*(["AUTH", self.username, self.password] if self.username else ["AUTH", self.password])))
        if self.database:
            commands.append(command("SELECT", str(self.database)))
        return [*commands, command("PING")]


def command(*words: str) -> bytes:
    """One command in RESP."""
    raw = [word.encode() for word in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in raw)


class _Waiting:
    """A read on its way: how many replies are still to come, until when somebody waits for them."""

    __slots__ = ("future", "left", "replies", "until_s")

    def __init__(self, future: "asyncio.Future[list[Any] | None]", replies: int, until_s: float) -> None:
        self.future, self.left, self.until_s = future, replies, until_s
        self.replies: list[Any] = []


class Connection(asyncio.Protocol):
    """An open connection; made by `connect`."""

    def __init__(self, lost: Callable[["Connection"], None]) -> None:
        """lost: called once when the connection is gone."""
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._parser = hiredis.Reader()
        self._waiting: deque[_Waiting] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_s = 0.0
        self._heard_s = 0.0

    def ask(self, commands: bytes, replies: int, timeout_s: float) -> "asyncio.Future[list[Any] | None]":
        """Send commands; the future is their replies, or None if they do not come in time."""
        loop = self._loop
        future: asyncio.Future[list[Any] | None] = loop.create_future()
        now_s = loop.time()
        until_s = now_s + timeout_s
        if self._transport is None or timeout_s <= 0 or len(self._waiting) >= MOST_WAITING:
            future.set_result(None)
            return future
        if not self._waiting:
            self._heard_s = now_s
        self._waiting.append(_Waiting(future, replies, until_s))
        out = self._out
        out.append(commands)
        if len(out) == 1:
            loop.call_soon(self._flush)
        elif len(out) >= _AT_ONCE:
            self._flush()
        if self._timer is None or until_s < self._timer_s:
            self._arm(until_s)
        return future

    def close(self) -> None:
        """Close it; whoever waits gets None."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        """asyncio's call: hand the replies out."""
        self._heard_s = self._loop.time()
        parser, waiting = self._parser, self._waiting
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not False:
                first = waiting[0]
                first.replies.append(reply)
                first.left -= 1
                if not first.left:
                    waiting.popleft()
                    if not first.future.done():
                        first.future.set_result(first.replies)
        except (hiredis.ProtocolError, IndexError):  # not Redis, or it says more than it was asked
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call: nobody waits for a dead connection."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        for read in self._waiting:
            if not read.future.done():
                read.future.set_result(None)
        self._waiting.clear()
        self._lost(self)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def _arm(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = when_s  # uvloop's handle has no when() if that is less than half a millisecond away
        self._timer = self._loop.call_at(when_s, self._expire)

    def _expire(self) -> None:
        """Give up the reads whose time is over; look again when the next one's is."""
        self._timer, now_s = None, self._loop.time()
        following: float | None = None
        for read in self._waiting:
            if read.future.done():
                continue
            if read.until_s <= now_s:
                read.future.set_result(None)
            elif following is None or read.until_s < following:
                following = read.until_s
        if self._waiting and now_s - self._heard_s >= STALLED_S:
            self.close()
        elif following is not None:
            self._arm(following)
        elif self._waiting:
            self._arm(self._heard_s + STALLED_S)


async def connect(address: Address, lost: Callable[[Connection], None], timeout_s: float) -> Connection:
    """Open a connection and log in. Raises OSError (also for a refused login) or TimeoutError."""
    loop = asyncio.get_running_loop()
    connection = Connection(lost)
    async with asyncio.timeout(timeout_s):
        if address.socket is not None:
            await loop.create_unix_connection(lambda: connection, address.socket)
        else:
            tls = ssl.create_default_context() if address.is_tls else None
            await loop.create_connection(lambda: connection, address.host, address.port, ssl=tls)
        commands = address.handshake()
        replies = await connection.ask(b"".join(commands), len(commands), timeout_s)
    refused = _refusal(replies)
    if refused is not None:
        connection.close()
        raise OSError(refused)
    return connection


def _refusal(replies: Sequence[Any] | None) -> str | None:
    if replies is None:
        return "no answer to the first PING"
    return next((str(reply) for reply in replies if isinstance(reply, ReplyError)), None)
