"""One multiplexed connection to Redis: every read on the loop shares it, commands of one loop tick leave in one write.

Replies come in the order of the commands, so waiting reads are a queue. A read that timed out keeps its place in it. A connection
without any answer for STALLED_S is dropped. This module knows Redis' protocol (RESP, parsed by hiredis) but no features."""

import asyncio
import itertools
import math
import os
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import hiredis

from serving.features.stores.addresses import without_login
from serving.ports import ReadOutcome
from serving.tls_trust import client_trust

STALLED_S: Final = 1.0
"""A connection whose oldest read waits this long is dropped."""
MOST_WAITING: Final = 20_000
"""Reads that may wait at once; one more is refused at once."""

_AT_ONCE: Final = 16
"""Reads that leave together without waiting for the tick to end, so that Redis works while the loop still decodes."""
_TICK_S: Final = 0.001
"""Reads whose times end within one tick are given up together: a Redis that hangs under load would else cost a timer a read."""
_FEW_DUE: Final = 256

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
        parts, shown = urlsplit(url), without_login(url)
        if parts.scheme == "unix" and parts.path:
            return cls("", 0, 0, None, None, False, parts.path)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError(f"{shown!r} is not a Redis address; expected redis://HOST:PORT/DATABASE, rediss:// for TLS")
        database = parts.path.strip("/")
        if database and not (database.isascii() and database.isdigit()):
            raise ValueError(f"{shown!r}: the database is {database!r}, expected a number")
        try:
            port = parts.port or 6379
        except ValueError:  # its own message shows what may be part of a password
            raise ValueError(
                f"{shown!r}: the port is not a number; write `/`, `#` and `?` in a password as %2F, %23 and %3F"
            ) from None
        user, password = (unquote(p) if p else None for p in (parts.username, parts.password))
        return cls(parts.hostname, port, int(database or 0), user, password, parts.scheme == "rediss")

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


_PING: Final = command("PING")

Replies = list[Any] | ReadOutcome
"""The replies of one read, or why there are none."""


