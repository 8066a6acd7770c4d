"""A store whose rows are kept in memory: a hit costs no read. It is in front of the breaker, so hits do not count for the breaker.

Rows are found only while the source of changes is current: it has said within its bound that nothing it was told is on its way.

Requests that ask for one row at the same time wait for one read of it. Each keeps its own deadline: it waits only for a read that ends
before that. If that read finds nothing (it failed, its client left) or the entity changes meanwhile, the others read themselves. So the
breaker counts reads, as ever."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serving.features.near.change_source import ChangeSource
from serving.features.near.near_cache import JoinedRead, NearCache, ReadTicket
from serving.features.plan.feature_plan import NOT_KEPT, Group, PartlyRead, Row, Store
from serving.ports import ReadOutcome

_numbers = itertools.count()
_JOINS = 2
"""How often a request waits for the read of another before it reads itself."""


@dataclass(frozen=True, slots=True)
class NearPrepared:
    """A plan's part. inner: that of the store. kept: the same, for rows that are kept. numbers: one for each group, never used again.
    suffix: ends the store's names."""

    inner: Any
    kept: Any
    numbers: tuple[int, ...]
    suffix: bytes


class NearStore:
    """Implements plan.Store over another, with rows in `cache`. now: monotonic seconds."""

    decodes = False

    def __init__(self, inner: Store, cache: NearCache, source: ChangeSource, now: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._cache, self._source, self._now = inner, cache, source, now

    @property
    def source(self) -> ChangeSource:
        """What tells the changes of its rows."""
        return self._source

    def prepare(self, project: str, groups: Sequence[Group]) -> NearPrepared:
        """See plan.Store.prepare. A new plan finds no row of a former one; all rows leave, for those of former plans are useless."""
        self._cache.flush("plan")
        numbers = tuple(next(_numbers) for _ in groups)
        inner = self._inner.prepare(project, groups)
        return NearPrepared(inner, self._source.for_keeping(inner), numbers, project.encode())

    async def fetch(
        self, prepared: NearPrepared, keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """See plan.Store.fetch."""
        source, cache = self._source, self._cache
        if not source.is_following():
            return await self._inner.fetch(prepared.inner, keys, timeout_s)
        now_s = self._now()
        is_current = source.is_current(now_s)
        if len(keys) == 1 == len(keys[0]):  # the usual request: one entity
            name, number = keys[0][0] + prepared.suffix, prepared.numbers[0]
            if is_current:
                row = cache.find(name, number, now_s)
                if row is not None:
                    return [[row]]
            else:
                cache.unproven += 1
            found: list[list[Row]] | ReadOutcome = ReadOutcome.FAILED
            if not cache.is_wanted(name):
                found = await self._inner.fetch(prepared.inner, keys, timeout_s)
                return found if type(found) is not list else [[_not_kept(found[0][0])]]
            until_s = now_s + timeout_s
            row = None
            for _ in range(_JOINS):  # a row that came and may not be used could not be shared the next time either
                read = cache.under_way(name, number, now_s, until_s) if row is None else None
                if read is None:
                    break
                row, now_s = await _row_of(read), self._now()
                timeout_s = until_s - now_s
                if row is not None and len(row) == 3 and row[2].until_s > now_s:
                    return [[row]]
            ticket = cache.begin(name)
            read = cache.lead(ticket, number, now_s, until_s)
            row = None
            try:
                found = await self._inner.fetch(prepared.kept, keys, timeout_s)
                if type(found) is list:
                    row = cache.keep(name, number, found[0][0], ticket, now_s)
            finally:  # whatever ends this read, nobody waits for it any longer
                cache.tell(read, ticket, row)
                if type(found) is not list:
                    cache.leave(name, ticket)
            return found if row is None else [[row]]
        return await self._fetch_many(prepared, keys, timeout_s, now_s, is_current=is_current)

    async def close(self) -> None:
        """See plan.Store.close."""
        await self._inner.close()
        self._cache.flush("lost")

    async def _fetch_many(
        self, prepared: NearPrepared, keys: Sequence[Sequence[bytes]], timeout_s: float, now_s: float, *, is_current: bool
    ) -> list[list[Row]] | ReadOutcome:
        cache = self._cache
        names = [[key + prepared.suffix for key in asked] for asked in keys]
        rows: list[list[Row | None]]
        if is_current:
            rows = [
                [cache.find(name, number, now_s) for name in asked]
                for asked, number in zip(names, prepared.numbers, strict=True)
            ]
        else:
            rows = [[None] * len(asked) for asked in keys]
            cache.unproven += sum(map(len, keys))
        missing = [
            [key for key, row in zip(asked, found, strict=True) if row is None] for asked, found in zip(keys, rows, strict=True)
        ]
        if not any(missing):
            return [[row for row in found if row is not None] for found in rows]
        tickets = [
            (name, cache.begin(name) if cache.is_wanted(name) else None)
            for asked, found in zip(names, rows, strict=True)
            for name, row in zip(asked, found, strict=True)
            if row is None
        ]
        is_any_wanted = any(ticket is not None for _, ticket in tickets)
        read: list[list[Row]] | ReadOutcome = ReadOutcome.FAILED
        try:
            read = await self._inner.fetch(prepared.kept if is_any_wanted else prepared.inner, missing, timeout_s)
        finally:
            if type(read) is not list:
                for name, ticket in tickets:
                    if ticket is not None:
                        cache.leave(name, ticket)
        if type(read) is PartlyRead:  # the rows in memory, those that were read, and those that were not
            dropped = [(name, None) for name, _ in tickets]
            is_nothing = read.is_nothing and not any(row is not None for found in rows for row in found)
            return PartlyRead(self._merge(prepared, rows, read, dropped, now_s), read.outcome, is_nothing=is_nothing)
        if isinstance(read, ReadOutcome):
            return read
        return self._merge(prepared, rows, read, tickets, now_s)

    def _merge(
        self,
        prepared: NearPrepared,
        rows: Sequence[Sequence[Row | None]],
        read: Sequence[Sequence[Row]],
        tickets: Sequence[tuple[bytes, ReadTicket | None]],
        now_s: float,
    ) -> list[list[Row]]:
        """The rows that were in memory and those that were read, in their order."""
        waiting, merged = iter(tickets), []
        for number, found, fresh in zip(prepared.numbers, rows, read, strict=True):
            coming, whole = iter(fresh), []
            for row in found:
                if row is not None:
                    whole.append(row)
                    continue
                (name, ticket), come = next(waiting), next(coming)
                whole.append(_not_kept(come) if ticket is None else self._cache.keep(name, number, come, ticket, now_s))
            merged.append(whole)
        return merged


async def _row_of(read: JoinedRead) -> Row | None:
    """The row of another request's read; None if it failed, was given up, or was from before a change. It is over by its own end."""
    row: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
    read.waiting.append(lambda found: None if row.done() else row.set_result(found))
    return await row


def _not_kept(row: Row) -> Row:
    return row[0], row[1], NOT_KEPT
