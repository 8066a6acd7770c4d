"""One task owns the serving specification. All others queue changes for it.

A change is a function of the current specification, evaluated when its turn comes, so no change undoes another. A change is applied
at once, even while an earlier one still loads. It continues if its caller is cancelled. Loading and serving themselves are in
serving.replica.inference_service."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.spec import ServingSpec

Change = Callable[[ServingSpec], ServingSpec]
"""From the current specification to the wanted one. Raises if the change is not allowed."""
_log = logging.getLogger("vedette.service")


@dataclass(frozen=True, slots=True)
class _PendingChange:
    """A queued change. taken: done when what is loaded already is served by it. settled: done when all it names is loaded or refused."""

    evaluate: Change
    applied: asyncio.Future[None]
    settled: asyncio.Future[None]

    def fail(self, problem: Exception) -> None:
        for future in (self.applied, self.settled):
            if not future.done():
                future.set_exception(problem)
                future.exception()  # the caller may be gone

    def cancel(self) -> None:
        self.applied.cancel()
        self.settled.cancel()


class SpecOwner:
    """The specification, and the task that changes it.

    apply_loaded: serves by a specification what is loaded already. load: loads what it names; may continue after a later change.
    settle: serves by it once everything is loaded or refused."""

    def __init__(
        self,
        apply_loaded: Callable[[ServingSpec], None],
        load: Callable[[ServingSpec], Awaitable[None]],
        settle: Callable[[ServingSpec], None],
    ) -> None:
        self.spec = ServingSpec()
        self._apply_loaded, self._load, self._settle = apply_loaded, load, settle
        self._pending: list[_PendingChange] = []
        self._has_pending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loads = set[asyncio.Task[None]]()

    async def apply(self, change: Change) -> None:
        """Apply a change to what is loaded already. Raises what the change raises."""
        await asyncio.shield(self._enqueue(change).applied)

    async def apply_and_settle(self, change: Change) -> None:
        """Apply a change; returns when everything that it or a later change names is loaded or refused."""
        await asyncio.shield(self._enqueue(change).settled)

    def reapply(self) -> None:
        """Apply the current specification again: more is loaded now."""
        try:
            self._apply_loaded(self.spec)
        except Exception:
            _log.exception("the loaded revisions could not be applied; the previous ones are still served")

    def close(self) -> None:
        """Stop all changes; callers that wait are cancelled."""
        for task in (self._task, *self._loads):
            if task is not None:
                task.cancel()

    def _enqueue(self, change: Change) -> _PendingChange:
        loop = asyncio.get_running_loop()
        pending = _PendingChange(change, loop.create_future(), loop.create_future())
        self._pending.append(pending)
        self._has_pending.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return pending

    async def _run(self) -> None:
        waiting: list[_PendingChange] = []
        try:
            while self._pending:
                self._apply_pending(waiting)
                if not waiting:  # every change was refused
                    continue
                loading = self._start_loading()
                await self._until_loaded_or_pending(loading)
                if not self._pending:
                    self._settle_all(loading, waiting)
        finally:
            for change in (*waiting, *self._pending):
                change.cancel()

    def _apply_pending(self, waiting: list[_PendingChange]) -> None:
        """Apply the queued changes in their order. Those that succeed are added to `waiting` until they are settled."""
        pending, self._pending = self._pending, []
        self._has_pending.clear()
        waiting += [change for change in pending if self._apply_one(change)]

    def _apply_one(self, change: _PendingChange) -> bool:
        """Whether it was applied. After a failure the former specification is served, and later changes start from it."""
        try:
            spec = change.evaluate(self.spec)
        except Exception as problem:
            change.fail(problem)
            return False
        try:
            self._apply_loaded(spec)
        except Exception as defect:
            _log.exception("a change of what is served could not be applied; the previous revisions are still served")
            change.fail(defect)
            self.reapply()
            return False
        self.spec = spec
        if not change.applied.done():
            change.applied.set_result(None)
        return True

    def _start_loading(self) -> asyncio.Task[None]:
        async def load(spec: ServingSpec) -> None:
            await self._load(spec)

        task = asyncio.get_running_loop().create_task(load(self.spec))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        return task

    async def _until_loaded_or_pending(self, loading: asyncio.Task[None]) -> None:
        next_change = asyncio.get_running_loop().create_task(self._has_pending.wait())
        try:
            await asyncio.wait((loading, next_change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            next_change.cancel()

    def _settle_all(self, loading: asyncio.Task[None], waiting: list[_PendingChange]) -> None:
        try:
            loading.result()
            self._settle(self.spec)
        except Exception as defect:
            _log.exception("the served revisions could not be settled")
            for change in waiting:
                change.fail(defect)
        for change in waiting:
            if not change.settled.done():
                change.settled.set_result(None)
        waiting.clear()
