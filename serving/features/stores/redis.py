"""Stored features in Redis, in Feast's layout: one hash an entity, read with one HMGET for all views of that entity.

Reads never wait for a connection: without one they return NO_CONNECTION at once, and a background task reconnects. Only a read that was
under way when the connection broke is retried, if the first attempt to reconnect succeeds within its time.
Source of the layout: feast.infra.online_stores.redis (key: serialised entity key + project; fields: murmur3 of `view:feature`;
`_ts:view`: a Timestamp message)."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, cast

import mmh3

from serving.features.near.near_cache import MOST_KEPT_S, NearCache
from serving.features.plan.feature_plan import Group, Row, RowMemo
from serving.features.plan.values import Malformed, seconds_and_nanos
from serving.features.stores.redis_wire import Address, RedisConnection, Replies, ReplyError, connect, track
from serving.ports import ReadOutcome
from serving.resilience.retry import RetryBudget, pause_s

log = logging.getLogger(__name__)

_CONNECT_S: Final = 1.0
_PAUSE_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits between attempts to connect; the last one repeats."""
_QUIET_S: Final = 10
"""Time between two log lines about refused reads."""
BOUND_S: Final = 0.1
"""Rows in memory are used only if Redis has proven within this time that it told every change."""
_PROVE_S: Final = 0.02
"""A proof that is older than this is asked for again, with the next use of a row."""


@dataclass(frozen=True, slots=True)
class RedisCommand:
    """One group: the command around the entity's key (the tail begins with the project, which ends the key), and how many of the
    reply's parts are cells; the others are event times. asks_expiry: it is followed by a PTTL."""

    head: bytes
    tail: bytes
    project_bytes: int
    cells: int
    asks_expiry: bool = False


