"""Stored features in Feast's SQLite file: the default store of one machine.

A read of a few keys takes 0.2 ms and runs at once, on the event loop (a thread costs more than that to reach); one of many keys,
or one that meets a writer's lock, runs in a thread. The file is opened read-only, and again when it was replaced.
Feast keeps event times there in whole seconds."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from serving.features.near.near_cache import NearCache
from serving.features.plan.feature_plan import Group, Row
from serving.ports import ReadOutcome

log = logging.getLogger(__name__)

_PARAMETERS: Final = 500
"""Keys in one statement; SQLite's own limit was 999 for long."""
_COLUMNS: Final = "entity_key, feature_name, value, event_ts"
_FEW: Final = 8
"""Keys of a read that runs on the event loop."""
_BUSY_S: Final = 0.02
"""How long the thread waits for a writer's lock."""
LOOK_S: Final = 0.02
"""Time between two looks whether the file has changed, if rows are kept in memory."""
_RETRY_S: Final = 1.0
"""How long a failed or missing file is left alone."""


@dataclass(frozen=True, slots=True)
class ViewTable:
    """One view's table and the place of each of its features in the group's cells."""

    table: str
    places: dict[str, int]


@dataclass(frozen=True, slots=True)
class SqliteQuery:
    """One group: its views, how many cells it has, and the statement that reads all of them for one key."""

    views: tuple[ViewTable, ...]
    cells: int
    one_key: str


class SqliteStore:
    """Implements plan.Store."""

    decodes = False

    def __init__(self, path: Path, near: NearCache | None = None) -> None:
        """Read from the online store at `path`, which may come later. near: is notified when the file has changed."""
        self._path, self._near = path, near
        self._version: tuple[int, int] | None = None
        self._looked_s, self._is_telling = 0.0, False
        self._here, self._there = _File(path, busy_timeout_s=0.0), _File(path, busy_timeout_s=_BUSY_S)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features-sqlite")
        self._retry_at = 0.0

    def prepare(self, project: str, groups: Sequence[Group]) -> tuple[SqliteQuery, ...]:
        """Name the tables and write the statements."""
        prepared = []
        for group in groups:
            views = tuple(
                ViewTable(_quoted(f"{project}_{p.view.storage}"), {f.name: p.first + i for i, f in enumerate(p.view.features)})
                for p in group.views
            )
            parts = [f"SELECT {i}, {_COLUMNS} FROM {v.table} WHERE entity_key = ?1" for i, v in enumerate(views)]  # noqa: S608  # nosec B608  # tables of the plan; keys are bound
            prepared.append(SqliteQuery(views, group.cells, " UNION ALL ".join(parts)))
        return tuple(prepared)

    async def fetch(
        self, prepared: tuple[SqliteQuery, ...], keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Read every group."""
        if time.monotonic() < self._retry_at:
            return ReadOutcome.NO_CONNECTION
        try:
            if sum(map(len, keys)) <= _FEW:
                try:
                    return self._here.read(prepared, keys) or ReadOutcome.TIMED_OUT
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                        raise
            loop, until_s = asyncio.get_running_loop(), time.monotonic() + timeout_s
            reading = loop.run_in_executor(self._thread, lambda: self._there.read(prepared, keys, until_s))
            async with asyncio.timeout(timeout_s):
                return await reading or ReadOutcome.TIMED_OUT
        except TimeoutError:
            return ReadOutcome.TIMED_OUT
        except (sqlite3.Error, OSError) as error:
            log.warning("features: %s cannot be read: %s", self._path, error)
            self._retry_at = time.monotonic() + _RETRY_S
            return ReadOutcome.FAILED

    def for_keeping(self, prepared: tuple[SqliteQuery, ...]) -> tuple[SqliteQuery, ...]:
        """See ChangeSource: rows of a file do not expire."""
        return prepared

    def is_following(self) -> bool:
        """See ChangeSource: the file can always be looked at."""
        return self._near is not None

    def is_current(self, now_s: float) -> bool:
        """See ChangeSource: looks whether the file has changed, at most every LOOK_S. Any change is one of all rows."""
        near = self._near
        if near is None:
            return False
        if now_s - self._looked_s < LOOK_S:
            return True
        try:
            version = self._here.version()
        except (sqlite3.Error, OSError):  # locked by a writer, or not there: the read that follows finds out
            version, self._is_telling = None, False
        else:
            self._looked_s, self._is_telling = now_s, True
        if version is None or version != self._version:
            near.flush("changed")
            self._version = version
        return version is not None

    def is_telling(self) -> bool:
        """See ChangeSource: whether the file could be looked at."""
        return self._is_telling

    def lag_s(self) -> float:
        """See ChangeSource: a look is taken when a row is used."""
        return 0.0

    async def close(self) -> None:
        """Stop the thread and close the file."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)  # a read of many keys may still be under way
        self._here.close()
        self._there.close()


class _File:
    """The file as one thread reads it."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path, self._busy_timeout_s = path, busy_timeout_s
        self._connection: sqlite3.Connection | None = None
        self._inode = self._opened = 0

    def read(
        self, prepared: Sequence[SqliteQuery], keys: Sequence[Sequence[bytes]], until_s: float = float("inf")
    ) -> list[list[Row]] | None:
        """Read every group; None if it is past `until_s`, when nobody waits any more."""
        if time.monotonic() >= until_s:
            return None
        connection = self._open()
        return [_group(connection, group, asked) for group, asked in zip(prepared, keys, strict=True)]

    def version(self) -> tuple[int, int]:
        """Which file it is, and a number that changes whenever another connection has committed to it. Raises sqlite3.Error, OSError."""
        connection = self._open()
        (number,) = connection.execute("PRAGMA data_version").fetchone()
        return self._opened, number

    def close(self) -> None:
        """Close it, if it is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        inode = self._path.stat().st_ino
        if self._connection is None or inode != self._inode:
            self.close()
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, timeout=self._busy_timeout_s, check_same_thread=False)
            self._inode = inode
            self._opened += 1
        return self._connection


