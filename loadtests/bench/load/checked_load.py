"""Clients that check every answer, over kept connections: a closed loop, in which each asks again when it has its answer.

An answer is right if it has the score that is right for its entity, or says of itself that it could not know: degraded with the
score of defaults, or by rules without one. A refusal is an answer too, if it says so in the protocol's words. Everything else is
wrong or failed, and is kept for the report. Runs on the benchmark's own event loop."""

import asyncio
import enum
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from loadtests.bench.process import HOST
from loadtests.bench.worlds.feature_world import PATH, FeatureWorld

TOLERANCE: Final = 1e-5
PATIENCE_S: Final = 10.0
"""A client that has no answer by then takes the request for failed."""
RECONNECT_S: Final = 0.02
LOOK_EVERY_S: Final = 0.01
REFUSALS: Final = frozenset({429, 503, 504})
KEPT: Final = 5
"""Samples kept of what was wrong."""


class AnswerKind(enum.IntEnum):
    """What an answer was."""

    FRESH = 0
    DEGRADED = 1
    RULES = 2
    REFUSED = 3
    WRONG = 4
    FAILED = 5
    """A status that is neither an answer nor a refusal we declare, or no answer at all."""
    LOST = 6
    """The connection could not be made, or ended before the answer."""


CheckedEvent = tuple[float, float, AnswerKind]
"""When it came (time.perf_counter), after how many seconds, what it was."""


@dataclass(slots=True)
class Journal:
    """All that the clients met, in order of time. wrong: samples of what was neither right nor refused. late: seconds by which the
    clients' own loop was late, looked at again and again."""

    events: list[CheckedEvent] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def add(self, sent_s: float, kind: AnswerKind, said: str = "") -> None:
        """One answer, now."""
        now = time.perf_counter()
        self.events.append((now, now - sent_s, kind))
        if said and len(self.wrong) < KEPT:
            self.wrong.append(said)

    def between(self, start_s: float, end_s: float) -> list[CheckedEvent]:
        """What came in this time."""
        return [e for e in self.events if start_s <= e[0] < end_s]


def kinds(events: Sequence[CheckedEvent]) -> Counter[AnswerKind]:
    """How many of each kind."""
    return Counter(kind for _, _, kind in events)


def judge(status: int, body: bytes, right: float, default: float) -> tuple[AnswerKind, str]:
    """What an answer is, and in words what is wrong with it."""
    try:
        document = orjson.loads(body)
        if status in REFUSALS:
            said = document.get("error")
            return (
                (AnswerKind.REFUSED, "")
                if isinstance(said, str) and said
                else (AnswerKind.FAILED, f"{status} without a reason: {body!r:.200}")
            )
        if status != 200:
            return AnswerKind.FAILED, f"{status}: {body!r:.300}"
        return _judge_answer(document, right, default)
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as problem:
        return AnswerKind.WRONG, f"{status}, {problem!r}: {body!r:.300}"


def _judge_answer(document: Any, right: float, default: float) -> tuple[AnswerKind, str]:
    parameters = document["parameters"]
    outputs = {output["name"]: output["data"][0] for output in document["outputs"]}
    score, is_degraded = outputs["score"], outputs["degraded"]
    if parameters.get("source") == "rules":
        if is_degraded and score is None:
            return AnswerKind.RULES, ""
    elif is_degraded and parameters["degraded"]:
        if abs(score - default) <= TOLERANCE:
            return AnswerKind.DEGRADED, ""
    elif not is_degraded and abs(score - right) <= TOLERANCE:
        return AnswerKind.FRESH, ""
    return AnswerKind.WRONG, f"right would be {right} (defaults: {default}): {document!r:.500}"


class _Connection(asyncio.Protocol):
    """One kept connection: one request at a time, answered by (status, body), or by None when it is lost."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_last = False
        self._buffer = b""
        self._waiting: asyncio.Future[tuple[int, bytes] | None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes] | None]":
        self._waiting = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            self._waiting.set_result(None)
        else:
            self.transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._buffer = b""
        self.is_last = b"connection: close" in lowered
        self._answer((int(head[9:12]), rest[:length]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._answer(None)

    def _answer(self, answer: tuple[int, bytes] | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


class CheckedLoad:
    """`clients` clients from start to stop. deadline_s: what each says it waits, as a header."""

    def __init__(self, port: int, world: FeatureWorld, *, clients: int, deadline_s: float) -> None:
        self._port, self._world, self._clients = port, world, clients
        head = f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        head += f"x-request-timeout-ms: {round(deadline_s * 1000)}\r\nContent-Length: "
        self._requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in world.bodies]
        self.journal = Journal()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "CheckedLoad":
        self._tasks = [asyncio.create_task(self._client(i)) for i in range(self._clients)]
        self._tasks.append(asyncio.create_task(self._watch()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            self.journal.late.append(max(0.0, time.perf_counter() - due))

    async def _client(self, number: int) -> None:
        connection: _Connection | None = None
        host = number * 7
        try:
            while True:
                host = (host + 1) % len(self._requests)
                sent = time.perf_counter()
                if connection is None:
                    connection = await self._connect(sent)
                    continue
                if not await self._ask(connection, host, sent):
                    _close(connection)
                    connection = None
        finally:
            if connection is not None:
                _close(connection)

    async def _connect(self, sent: float) -> _Connection | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, HOST, self._port)
            return connection
        except (OSError, TimeoutError):
            self.journal.add(sent, AnswerKind.LOST)
            await asyncio.sleep(RECONNECT_S)
            return None

    async def _ask(self, connection: _Connection, host: int, sent: float) -> bool:
        """Whether the connection can be used again."""
        waiting = connection.ask(self._requests[host])
        giving_up = asyncio.get_running_loop().call_later(PATIENCE_S, waiting.cancel)
        try:
            answer = await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled() or time.perf_counter() - sent < PATIENCE_S:
                raise
            self.journal.add(sent, AnswerKind.FAILED, f"no answer within {PATIENCE_S:g} s")
            return False
        finally:
            giving_up.cancel()
        if answer is None:
            self.journal.add(sent, AnswerKind.LOST)
            return False
        kind, said = judge(*answer, float(self._world.scores[host]), self._world.default_score)
        self.journal.add(sent, kind, said)
        return not connection.is_last


def _close(connection: _Connection) -> None:
    if connection.transport is not None:
        connection.transport.abort()
