"""Rows of stored views written to the online store, in Feast's own storage format: SQLite's tables or Redis' hashes.

Feast's own writer takes 54 us for a row of seven values (SQLite) or 39 us (Redis), mostly for protobuf messages; here values are packed,
in 29 and 10 us. Contract tests hold what is written equal to Feast's. A row that is older than the stored one is left out, so that a
restarted writer undoes nothing. Event times are whole seconds, which is what both stores keep."""

import asyncio
import sqlite3
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol, cast

import numpy as np
from msgspec.structs import replace

from serving.features.plan.definitions import Definitions, Feature, StoredView
from serving.features.plan.errors import RegistryError
from serving.features.plan.keys import key_encoder
from serving.features.plan.values import seconds_and_nanos
from serving.features.stores.addresses import RedisEndpoints, endpoints_of, is_cluster, is_sentinel, without_login
from serving.features.stores.cluster.client import ClusterClient, KeyCommands
from serving.features.stores.cluster.slot_map import slot_of
from serving.features.stores.redis import field_of
from serving.features.stores.redis_wire import Address, RedisConnection, ReplyError, connect
from serving.features.stores.sentinels import Sentinels
from serving.ports import Columns, ReadOutcome

_BUSY_S: Final = 2.0
_REDIS_S: Final = 5.0
_ROWS: Final = 500
"""Rows that Redis gets in one go."""
_pack_double, _pack_float = struct.Struct("<d").pack, struct.Struct("<f").pack


class CannotWrite(Exception):
    """The online store takes no rows now; the message says why. Trying again may help."""


@dataclass(frozen=True, slots=True)
class ViewRows:
    """n rows of one view. keys: by join key. seconds: (n,), event times. values: a column of n for each feature, in the view's order."""

    view: StoredView
    keys: Columns
    seconds: Sequence[int]
    values: Sequence[Sequence[Any]]


_Ask = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[list[Any]]]


class OnlineWriter(Protocol):
    """Writes rows of stored views."""

    def write(self, rows: Sequence[ViewRows]) -> None:
        """Write them; waits for the store. Raises CannotWrite: some of them may be there."""
        ...


def open_writer(definitions: Definitions, redis_url: str | None) -> OnlineWriter:
    """The writer of the registry's online store. redis_url: of a Redis in its place. Raises RegistryError for another kind of store."""
    online = definitions.online
    url = redis_url or (online.url if online.type == "redis" else None)
    if url is not None:
        return RedisWriter(definitions, url)
    if online.type != "sqlite":
        raise RegistryError(f"online store {online.type!r} cannot be written directly, only sqlite and redis")
    return SqliteWriter(definitions, Path(online.path))


def cell_writer(feature: Feature) -> Callable[[Any], tuple[bytes, str]]:
    """A function of a value to its serialised ValueProto and its text. Raises RegistryError for a type that is no number."""
    match feature.type:
        case "DOUBLE":
            return lambda value: (b"\x29" + _pack_double(value), str(float(value)))
        case "FLOAT":
            return lambda value: (b"\x35" + _pack_float(value), str(float(np.float32(value))))
        case "INT64" | "INT32":
            tag = b"\x20" if feature.type == "INT64" else b"\x18"
            return lambda value: (tag + varint_of(int(value)), str(int(value)))
        case other:
            raise RegistryError(f"feature {feature.name!r} is {other}; only numbers are written to the online store")


def varint_of(value: int) -> bytes:
    """An int64 as protobuf writes it."""
    left, out = value & (2**64 - 1), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


class SqliteWriter:
    """Feast's SQLite file. Each write is one transaction."""

    def __init__(self, definitions: Definitions, path: Path) -> None:
        self._definitions, self._path = definitions, path

    def write(self, rows: Sequence[ViewRows]) -> None:
        """Write them in one transaction. Raises CannotWrite: none of them are there."""
        if not self._path.is_file():
            raise CannotWrite(f"{self._path} is not there; apply the features first")
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as connection, connection:
                for each in rows:
                    connection.executemany(self._statement(each.view), self._lines(each))
        except sqlite3.Error as problem:
            raise CannotWrite(f"{self._path}: {problem}") from problem

    def _statement(self, view: StoredView) -> str:
        table = f"{self._definitions.project}_{view.storage}".replace('"', '""')
        return (
            f'INSERT INTO "{table}" (entity_key, feature_name, value, value_text, event_ts, created_ts) '  # noqa: S608  # nosec B608  # a view's name
            "VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT(entity_key, feature_name) DO UPDATE SET value = excluded.value, "
            "value_text = excluded.value_text, event_ts = excluded.event_ts, created_ts = excluded.created_ts "
            "WHERE excluded.event_ts >= event_ts"
        )

    def _lines(self, rows: ViewRows) -> list[tuple[bytes, str, bytes, str, int]]:
        keys = key_encoder(rows.view.keys, self._definitions.key_version)(rows.keys, len(rows.seconds))
        local = {second: _local_seconds(second) for second in set(rows.seconds)}
        names = [feature.name for feature in rows.view.features]
        columns = [_cells(feature, column) for feature, column in zip(rows.view.features, rows.values, strict=True)]
        cells = list(zip(*columns, strict=True))
        lines = []
        for at in sorted(range(len(keys)), key=keys.__getitem__):
            key, second = keys[at], local[rows.seconds[at]]
            lines += [(key, name, value, text, second) for name, (value, text) in zip(names, cells[at], strict=True)]
        return lines