class RedisConnection(asyncio.Protocol):
    """An open connection; made by `connect`.

    proven_s: monotonic seconds; every change that Redis made before then was pushed and handed on. is_tracking: changes are pushed."""

    def __init__(self, lost: Callable[["RedisConnection"], None], pushed: Callable[[Any], None] | None = None) -> None:
        """lost: called once when the connection is gone. pushed: called with each message that answers nothing (RESP3)."""
        self._loop = asyncio.get_running_loop()
        self._lost, self._pushed = lost, pushed
        self.is_tracking = False
        self.proven_s = -math.inf
        self.lag_s = 0.0
        self._parser = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Replies], int, float]] = deque()  # who waits for how many replies since when
        self._replies: list[Any] = []  # of the first of them, as far as they are here
        self._out: list[bytes] = []
        self._leave_alone = True  # whether the last reads to leave at a tick's end were one
        self._transport: asyncio.Transport | None = None
        self._due: list[tuple[float, int, asyncio.Future[Replies]]] = []  # a heap: until when somebody waits, who began first
        self._most_due = _FEW_DUE
        self._numbers = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._timer_s = 0.0  # when it fires; uvloop's handle has no when() if that is less than half a millisecond away
        self._heard_s = 0.0

    def ask(self, commands: bytes, replies: int, timeout_s: float) -> "asyncio.Future[Replies]":
        """Send commands; the future is their replies, or why there are none in time. Never an exception."""
        loop, waiting, transport = self._loop, self._waiting, self._transport
        future: asyncio.Future[Replies] = loop.create_future()
        if transport is None or len(waiting) >= MOST_WAITING:
            future.set_result(ReadOutcome.NO_CONNECTION if transport is None else ReadOutcome.FULL)
            return future
        now_s = loop.time()
        until_s = now_s + timeout_s
        if not waiting:
            self._heard_s = now_s
        if not waiting and self._leave_alone:  # a read with nobody to leave with does not wait for the tick to end
            transport.write(commands)
        else:
            out = self._out
            out.append(commands)
            if len(out) == 1:
                loop.call_soon(self._flush)
            elif len(out) >= _AT_ONCE:
                self._flush()
        waiting.append((future, replies, monotonic()))
        heappush(self._due, (until_s, next(self._numbers), future))
        if self._timer is None or until_s < self._timer_s - _TICK_S:
            self._arm(until_s)
        if len(self._due) > self._most_due:
            self._forget_answered()
        return future

    def prove(self) -> None:
        """Let `proven_s` move on: Redis answers in the order in which it pushes. A read under way does it too."""
        if not self._waiting:
            self.ask(_PING, 1, STALLED_S)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a reply."""
        return not self._waiting

    @property
    def is_open(self) -> bool:
        """Whether reads can be sent."""
        return self._transport is not None

    def close(self, outcome: ReadOutcome = ReadOutcome.NO_CONNECTION) -> None:
        """Close it. Waiting reads get this outcome at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
            self._dismiss(outcome)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        """asyncio's call: hand the replies out; those of a read that was given up are dropped as they come, undecoded."""
        self._heard_s = self._loop.time()
        gets, waiting, replies = self._parser.gets, self._waiting, self._replies
        try:
            self._parser.feed(data)
            while (reply := gets()) is not False:
                if type(reply) is hiredis.PushNotification and self._pushed is not None:
                    self._pushed(reply)
                    continue
                replies.append(reply)
                future, expected, sent_s = waiting[0]
                if len(replies) == expected:
                    waiting.popleft()
                    self.proven_s = sent_s
                    if not future.done():
                        future.set_result(replies)
                    self._replies = replies = []
            self.lag_s = monotonic() - self.proven_s
        except (hiredis.ProtocolError, IndexError):  # not Redis, or it says more than it was asked
            self.close(ReadOutcome.FAILED)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call: waiting reads get LOST."""
        self._transport = None
        self._dismiss(ReadOutcome.LOST)
        self._lost(self)

    def _dismiss(self, outcome: ReadOutcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future, _, _ in self._waiting:
            if not future.done():
                future.set_result(outcome)
        self._waiting.clear()
        self._due.clear()
        self._out.clear()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._leave_alone = len(out) == 1  # else they come in waves, and a part sent ahead would make two of one
            self._transport.write(b"".join(out))

    def _arm(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = math.ceil(when_s / _TICK_S) * _TICK_S
        self._timer = self._loop.call_at(self._timer_s, self._expire)

    def _expire(self) -> None:
        """Time out the reads whose time is over, and set the timer for the next."""
        self._timer, now_s, due = None, self._loop.time(), self._due
        while due and (due[0][0] <= now_s or due[0][2].done()):
            _, _, future = heappop(due)
            if not future.done():
                future.set_result(ReadOutcome.TIMED_OUT)
        if self._waiting and now_s - self._heard_s >= STALLED_S:
            self.close(ReadOutcome.TIMED_OUT)
        elif due:
            self._arm(max(due[0][0], now_s + _TICK_S))
        elif self._waiting:
            self._arm(self._heard_s + STALLED_S)

    def _forget_answered(self) -> None:
        """Drop the timeouts of answered reads; rare enough to cost nothing a read."""
        self._due = [entry for entry in self._due if not entry[2].done()]
        heapify(self._due)
        self._most_due = max(_FEW_DUE, 2 * len(self._due))


async def connect(
    address: Address,
    lost: Callable[[RedisConnection], None],
    timeout_s: float,
    pushed: Callable[[Any], None] | None = None,
) -> RedisConnection:
    """Open a connection and log in. Raises OSError (also for a refused login) or TimeoutError."""
    loop = asyncio.get_running_loop()
    connection = RedisConnection(lost, pushed)
    try:
        async with asyncio.timeout(timeout_s):
            if address.socket is not None:
                await loop.create_unix_connection(lambda: connection, address.socket)
            else:
                tls = _trust() if address.is_tls else None
                await loop.create_connection(lambda: connection, address.host, address.port, ssl=tls)
            commands = address.handshake()
            replies = await connection.ask(b"".join(commands), len(commands), timeout_s)
    except ssl.SSLCertVerificationError as problem:
        connection.close()
        raise OSError(
            f"its certificate is not accepted ({problem.verify_message}); the file that SSL_CERT_FILE names, or else the machine, has the "
            "authorities that are trusted"
        ) from problem
    except BaseException:
        connection.close()
        raise
    refused = _refusal(replies)
    if refused is not None:
        connection.close()
        raise OSError(refused)
    return connection


def _trust() -> ssl.SSLContext:
    """Whom to believe, as the machine's files of authorities say now. To read them takes 30 ms of the loop, so not at each attempt."""
    paths = ssl.get_default_verify_paths()
    return _trust_of(*[_state_of(path) for path in (paths.cafile, paths.capath)])


def _state_of(path: str | None) -> tuple[str, int, int] | None:
    """What changes with the file or folder."""
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return None if found is None or path is None else (path, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=1)
def _trust_of(*files: tuple[str, int, int] | None) -> ssl.SSLContext:
    return client_trust()


async def track(connection: RedisConnection, timeout_s: float) -> str | None:
    """Let Redis push the names of keys that were read over this connection when they change. Gives why not, if it does not.

    Redis forgets a name once it has pushed it, until the key is read again."""
    commands = command("HELLO", "3") + command("CLIENT", "TRACKING", "ON")
    refused = _refusal(await connection.ask(commands, 2, timeout_s))
    connection.is_tracking = refused is None
    return refused


def _refusal(replies: Replies) -> str | None:
    if isinstance(replies, ReadOutcome):
        return "no answer to the first commands"
    return next((str(reply) for reply in replies if isinstance(reply, ReplyError)), None)
