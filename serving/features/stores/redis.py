"""Stored features in Redis, in Feast's layout: one hash an entity, read with one HMGET for all views of that entity.

Reads never wait for a connection: without one they return NO_CONNECTION at once, and a background task reconnects. Only a read that was
under way when the connection broke is retried, if the first attempt to reconnect succeeds within its time.
Source of the layout: feast.infra.online_stores.redis (key: serialised entity key + project; fields: murmur3 of `view:feature`;
`_ts:view`: a Timestamp message)."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, cast

import mmh3

from serving.features.near.near_cache import MOST_KEPT_S, NearCache
from serving.features.plan.feature_plan import Group, Row, RowMemo
from serving.features.plan.values import Malformed, seconds_and_nanos
from serving.features.stores.addresses import endpoints_of, is_sentinel
from serving.features.stores.redis_link import CONNECT_S, RedisLink, tell
from serving.features.stores.redis_wire import Address, RedisConnection, ReplyError, track
from serving.features.stores.sentinels import Sentinels, check_is_master
from serving.ports import ReadOutcome

log = logging.getLogger(__name__)

_QUIET_S: Final = 10
"""Time between two log lines about refused reads."""
BOUND_S: Final = 0.1
"""Rows in memory are used only if Redis has proven within this time that it told every change."""
PROVE_S: Final = 0.02
"""A proof that is older than this is asked for again, with the next use of a row."""


NOT_TRACKED: Final = (
    "features: no rows are kept in memory (VEDETTE_FEATURE_NEAR_CACHE_BYTES), every request reads Redis: it does not track "
    "keys for clients: %s. It needs Redis 6 and the right to CLIENT TRACKING, in a cluster also to EXISTS of vedette:*"
)


@dataclass(frozen=True, slots=True)
class RedisCommand:
    """One group: the command around the entity's key (the tail begins with the project, which ends the key), and how many of the
    reply's parts are cells; the others are event times. asks_expiry: it is followed by a PTTL. views: how many event times."""

    head: bytes
    tail: bytes
    project_bytes: int
    cells: int
    asks_expiry: bool = False
    views: int = 0


