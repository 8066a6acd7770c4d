"""A connection to one Redis that is opened again whenever it is lost, in the background. Reads never wait for it.

Only a read that was under way when the connection broke may wait: it is retried if the first attempt to reconnect succeeds in its time."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from serving.features.near.near_cache import NearCache
from serving.features.stores.redis_wire import Address, RedisConnection, Replies, connect
from serving.ports import ReadOutcome
from serving.resilience.retry import RetryBudget, pause_s

log = logging.getLogger("serving.features.stores.redis")

CONNECT_S: Final = 1.0
PAUSE_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits between attempts to connect; the last one repeats."""


class RedisLink:
    """connection: None while there is none. Belongs to the event loop it was started on."""

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        name: str,
        *,
        greet: Callable[[RedisConnection], Awaitable[None]] | None = None,
        pushed: Callable[[Any], None] | None = None,
        lost: Callable[[], None] = lambda: None,
        retries: RetryBudget | None = None,
    ) -> None:
        """find: where to connect now; raises OSError. name: of it, for the log. greet: what is said first; raises OSError to refuse.

        pushed: called with each push. lost: called when the connection is gone."""
        self._find, self.name, self._greet, self._pushed = find, name, greet, pushed
        self._gone = lost
        self.connection: RedisConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[bool] | None = None  # the first one after a connection was lost
        self._is_closed, self._why = False, "the connection was lost at once"
        self.retries, self._rng = retries or RetryBudget(), random.Random()  # noqa: S311  # nosec B311  # spreads waits, hides nothing

    async def start(self) -> None:
        """Connect; if that fails, go on trying in the background."""
        if not await self._try():
            self.connect()

    async def close(self) -> None:
        """Close the connection and stop connecting."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self.connection is not None:
            self.connection.close()
            self.connection = None
            self._gone()
            await asyncio.sleep(0)

    def drop(self) -> None:
        """The connection leads to the wrong place now: open another one."""
        if self.connection is not None:
            self.connection.close(ReadOutcome.LOST)

    def connect(self) -> None:
        """Begin to connect, unless that is under way."""
        if self._connecting is None or self._connecting.done():
            loop = asyncio.get_running_loop()
            self._attempt = loop.create_future()
            self._connecting = loop.create_task(self._keep_trying(self._attempt))

    async def ask_again(self, commands: bytes, count: int, until_s: float) -> Replies:
        """Retry over the next connection, if it opens in time and the budget allows. Reads have no side effects.

        Each retry waits a random moment, so that a store that comes back does not get all lost reads at once."""
        if not await self.is_back(until_s):
            return ReadOutcome.LOST
        pause = pause_s(0, until_s - time.monotonic(), self._rng)
        if pause is None or not self.retries.spend():
            return ReadOutcome.LOST
        await asyncio.sleep(pause)
        if self.connection is None:
            return ReadOutcome.LOST
        return await self.connection.ask(commands, count, until_s - time.monotonic())

    async def is_back(self, until_s: float) -> bool:
        """Whether the first attempt to connect succeeds by until_s, a monotonic time."""
        attempt = self._attempt
        if attempt is None:
            return False
        await asyncio.wait([attempt], timeout=max(until_s - time.monotonic(), 0.0))
        return attempt.done() and not attempt.cancelled() and attempt.result()

    def _lost(self, connection: RedisConnection) -> None:
        if connection is self.connection and not self._is_closed:
            self.connection = None
            self._gone()
            log.warning("features: the connection to %s is lost; defaults are used until it is back", self.name)
            self.connect()

    async def _keep_trying(self, first: "asyncio.Future[bool]") -> None:
        is_back = await self._try()
        if not first.done():
            first.set_result(is_back)
        if not is_back:
            log.warning("features: cannot connect to %s, which is tried again: %s", self.name, self._why)
        attempt = 0
        while not is_back:
            await asyncio.sleep(PAUSE_S[min(attempt, len(PAUSE_S) - 1)])
            attempt += 1
            is_back = await self._try()
        log.info("features: connected to %s again", self.name)

    async def _try(self) -> bool:
        try:
            connection = await connect(await self._find(), self._lost, CONNECT_S, self._pushed)
            await self._say_first(connection)
        except (OSError, TimeoutError) as error:
            self._why = str(error) or type(error).__name__
            log.debug("features: %s: %s", self.name, self._why)
            return False
        if connection.is_open:  # else it was lost between its last answer and now
            self.connection = connection
        return connection.is_open

    async def _say_first(self, connection: RedisConnection) -> None:
        if self._greet is None:
            return
        try:
            await self._greet(connection)
        except BaseException:
            connection.close()
            raise


def tell(near: NearCache, push: Sequence[Any]) -> None:
    """What Redis pushes: the names that changed, or none after FLUSHDB and FLUSHALL."""
    if push[0] == b"invalidate":
        if push[1] is None:
            near.flush("emptied")
        else:
            near.invalidate(push[1])
