"""Stored features in Redis, in Feast's layout: one hash an entity, read with one HMGET for all views of that entity.

Never waits for a connection: while there is none, reads say so at once and a task in the background connects again.
Source of the layout: feast.infra.online_stores.redis (key: serialised entity key + project; fields: murmur3 of `view:feature`;
`_ts:view`: a Timestamp message)."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import mmh3

from serving.features.plan import Group, Row
from serving.features.values import Malformed, seconds_and_nanos
from serving.features.wire import Address, Connection, ReplyError, connect

log = logging.getLogger(__name__)

_CONNECT_S: Final = 1.0
_PAUSE_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits between attempts to connect; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One group: the command around the key, how many of its replies are cells (the others are event times)."""

    head: bytes
    tail: bytes
    project: bytes
    cells: int


class RedisStore:
    """Implements plan.Store. Belongs to the event loop it was started on."""

    decodes = False

    def __init__(self, url: str) -> None:
        """Read from the Redis at `url`. Raises ValueError if that is no address."""
        self._address = Address.of(url)
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_closed = False

    async def start(self) -> None:
        """Connect; if that fails, go on trying in the background."""
        if not await self._try():
            self._reconnect()

    def prepare(self, project: str, groups: Sequence[Group]) -> tuple[Prepared, ...]:
        """Write the commands but for the keys."""
        return tuple(_prepare(project.encode(), group) for group in groups)

    async def fetch(
        self, prepared: tuple[Prepared, ...], keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | None:
        """Read every group in one round trip; None if Redis does not answer in time."""
        connection = self._connection
        if connection is None:
            return None
        if len(prepared) == 1 == len(keys[0]):
            (group,), ((key,),) = prepared, keys
            whole = b"%b$%d\r\n%b%b%b" % (group.head, len(key) + len(group.project), key, group.project, group.tail)
            replies = await connection.ask(whole, 1, timeout_s)
            if replies is not None and type(reply := replies[0]) is list:
                return [[(reply[: group.cells], _microseconds(*reply[group.cells :]))]]
            return None if replies is None else _rows(prepared, keys, replies)
        commands: list[bytes] = []
        for group, asked in zip(prepared, keys, strict=True):
            head, tail, project = group.head, group.tail, group.project
            commands += [b"%b$%d\r\n%b%b%b" % (head, len(key) + len(project), key, project, tail) for key in asked]
        replies = await connection.ask(b"".join(commands), len(commands), timeout_s)
        return None if replies is None else _rows(prepared, keys, replies)

    async def close(self) -> None:
        """Close the connection and stop connecting."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            await asyncio.sleep(0)

    def _lost(self, connection: Connection) -> None:
        if connection is self._connection and not self._is_closed:
            self._connection = None
            log.warning("features: the connection to Redis is lost; defaults stand in until it is back")
            self._reconnect()

    def _reconnect(self) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._keep_trying())

    async def _keep_trying(self) -> None:
        attempt = 0
        while not await self._try():
            await asyncio.sleep(_PAUSE_S[min(attempt, len(_PAUSE_S) - 1)])
            attempt += 1
        log.info("features: connected to Redis again")

    async def _try(self) -> bool:
        try:
            self._connection = await connect(self._address, self._lost, _CONNECT_S)
        except (OSError, TimeoutError) as error:
            log.debug("features: Redis at %s:%s: %s", self._address.host, self._address.port, error)
            return False
        return True


def _rows(prepared: Sequence[Prepared], keys: Sequence[Sequence[bytes]], replies: list[Any]) -> list[list[Row]] | None:
    """The replies as rows; None if Redis refused one of the commands."""
    found: list[list[Row]] = []
    start = 0
    try:
        for group, asked in zip(prepared, keys, strict=True):
            cells, end = group.cells, start + len(asked)
            found.append([(reply[:cells], _microseconds(*reply[cells:])) for reply in replies[start:end]])
            start = end
    except (TypeError, Malformed):
        refused = next((reply for reply in replies if isinstance(reply, ReplyError)), "an unexpected reply")
        log.warning("features: Redis refused a read: %s", refused)
        return None
    return found


def _prepare(project: bytes, group: Group) -> Prepared:
    names = [_field(f"{plan.view.storage}:{feature.name}") for plan in group.views for feature in plan.view.features]
    names += [f"_ts:{plan.view.storage}".encode() for plan in group.views]
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(names))
    tail = b"\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(name), name) for name in names)
    return Prepared(head, tail, project, group.cells)


def _field(name: str) -> bytes:
    """Feast's hash field of a feature: murmur3 of its name, four bytes, little endian."""
    return mmh3.hash(name, signed=False).to_bytes(4, "little")


@lru_cache(maxsize=8192)
def _microseconds(*stamps: bytes | None) -> tuple[int, ...]:
    """Event times as Feast writes them; 0 where there is none."""
    parts = [seconds_and_nanos(raw) if raw else (0, 0) for raw in stamps]
    return tuple(seconds * 1_000_000 + nanos // 1000 for seconds, nanos in parts)