class RedisStore:
    """Implements plan.Store. Belongs to the event loop it was started on."""

    decodes = False

    def __init__(self, url: str, near: NearCache | None = None) -> None:
        """Read from the Redis at `url`, or from the master that sentinels name. near: gets every reported change of the read rows.

        Raises ValueError if that is not an address."""
        self._near = near
        self._is_refusal_told = False
        self._quiet_until_s = 0.0
        self._sentinels: Sentinels | None = None
        if is_sentinel(url):
            self._sentinels = sentinels = Sentinels(endpoints_of(url))
            find, name = sentinels.find_master, f"Redis, the master {sentinels.master!r}"
        else:
            address = Address.of(url)

            async def find() -> Address:
                return address

            name = "Redis"
        self.link = RedisLink(
            find,
            name,
            greet=self._greet,
            pushed=None if near is None else lambda push: tell(near, push),
            lost=self._forget_all,
        )
        self._retries = self.link.retries

    @property
    def retried(self) -> int:
        """Reads that were retried."""
        return self._retries.spent

    async def start(self) -> None:
        """Connect; if that fails, go on trying in the background."""
        await self.link.start()
        if self._sentinels is not None:
            self._sentinels.follow(self.link.drop)

    def prepare(self, project: str, groups: Sequence[Group]) -> tuple[RedisCommand, ...]:
        """Write the commands without the keys."""
        return tuple(prepare_group(project.encode(), group) for group in groups)

    async def fetch(
        self, prepared: tuple[RedisCommand, ...], keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Read every group in one round trip."""
        connection = self.link.connection
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
            replies = await self.link.ask_again(commands, count, until_s)
        if type(replies) is not list:
            return cast(ReadOutcome, replies)
        if count == 1 and type(reply := replies[0]) is list:
            return [[(reply, microseconds(*reply[prepared[0].cells :]))]]
        found = _rows(prepared, keys, replies)
        if found is None:
            self._log_refusal(replies)
            return ReadOutcome.FAILED
        return found

    def for_keeping(self, prepared: Sequence[RedisCommand]) -> tuple[RedisCommand, ...]:
        """See ChangeSource: the same commands, which also ask when a key expires."""
        return for_keeping(prepared)

    def is_following(self) -> bool:
        """See ChangeSource: whether Redis pushes changes now."""
        connection = self.link.connection
        return connection is not None and connection.is_tracking

    def is_current(self, now_s: float) -> bool:
        """See ChangeSource: whether every change until BOUND_S before now_s has been reported. Asks for a proof in time."""
        connection = self.link.connection
        if connection is None or not connection.is_tracking:
            return False
        age_s = now_s - connection.proven_s
        if age_s > PROVE_S:
            connection.prove()
        return age_s <= BOUND_S

    def is_telling(self) -> bool:
        """See ChangeSource."""
        return self.is_following()

    def lag_s(self) -> float:
        """See ChangeSource: the time of the last answer of Redis."""
        connection = self.link.connection
        return 0.0 if connection is None else connection.lag_s

    async def close(self) -> None:
        """Close the connection and stop connecting."""
        if self._sentinels is not None:
            await self._sentinels.close()
        await self.link.close()

    async def _fetch_with_expiry(
        self, connection: RedisConnection, prepared: Sequence[RedisCommand], keys: Sequence[Sequence[bytes]], until_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Read every group, and when each key expires: Redis tells an expiry when it removes the key, which may be seconds later."""
        start_s = time.monotonic()
        commands, count = _commands_with_expiry(prepared, keys)
        replies = await connection.ask(commands, count, until_s - start_s)
        self._retries.earn()
        if replies is ReadOutcome.LOST:
            replies = await self.link.ask_again(commands, count, until_s)
        if type(replies) is not list:
            return cast(ReadOutcome, replies)
        if count == 2 and type(reply := replies[0]) is list:
            return [[(reply, microseconds(*reply[prepared[0].cells :]), RowMemo(kept_until_s(start_s, replies[1])))]]
        found = _rows(prepared, keys, replies[::2])
        if found is None:
            self._log_refusal(replies)
            return ReadOutcome.FAILED
        expiries = iter(replies[1::2])
        return [[(row[0], row[1], RowMemo(kept_until_s(start_s, next(expiries)))) for row in rows] for rows in found]

    def _log_refusal(self, replies: list[Any]) -> None:
        """Log what Redis refused, at most every _QUIET_S: it may refuse every read for minutes (LOADING, NOPERM, OOM)."""
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _QUIET_S
            refused = next((reply for reply in replies if isinstance(reply, ReplyError)), "an unexpected reply")
            log.warning("features: Redis refused a read (logged at most once in %d s): %s", _QUIET_S, refused)

    async def _greet(self, connection: RedisConnection) -> None:
        """Let Redis push changes, if somebody is told of them and it can. Raises OSError for what is no master."""
        if self._sentinels is not None:
            await check_is_master(connection, CONNECT_S)
        if self._near is None:
            return
        refused = await track(connection, CONNECT_S)
        if refused is not None and connection.is_open and not self._is_refusal_told:
            self._is_refusal_told = True
            log.warning(NOT_TRACKED, refused)

    def _forget_all(self) -> None:
        if self._near is not None:
            self._near.flush("lost")


def for_keeping(prepared: Sequence[RedisCommand]) -> tuple[RedisCommand, ...]:
    """The same commands, each followed by a PTTL."""
    return tuple(replace(command, asks_expiry=True) for command in prepared)


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


def kept_until_s(start_s: float, expiry_ms: object) -> float:
    """Until when a row may be kept. start_s: before it was read. expiry_ms: the reply to PTTL, negative: none."""
    if type(expiry_ms) is not int:  # refused: it may expire at any time
        return start_s
    return start_s + (expiry_ms / 1000 if 0 <= expiry_ms < MOST_KEPT_S * 1000 else MOST_KEPT_S)


def _rows(prepared: Sequence[RedisCommand], keys: Sequence[Sequence[bytes]], replies: list[Any]) -> list[list[Row]] | None:
    """The replies as rows; None if Redis refused one of the commands."""
    found: list[list[Row]] = []
    start = 0
    try:
        for group, asked in zip(prepared, keys, strict=True):
            cells, end = group.cells, start + len(asked)
            found.append([(reply, microseconds(*reply[cells:])) for reply in replies[start:end]])
            start = end
    except TypeError:
        return None
    return found


def prepare_group(project: bytes, group: Group) -> RedisCommand:
    """The command of a group, without its keys."""
    names = [field_of(f"{plan.view.storage}:{feature.name}") for plan in group.views for feature in plan.view.features]
    names += [f"_ts:{plan.view.storage}".encode() for plan in group.views]
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(names))
    tail = project + b"\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(name), name) for name in names)
    return RedisCommand(head, tail, len(project), group.cells, views=len(group.views))


def field_of(name: str) -> bytes:
    """Feast's hash field of a feature: murmur3 of its name, four bytes, little endian."""
    return mmh3.hash(name, signed=False).to_bytes(4, "little")


@lru_cache(maxsize=8192)
def microseconds(*stamps: bytes | None) -> tuple[int, ...]:
    """Event times as Feast writes them; 0 where there is none that can be read."""
    return tuple([_event_time_us(raw) for raw in stamps])


def _event_time_us(raw: bytes | None) -> int:
    try:
        seconds, nanos = seconds_and_nanos(raw) if raw else (0, 0)
    except Malformed:
        return 0
    time_us = seconds * 1_000_000 + nanos // 1000
    return time_us if -(2**63) <= time_us < 2**63 else 0
