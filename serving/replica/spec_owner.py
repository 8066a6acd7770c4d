"""Who changes what is served: one task owns the specification, everybody else asks it for a change.

A change is a function of the specification as it stands when its turn comes, so that no change undoes another. A change is taken
at once, also while an earlier one still loads; who asked may go away at any time, the change goes on. What loading and serving
mean is serving.replica.inference_service's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.spec import ServingSpec

Change = Callable[[ServingSpec], ServingSpec]
"""From the specification as it stands to the one that is wanted. Raises if that cannot be."""
_log = logging.getLogger("vedette.service")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A change in the box. taken: what is loaded already is served by it. settled: all it names is loaded or refused."""

    change: Change
    taken: asyncio.Future[None]
    settled: asyncio.Future[None]

    def fail(self, problem: Exception) -> None:
        for future in (self.taken, self.settled):
            if not future.done():
                future.set_exception(problem)
                future.exception()  # who asked may be gone

    def give_up(self) -> None:
        self.taken.cancel()
        self.settled.cancel()


class SpecOwner:
    """The specification, and the task that changes it.

    take: serve by a specification what is loaded already. load: load what it names; may go on after a later change was taken.
    settle: serve by it once everything is loaded or refused."""

    def __init__(
        self,
        take: Callable[[ServingSpec], None],
        load: Callable[[ServingSpec], Awaitable[None]],
        settle: Callable[[ServingSpec], None],
    ) -> None:
        self.spec = ServingSpec()
        self._take, self._load, self._settle = take, load, settle
        self._box: list[_Asked] = []
        self._has_mail = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loads = set[asyncio.Task[None]]()

    async def taken(self, change: Change) -> None:
        """Returns when the change is taken; raises what the change raised."""
        await asyncio.shield(self._ask(change).taken)

    async def settled(self, change: Change) -> None:
        """Returns when everything is loaded or refused that is named by this change, or by the later one that overtook it."""
        await asyncio.shield(self._ask(change).settled)

    def take_again(self) -> None:
        """Serve by the specification as it stands what is loaded by now."""
        try:
            self._take(self.spec)
        except Exception:
            _log.exception("what is loaded could not be taken; what was served before goes on")

    def close(self) -> None:
        """Change nothing more; who waits is cancelled."""
        for task in (self._task, *self._loads):
            if task is not None:
                task.cancel()

    def _ask(self, change: Change) -> _Asked:
        loop = asyncio.get_running_loop()
        asked = _Asked(change, loop.create_future(), loop.create_future())
        self._box.append(asked)
        self._has_mail.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return asked

    async def _work(self) -> None:
        waiting: list[_Asked] = []
        try:
            while self._box:
                self._take_all(waiting)
                if not waiting:  # every change was refused: nothing is taken, loaded or settled anew
                    continue
                loading = self._loading()
                await self._until_mail_or(loading)
                if not self._box:
                    self._end(loading, waiting)
        finally:
            for asked in (*waiting, *self._box):
                asked.give_up()

    def _take_all(self, waiting: list[_Asked]) -> None:
        """Take every change of the box, in its order; those taken wait for their settling."""
        box, self._box = self._box, []
        self._has_mail.clear()
        waiting += [asked for asked in box if self._take_one(asked)]

    def _take_one(self, asked: _Asked) -> bool:
        """Whether it was taken. One that cannot be is refused whole: what was served before goes on, and later changes begin there."""
        try:
            spec = asked.change(self.spec)
        except Exception as problem:
            asked.fail(problem)
            return False
        try:
            self._take(spec)
        except Exception as defect:
            _log.exception("a change of what is served could not be taken; what was served before goes on")
            asked.fail(defect)
            self.take_again()
            return False
        self.spec = spec
        if not asked.taken.done():
            asked.taken.set_result(None)
        return True

    def _loading(self) -> asyncio.Task[None]:
        async def load(spec: ServingSpec) -> None:
            await self._load(spec)

        task = asyncio.get_running_loop().create_task(load(self.spec))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        return task

    async def _until_mail_or(self, loading: asyncio.Task[None]) -> None:
        mail = asyncio.get_running_loop().create_task(self._has_mail.wait())
        try:
            await asyncio.wait((loading, mail), return_when=asyncio.FIRST_COMPLETED)
        finally:
            mail.cancel()

    def _end(self, loading: asyncio.Task[None], waiting: list[_Asked]) -> None:
        try:
            loading.result()
            self._settle(self.spec)
        except Exception as defect:
            _log.exception("what is served could not be settled")
            for asked in waiting:
                asked.fail(defect)
        for asked in waiting:
            if not asked.settled.done():
                asked.settled.set_result(None)
        waiting.clear()
