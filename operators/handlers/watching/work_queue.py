"""When which service is looked at: at once when it changed, else after a while; never twice at the same moment.

No kopf, no cluster: keys, a clock and a coroutine to call. A look that fails is tried again after a pause that doubles.

Everything here changes between two awaits of one event loop, so there is no lock. An `asyncio.Condition` would have to be waited
for with a limit, and on Python 3.11 a cancellation that meets the end of such a wait is lost, or leaves the lock taken."""

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
_log = logging.getLogger("vedette.operator")


class TryLater(Exception):
    """A look could not be finished; the message says why."""


class Backoff:
    """Pauses that double with each failure in a row, up to a limit, spread by jitter."""

    def __init__(self, first_s: float, most_s: float, jitter_ratio: float, rng: random.Random) -> None:
        self._first_s, self._most_s, self._jitter, self._rng = first_s, most_s, jitter_ratio, rng

    def pause_s(self, failures: int) -> float:
        """After so many failures in a row, at least 1."""
        return self.spread(min(self._most_s, self._first_s * 2.0 ** min(failures - 1, 30)))

    def spread(self, pause_s: float) -> float:
        """A pause, a little longer or shorter."""
        return pause_s * (1 + self._rng.uniform(-self._jitter, self._jitter))


class WorkQueue(Generic[K]):
    """Looks at keys. look: does one, and says in how many seconds the next is due; None: never, until woken."""

    def __init__(self, look: Callable[[K], Awaitable[float | None]], backoff: Backoff, *, workers: int) -> None:
        self._look, self._backoff, self._workers = look, backoff, workers
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, tuple[float, int]] = {}
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._ticket = self._epoch = 0
        self._changed = asyncio.Event()

    async def wake(self, key: K, *, after_s: float = 0.0) -> None:
        """Look at it now (or after a while, unless it is due sooner). Woken while under way: once more when it is done."""
        if key in self._running and after_s <= 0:
            self._again.add(key)
        else:
            self._plan(key, after_s)
        self._tell()

    async def run(self) -> None:
        """Look, until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._workers):
                workers.create_task(self._work())

    async def clear(self) -> None:
        """Forget everything, and wait for what is under way."""
        self._epoch += 1
        self._due.clear()
        self._heap.clear()
        self._again.clear()
        self._failures.clear()
        while self._running:
            await self._changed.wait()

    def _tell(self) -> None:
        """Wake all that wait for a change; those that wait later wait for the next one."""
        self._changed.set()
        self._changed.clear()

    def _plan(self, key: K, after_s: float) -> None:
        when = asyncio.get_running_loop().time() + after_s
        if key in self._due and self._due[key][0] <= when:
            return
        self._ticket += 1
        self._due[key] = when, self._ticket
        heapq.heappush(self._heap, (when, self._ticket, key))

    async def _work(self) -> None:
        while True:
            key = await self._take()
            epoch, after_s = self._epoch, None
            try:
                after_s = await self._once(key)
            finally:
                self._running.discard(key)
                if epoch != self._epoch:
                    after_s = None
                if key in self._again:
                    self._again.discard(key)
                    self._plan(key, 0.0)
                elif after_s is not None:
                    self._plan(key, after_s)
                self._tell()

    async def _once(self, key: K) -> float | None:
        try:
            after_s = await self._look(key)
        except TryLater as problem:
            pause_s = self._failed(key)
            _log.warning("%s: %s; again in %.0f s", key, problem, pause_s)
            return pause_s
        except Exception:
            pause_s = self._failed(key)
            _log.exception("%s: the look failed; again in %.0f s", key, pause_s)
            return pause_s
        self._failures.pop(key, None)
        return None if after_s is None else self._backoff.spread(after_s)

    def _failed(self, key: K) -> float:
        self._failures[key] = self._failures.get(key, 0) + 1
        return self._backoff.pause_s(self._failures[key])

    async def _take(self) -> K:
        """The key that has been due for the longest; waits for one."""
        while (wait_s := self._wait_s()) != 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._running.add(key)
        return key

    def _wait_s(self) -> float | None:
        """Until the next is due; drops plans that were replaced, and puts off a key that is under way."""
        while self._heap:
            when, ticket, key = self._heap[0]
            if self._due.get(key, (0.0, 0))[1] != ticket:
                heapq.heappop(self._heap)
            elif key in self._running:
                heapq.heappop(self._heap)
                del self._due[key]
                self._again.add(key)
            else:
                return max(0.0, when - asyncio.get_running_loop().time())
        return None
