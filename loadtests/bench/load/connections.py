"""Load over kept HTTP/1.1 connections: when requests are due, the connections that carry them, and the judge of the answers.

An open loop sends by a `Schedule`, whether or not earlier requests were answered. A closed loop sends on a connection as soon as
its answer is there. `Load` knows neither bodies nor figures: `request_of` makes the bytes, the `Judge` counts.
All times are those of `time.perf_counter`, in seconds."""

import asyncio
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from loadtests.bench.process import HOST

CONNECT_S: Final = 10.0
"""How long one attempt to connect may take."""
RECONNECT_S: Final = 0.02
"""Pause after an attempt to connect that failed."""

RequestOf = Callable[[int, float], bytes]
"""Takes a request's number and how many seconds it waited for a connection, and gives its bytes."""


def http_post(port: int, path: str, body: bytes, *headers: str) -> bytes:
    """A request as it goes over the wire. headers: lines like `name: value`, without their end."""
    lines = (f"POST {path} HTTP/1.1", f"Host: {HOST}:{port}", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request under way. due: when it should have been sent."""

    number: int
    due: float
    sent: float


class Judge:
    """Counts answers. A subclass overrides the methods for what it counts; the rest is ignored."""

    def answered(self, request: SentRequest, status: int, body: bytes, now: float) -> None:
        """Called when a whole answer has arrived."""

    def lost(self, request: SentRequest, now: float) -> None:
        """Called when the connection ended before the answer."""

    def unanswered(self, request: SentRequest, now: float) -> None:
        """Called when no answer came within the time that `Load.give_up` allows."""

    def unreachable(self, since: float, now: float) -> None:
        """Called when an attempt to connect failed. The load tries again."""


class Latencies(Judge):
    """Latencies in seconds from when requests were due, failed ones included. failures: status -> how many."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.failures: Counter[int] = Counter()

    def answered(self, request: SentRequest, status: int, body: bytes, now: float) -> None:
        """Count it."""
        self.took.append(now - request.due)
        if status != 200:
            self.failures[status] += 1


def arrivals(rate: float, duration_s: float, seed: int) -> list[float]:
    """When requests are due, in seconds from the start, ascending: a Poisson process of `rate` requests a second."""
    rng, at, found = random.Random(seed), 0.0, []  # nosec B311  # a seed, no secret
    while (at := at + rng.expovariate(rate)) < duration_s:
        found.append(at)
    return found


class Schedule:
    """When requests are due, and which of them wait for a connection. Knows no sockets and no clock.

    due: ascending, and may be endless. give_up_s: a request that waited longer is never sent. late: by how many seconds requests were
    sent late although a connection was idle; this is the generator's own lateness."""

    def __init__(self, due: Iterable[float], give_up_s: float = math.inf) -> None:
        self._due, self._give_up_s = iter(due), give_up_s
        self._next = next(self._due, None)
        self._waiting: deque[float] = deque()
        self._dropped = 0
        self.late: list[float] = []

    @property
    def next_due(self) -> float | None:
        """When the next request is due; None if there are no more."""
        return self._next

    @property
    def unsent(self) -> int:
        """How many requests were due and not sent: dropped, or still waiting."""
        return self._dropped + len(self._waiting)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to send."""
        return self._next is None and not self._waiting

    def take(self, now: float, idle: int) -> list[float]:
        """Take the requests to send now over this many idle connections: when each was due, the longest waiting first."""
        waited = len(self._waiting)
        while self._next is not None and self._next <= now:
            self._waiting.append(self._next)
            self._next = next(self._due, None)
        found: list[float] = []
        while self._waiting and len(found) < idle:
            due = self._waiting.popleft()
            waited -= 1
            if now - due > self._give_up_s:
                self._dropped += 1
                continue
            found.append(due)
            if waited < 0:  # it did not wait for a connection, so the generator alone made it late
                self.late.append(now - due)
        return found


class ClosedLoop:
    """A schedule in which every idle connection sends at once."""

    next_due: Final = None
    unsent: Final = 0
    is_done: Final = False

    def take(self, now: float, idle: int) -> list[float]:
        """One request for each idle connection, due now."""
        return [now] * idle


class _Connection(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    __slots__ = ("_buffer", "_load", "request", "transport")

    def __init__(self, load: "Load") -> None:
        self._load, self._buffer = load, b""
        self.request: SentRequest | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        self._load.connected(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, start = buffer[:end].lower(), end + 4
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else len(buffer) - start
        if len(buffer) < start + length:
            return
        self._buffer = b""
        is_last = at < 0 or b"connection: close" in head  # without a length nobody knows where the answer ends
        self._load.answered(self, int(head[9:12]), buffer[start : start + length], is_last=is_last)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self)


class Load:
    """Sends requests over its connections. keeps_connecting: a lost connection is made again; otherwise it ends the load.

    gone: how many connections were lost and not made again. ended: set once everything due was answered or a connection is gone."""

    def __init__(self, port: int, judge: Judge, request_of: RequestOf, *, keeps_connecting: bool = False) -> None:
        self._port, self._judge, self._request_of, self._keeps_connecting = port, judge, request_of, keeps_connecting
        self._schedule: Schedule | ClosedLoop = Schedule(())
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._number = 0
        self._is_closed = False
        self.gone = 0
        self.ended = asyncio.Event()

    async def connect(self, connections: int) -> None:
        """Make the connections. Raises OSError if one cannot be made, unless the load keeps connecting."""
        await asyncio.gather(*(self._connect() for _ in range(connections)))

    def begin(self, schedule: Schedule | ClosedLoop) -> None:
        """Send by this schedule from now on."""
        self._schedule = schedule
        self.ended.clear()
        self.send_due()

    def send_due(self) -> None:
        """Send the requests that are due, as far as connections are idle."""
        if self._is_closed:
            return
        now = time.perf_counter()
        for due in self._schedule.take(now, len(self._idle)):
            connection = self._idle.pop()
            self._number += 1
            connection.request = SentRequest(self._number, due, now)
            connection.transport.write(self._request_of(self._number, now - due))
        if self._schedule.is_done and len(self._idle) == len(self._connections):
            self.ended.set()

    def give_up(self, after_s: float) -> None:
        """Close every connection whose request has been under way for longer than after_s seconds, and tell the judge."""
        now = time.perf_counter()
        for connection in [c for c in self._connections if c.request is not None and now - c.request.sent > after_s]:
            if connection.request is not None:
                self._judge.unanswered(connection.request, now)
            connection.request = None
            connection.transport.abort()

    def close(self) -> None:
        """Stop sending and close the connections. Requests under way are not judged."""
        self._is_closed = True
        for task in self._reconnecting:
            task.cancel()
        for connection in self._connections:
            connection.transport.abort()

    def connected(self, connection: _Connection) -> None:
        """Called when a connection can be used."""
        if self._is_closed:
            connection.transport.abort()
            return
        self._connections.add(connection)
        self._idle.append(connection)
        self.send_due()

    def answered(self, connection: _Connection, status: int, body: bytes, *, is_last: bool) -> None:
        """Called when an answer has arrived. is_last: the connection cannot carry another request."""
        request, connection.request = connection.request, None
        if request is not None and not self._is_closed:
            self._judge.answered(request, status, body, time.perf_counter())
        if is_last or request is None:
            connection.transport.abort()
        else:
            self._idle.append(connection)
            self.send_due()

    def lost(self, connection: _Connection) -> None:
        """Called when a connection ended."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._is_closed:
            return
        if connection.request is not None:
            self._judge.lost(connection.request, time.perf_counter())
        if self._keeps_connecting:
            task = asyncio.ensure_future(self._connect())
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)
        else:
            self.gone += 1
            self.ended.set()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_closed:
            since = time.perf_counter()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await loop.create_connection(lambda: _Connection(self), HOST, self._port)
            except OSError:  # TimeoutError too
                if not self._keeps_connecting:
                    raise
                self._judge.unreachable(since, time.perf_counter())
                await asyncio.sleep(RECONNECT_S)
            else:
                return