class RedisStore:
    """Implements plan.Store. Belongs to the event loop it was started on."""

    decodes = False

    def __init__(self, url: str, near: NearCache | None = None) -> None:
        """Read from the Redis at `url`. near: is told of every change of what was read. Raises ValueError if that is not an address."""
        self._address, self._near = Address.of(url), near
        self._is_refusal_told = False
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[bool] | None = None  # the first one after a connection was lost
        self._is_closed = False
        self._quiet_until_s = 0.0
        self._retries, self._rng = RetryBudget(), random.Random()  # noqa: S311  # nosec B311  # spreads waits, hides nothing

    @property
    def retried(self) -> int:
        """Reads that were retried."""
        return self._retries.spent

    async def start(self) -> None:
        """Connect; if that fails, go on trying in the background."""
        if not await self._try():
            self._reconnect()

    def prepare(self, project: str, groups: Sequence[Group]) -> tuple[RedisCommand, ...]:
        """Write the commands without the keys."""
        return tuple(_prepare(project.encode(), group) for group in groups)

    async def fetch(
        self, prepared: tuple[RedisCommand, ...], keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Read every group in one round trip."""
        connection = self._connection
        if connection is None:
            return ReadOutcome.NO_CONNECTION
        until_s = time.monotonic() + timeout_s
        if prepared[0].asks_expiry:
            return await self._fetch_with_expiry(connection, prepared, keys, until_s)
        if len(prepared) == 1 == len(keys[0]):  # the usual request: one entity, one command
            (group,), ((key,),) = prepared, keys
            commands, count = b"%b$%d\r\n%b%b" % (group.head, len(key) + group.project_bytes, key, group.tail), 1
        else:
            commands, count = _commands(prepared, keys)
        replies = await connection.ask(commands, count, timeout_s)
        self._retries.earn()
        if replies is ReadOutcome.LOST:
            replies = await self._ask_again(commands, count, until_s)
        if type(replies) is not list:
            return cast(ReadOutcome, replies)
        if count == 1 and type(reply := replies[0]) is list:
            return [[(reply, _microseconds(*reply[prepared[0].cells :]))]]
        found = _rows(prepared, keys, replies)
        if found is None:
            self._log_refusal(replies)
            return ReadOutcome.FAILED
        return found

    def for_keeping(self, prepared: Sequence[RedisCommand]) -> tuple[RedisCommand, ...]:
        """See near_store.ChangeSource: the same commands, which also ask when a key expires."""
        return tuple(replace(command, asks_expiry=True) for command in prepared)

    def is_following(self) -> bool:
        """See near_store.ChangeSource: whether Redis pushes changes now."""
        connection = self._connection
        return connection is not None and connection.is_tracking

    def is_current(self, now_s: float) -> bool:
        """See near_store.ChangeSource: whether every change until BOUND_S before now_s has been told. Asks for a proof in time."""
        connection = self._connection
        if connection is None or not connection.is_tracking:
            return False
        age_s = now_s - connection.proven_s
        if age_s > _PROVE_S:
            connection.prove()
        return age_s <= BOUND_S

    async def close(self) -> None:
        """Close the connection and stop connecting."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._stop_following()
            await asyncio.sleep(0)

    async def _fetch_with_expiry(
        self, connection: RedisConnection, prepared: Sequence[RedisCommand], keys: Sequence[Sequence[bytes]], until_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Read every group, and when each key expires: Redis tells an expiry when it removes the key, which may be seconds later."""
        start_s = time.monotonic()
        commands, count = _commands_with_expiry(prepared, keys)
        replies = await connection.ask(commands, count, until_s - start_s)
        self._retries.earn()
        if replies is ReadOutcome.LOST:
            replies = await self._ask_again(commands, count, until_s)
        if type(replies) is not list:
            return cast(ReadOutcome, replies)
        if count == 2 and type(reply := replies[0]) is list:
            return [[(reply, _microseconds(*reply[prepared[0].cells :]), RowMemo(_until_s(start_s, replies[1])))]]
        found = _rows(prepared, keys, replies[::2])
        if found is None:
            self._log_refusal(replies)
            return ReadOutcome.FAILED
        expiries = iter(replies[1::2])
        return [[(row[0], row[1], RowMemo(_until_s(start_s, next(expiries)))) for row in rows] for rows in found]

    async def _ask_again(self, commands: bytes, count: int, until_s: float) -> Replies:
        """Retry over the next connection, if it opens in time and the budget allows. Reads have no side effects.

        Each retry waits a random moment, so that a store that comes back does not get all lost reads at once."""
        attempt = self._attempt
        if attempt is None or not await _within(attempt, until_s):
            return ReadOutcome.LOST
        pause = pause_s(0, until_s - time.monotonic(), self._rng)
        if pause is None or not self._retries.spend():
            return ReadOutcome.LOST
        await asyncio.sleep(pause)
        if self._connection is None:
            return ReadOutcome.LOST
        return await self._connection.ask(commands, count, until_s - time.monotonic())

    def _log_refusal(self, replies: list[Any]) -> None:
        """Log what Redis refused, at most every _QUIET_S: it may refuse every read for minutes (LOADING, NOPERM, OOM)."""
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _QUIET_S
            refused = next((reply for reply in replies if isinstance(reply, ReplyError)), "an unexpected reply")
            log.warning("features: Redis refused a read (logged at most once in %d s): %s", _QUIET_S, refused)

    def _lost(self, connection: RedisConnection) -> None:
        if connection is self._connection and not self._is_closed:
            self._connection = None
            self._stop_following()
            log.warning("features: the connection to Redis is lost; defaults are used until it is back")
            self._reconnect()

    def _reconnect(self) -> None:
        if self._connecting is None or self._connecting.done():
            loop = asyncio.get_running_loop()
            self._attempt = loop.create_future()
            self._connecting = loop.create_task(self._keep_trying(self._attempt))

    async def _keep_trying(self, first: "asyncio.Future[bool]") -> None:
        is_back = await self._try()
        if not first.done():
            first.set_result(is_back)
        attempt = 0
        while not is_back:
            await asyncio.sleep(_PAUSE_S[min(attempt, len(_PAUSE_S) - 1)])
            attempt += 1
            is_back = await self._try()
        log.info("features: connected to Redis again")

    async def _try(self) -> bool:
        try:
            connection = await self._connect()
        except (OSError, TimeoutError) as error:
            log.debug("features: Redis at %s:%s: %s", self._address.host, self._address.port, error)
            return False
        if connection.is_open:  # else it was lost between its last answer and now
            self._connection = connection
            if self._near is not None:
                self._near.is_on, self._near.lag = connection.is_tracking, lambda: connection.lag_s
        return connection.is_open

    async def _connect(self) -> RedisConnection:
        """A connection that pushes changes, if somebody is told of them and Redis can. Raises OSError or TimeoutError."""
        near = self._near
        if near is None:
            return await connect(self._address, self._lost, _CONNECT_S)
        connection = await connect(self._address, self._lost, _CONNECT_S, lambda push: _tell(near, push))
        refused = await track(connection, _CONNECT_S)
        if refused is not None and connection.is_open and not self._is_refusal_told:
            self._is_refusal_told = True
            log.warning(
                "features: no rows are kept in memory (VEDETTE_FEATURE_NEAR_CACHE_BYTES), every request reads Redis: it does not track "
                "keys for clients: %s. It needs Redis 6 and the right to CLIENT TRACKING",
                refused,
            )
        return connection

    def _stop_following(self) -> None:
        if self._near is not None:
            self._near.is_on = False
            self._near.flush("lost")


async def _within(attempt: "asyncio.Future[bool]", until_s: float) -> bool:
    """Whether the attempt succeeds by until_s, a monotonic time."""
    await asyncio.wait([attempt], timeout=max(until_s - time.monotonic(), 0.0))
    return attempt.done() and not attempt.cancelled() and attempt.result()


def _commands(prepared: Sequence[RedisCommand], keys: Sequence[Sequence[bytes]]) -> tuple[bytes, int]:
    """A command a key of every group, and how many they are."""
    commands: list[bytes] = []
    for group, asked in zip(prepared, keys, strict=True):
        head, tail, further = group.head, group.tail, group.project_bytes
        commands += [b"%b$%d\r\n%b%b" % (head, len(key) + further, key, tail) for key in asked]
    return b"".join(commands), len(commands)


def _commands_with_expiry(prepared: Sequence[RedisCommand], keys: Sequence[Sequence[bytes]]) -> tuple[bytes, int]:
    """The same, with a PTTL behind each."""
    commands: list[bytes] = []
    for group, asked in zip(prepared, keys, strict=True):
        head, tail, further, project = group.head, group.tail, group.project_bytes, group.tail[: group.project_bytes]
        for key in asked:
            size = len(key) + further
            commands.append(b"%b$%d\r\n%b%b*2\r\n$4\r\nPTTL\r\n$%d\r\n%b%b\r\n" % (head, size, key, tail, size, key, project))
    return b"".join(commands), 2 * len(commands)


def _until_s(start_s: float, expiry_ms: object) -> float:
    """Until when a row may be kept. start_s: before it was read. expiry_ms: the reply to PTTL, negative: none."""
    if type(expiry_ms) is not int:  # refused: it may expire at any time
        return start_s
    return start_s + (expiry_ms / 1000 if 0 <= expiry_ms < MOST_KEPT_S * 1000 else MOST_KEPT_S)


def _tell(near: NearCache, push: Sequence[Any]) -> None:
    """What Redis pushes: the names that changed, or none after FLUSHDB and FLUSHALL."""
    if push[0] == b"invalidate":
        if push[1] is None:
            near.flush("emptied")
        else:
            near.invalidate(push[1])


def _rows(prepared: Sequence[RedisCommand], keys: Sequence[Sequence[bytes]], replies: list[Any]) -> list[list[Row]] | None:
    """The replies as rows; None if Redis refused one of the commands."""
    found: list[list[Row]] = []
    start = 0
    try:
        for group, asked in zip(prepared, keys, strict=True):
            cells, end = group.cells, start + len(asked)
            found.append([(reply, _microseconds(*reply[cells:])) for reply in replies[start:end]])
            start = end
    except TypeError:
        return None
    return found


def _prepare(project: bytes, group: Group) -> RedisCommand:
    names = [field_of(f"{plan.view.storage}:{feature.name}") for plan in group.views for feature in plan.view.features]
    names += [f"_ts:{plan.view.storage}".encode() for plan in group.views]
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(names))
    tail = project + b"\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(name), name) for name in names)
    return RedisCommand(head, tail, len(project), group.cells)


def field_of(name: str) -> bytes:
    """Feast's hash field of a feature: murmur3 of its name, four bytes, little endian."""
    return mmh3.hash(name, signed=False).to_bytes(4, "little")


@lru_cache(maxsize=8192)
def _microseconds(*stamps: bytes | None) -> tuple[int, ...]:
    """Event times as Feast writes them; 0 where there is none that can be read."""
    return tuple([_event_time_us(raw) for raw in stamps])


def _event_time_us(raw: bytes | None) -> int:
    try:
        seconds, nanos = seconds_and_nanos(raw) if raw else (0, 0)
    except Malformed:
        return 0
    time_us = seconds * 1_000_000 + nanos // 1000
    return time_us if -(2**63) <= time_us < 2**63 else 0