def _cells(feature: Feature, column: Sequence[Any]) -> list[tuple[bytes, str]]:
    """The cells of a column; many of its values are alike."""
    write = cell_writer(feature)
    made = {value: write(value) for value in set(column) if value != 0}
    return [made.get(value) or write(value) for value in column]  # 0.0 and -0.0 are one key


def _local_seconds(second: int) -> int:
    """Feast writes UTC as if it were local time."""
    return int(datetime.fromtimestamp(second, UTC).replace(tzinfo=None).timestamp())


class RedisWriter:
    """Feast's hashes in a Redis, the master of sentinels, or a cluster. Each write opens connections of its own."""

    def __init__(self, definitions: Definitions, url: str) -> None:
        """Raises RegistryError for what is no address."""
        self._definitions, self._shown = definitions, without_login(url)
        self._endpoints: RedisEndpoints | None = None
        self._address: Address | None = None
        self._is_cluster = is_cluster(url)
        try:
            if self._is_cluster or is_sentinel(url):
                self._endpoints = replace(endpoints_of(url), reads_replicas=False)  # they may be behind what was written last
            else:
                self._address = Address.of(url)
        except ValueError as problem:
            raise RegistryError(str(problem)) from problem

    def write(self, rows: Sequence[ViewRows]) -> None:
        """Write them, some at a time. Raises CannotWrite: some of them may be there."""
        try:
            asyncio.run(self._write(rows))
        except (OSError, TimeoutError) as problem:
            raise CannotWrite(f"Redis at {self._shown}: {problem}") from problem

    async def _write(self, rows: Sequence[ViewRows]) -> None:
        async with self._asker() as ask:
            for each in rows:
                for start in range(0, len(each.seconds), _ROWS):
                    await self._write_some(ask, each, slice(start, start + _ROWS))

    @asynccontextmanager
    async def _asker(self) -> AsyncIterator[_Ask]:
        """Something that takes keys, each with a command, and gives the replies. Raises OSError or TimeoutError."""
        if self._is_cluster and self._endpoints is not None:
            client = ClusterClient(self._endpoints)
            try:
                await client.start()
                yield lambda named: _ask_cluster(client, named)
            finally:
                await client.close()
            return
        address = self._address or await Sentinels(cast(RedisEndpoints, self._endpoints)).find_master()
        connection = await connect(address, lambda _: None, _REDIS_S)
        try:
            yield lambda named: _ask(connection, [command for _, command in named])
        finally:
            connection.close()

    async def _write_some(self, ask: _Ask, rows: ViewRows, some: slice) -> None:
        view, seconds = rows.view, rows.seconds[some]
        keys = key_encoder(view.keys, self._definitions.key_version)({n: c[some] for n, c in rows.keys.items()}, len(seconds))
        names = [key + self._definitions.project.encode() for key in keys]
        stamp = f"_ts:{view.storage}".encode()
        stored = await ask([(name, _command(b"HMGET", name, stamp)) for name in names])
        columns = [
            (field_of(f"{view.storage}:{feature.name}"), cell_writer(feature), column[some])
            for feature, column in zip(view.features, rows.values, strict=True)
        ]
        commands = []
        for place, (name, second, (before,)) in enumerate(zip(names, seconds, stored, strict=True)):
            if before and seconds_and_nanos(before)[0] > second:
                continue
            words = [b"HSET", name, stamp, b"\x08" + varint_of(second)]
            for field, write, column in columns:
                words += [field, write(column[place])[0]]
            commands.append((name, _command(*words)))
        await ask(commands)


async def _ask_cluster(client: ClusterClient, named: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    wanted = [KeyCommands(slot_of(name), (command,)) for name, command in named]
    answers = await client.run(wanted, monotonic() + _REDIS_S)
    for answer in answers:
        if isinstance(answer, ReadOutcome):
            raise OSError(f"a node of the cluster did not take a row ({answer.value})")
    return [answer[0] for answer in answers if not isinstance(answer, ReadOutcome)]


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


async def _ask(connection: RedisConnection, commands: Sequence[bytes]) -> list[Any]:
    if not commands:
        return []
    replies = await connection.ask(b"".join(commands), len(commands), _REDIS_S)
    if isinstance(replies, ReadOutcome):
        raise OSError(f"no answer ({replies.value})")
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise OSError(str(reply))
    return replies