def _group(connection: sqlite3.Connection, group: SqliteQuery, keys: Sequence[bytes]) -> list[Row]:
    found: dict[bytes, tuple[list[Any], list[int]]] = {key: ([None] * group.cells, [0] * len(group.views)) for key in keys}
    if len(keys) == 1:
        _sort(group, connection.execute(group.one_key, keys), found)
        return [found[keys[0]]]
    for index, view in enumerate(group.views):
        for start in range(0, len(keys), _PARAMETERS):
            some = keys[start : start + _PARAMETERS]
            marks = ",".join("?" * len(some))
            query = f"SELECT {index}, {_COLUMNS} FROM {view.table} WHERE entity_key IN ({marks})"  # noqa: S608  # nosec B608  # tables of the plan; keys are bound
            _sort(group, connection.execute(query, some), found)
    return [found[key] for key in keys]


def _sort(group: SqliteQuery, rows: Iterable[Any], found: dict[bytes, tuple[list[Any], list[int]]]) -> None:
    """Put each stored value into its place; a view's event time is that of its oldest feature."""
    for index, key, name, value, at in rows:
        place = group.views[index].places.get(name)
        if place is not None:
            cells, times = found[key]
            cells[place] = value
            stamp = _microseconds(at)
            if not 0 < times[index] <= stamp:
                times[index] = stamp


@lru_cache(maxsize=4096)
def _microseconds(stored: int | str | None) -> int:
    """Feast writes UTC as if it were local time, as whole seconds; read it back the same way. 0 if it cannot be read."""
    if stored is None:
        return 0
    try:
        naive = datetime.fromtimestamp(stored) if isinstance(stored, int) else datetime.fromisoformat(stored)
    except (ValueError, TypeError, OverflowError, OSError):
        return 0
    moment = naive.replace(tzinfo=UTC) if naive.tzinfo is None else naive
    return int(moment.timestamp()) * 1_000_000


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
