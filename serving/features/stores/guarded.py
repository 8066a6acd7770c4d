"""A store behind its breaker. While the breaker is open no read is attempted, and the outcome is that of a failed store.

Three things say nothing about the store and do not count against it. A read that timed out with less time than the settings allow: one
client with a short deadline must not take the features of all. And the time by which the loop itself was late: on a busy processor a
healthy store would otherwise look slow. And nodes of a cluster that do not answer: the keys of the others are there."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from serving.features.plan.feature_plan import Group, PartlyRead, Row, Store
from serving.ports import ReadOutcome
from serving.resilience.breaker import Guard

_LATE_SHARE: Final = 0.5
"""Share of a read's time. If the loop is later than that, it may have missed the answer itself."""


class GuardedStore:
    """Implements plan.Store over another. timeout_s: what a read has by the settings. now: monotonic seconds. late_s: how late the
    loop has been lately."""

    def __init__(
        self,
        store: Store,
        guard: Guard,
        timeout_s: float,
        now: Callable[[], float] = time.monotonic,
        late_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._store, self._guard, self._timeout_s, self._now, self._late_s = store, guard, timeout_s, now, late_s
        self.decodes = store.decodes

    def prepare(self, project: str, groups: Sequence[Group]) -> Any:
        """See plan.Store.prepare."""
        return self._store.prepare(project, groups)

    async def fetch(self, prepared: Any, keys: Sequence[Sequence[bytes]], timeout_s: float) -> list[list[Row]] | ReadOutcome:
        """See plan.Store.fetch."""
        if timeout_s <= 0:
            return ReadOutcome.TIMED_OUT
        guard, start_s = self._guard, self._now()
        ticket = guard.standing or guard.ask(start_s)
        if ticket is None:
            return ReadOutcome.NOT_ASKED
        try:
            found = await self._store.fetch(prepared, keys, timeout_s)
        except BaseException:  # the client is gone, or a defect of ours
            guard.unused(ticket)
            raise
        now_s = self._now()
        if type(found) is PartlyRead:
            if found.is_nothing:
                guard.unused(ticket)
            else:  # the store answers; how long it took is that of the node which did not
                guard.succeeded(ticket, 0.0, now_s)
        elif not isinstance(found, ReadOutcome):
            took_s = now_s - start_s
            guard.succeeded(ticket, took_s if took_s <= guard.slow_s else max(took_s - self._late_s(), 0.0), now_s)
        elif found is ReadOutcome.TIMED_OUT and (timeout_s < self._timeout_s or self._late_s() > _LATE_SHARE * timeout_s):
            guard.unused(ticket)
        else:
            guard.failed(ticket, now_s - start_s, now_s)
        return found

    async def close(self) -> None:
        """See plan.Store.close."""
        await self._store.close()
