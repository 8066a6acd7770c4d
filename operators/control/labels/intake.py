"""Takes labels of many clients in together: whatever waits goes into one append and one sync.

The log is used in one thread of its own, so a slow disk holds up no client that only reads."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from lifecycle.labels.desk import LabelDesk, TakenLabel
from lifecycle.labels.errors import LabelsLost, WrongLabel
from lifecycle.labels.requests import LabelRequest

MOST_TOGETHER: Final = 5000
"""Labels in one append."""
MOST_WAITING: Final = 20_000
"""Labels that wait; more are refused."""


class TooManyWaiting(LabelsLost):
    """More labels wait for the disk than may. Another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    requests: Sequence[LabelRequest | WrongLabel]
    done: "asyncio.Future[list[TakenLabel]]"


class LabelIntake:
    """Use as an async context manager."""

    def __init__(self, desk: LabelDesk) -> None:
        self._desk = desk
        self._waiting: list[_Waiting] = []
        self._news = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "LabelIntake":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for one in self._waiting:
            one.done.cancel()
        await asyncio.to_thread(self._pool.shutdown)

    async def take(self, requests: Sequence[LabelRequest | WrongLabel]) -> list[TakenLabel]:
        """Take labels; returns when they are durable. Raises LabelsLost, NoteError, OSError: then ask again."""
        if sum(len(one.requests) for one in self._waiting) + len(requests) > MOST_WAITING:
            raise TooManyWaiting(f"{MOST_WAITING} labels wait for the disk; send them again in a while, with the same ids")
        done: asyncio.Future[list[TakenLabel]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(requests, done))
        self._news.set()
        return await done

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                together: list[_Waiting] = [self._waiting.pop(0)]
                while self._waiting and sum(len(one.requests) for one in together) < MOST_TOGETHER:
                    together.append(self._waiting.pop(0))
                await self._commit(together)

    async def _commit(self, together: Sequence[_Waiting]) -> None:
        requests = [request for one in together for request in one.requests]
        try:
            taken = await asyncio.get_running_loop().run_in_executor(self._pool, self._desk.take, requests)
        except asyncio.CancelledError:
            for one in together:
                one.done.cancel()
            raise
        except Exception as problem:  # each client is told what became of its labels
            for one in together:
                if not one.done.done():
                    one.done.set_exception(problem)
            return
        at = 0
        for one in together:
            if not one.done.done():
                one.done.set_result(taken[at : at + len(one.requests)])
            at += len(one.requests)
