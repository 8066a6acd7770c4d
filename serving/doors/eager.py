"""Starts a coroutine at once, in the current turn of the loop. If it waits, it continues in the turn in which the awaited result arrives.

Most requests are answered without waiting. A Task for each would cost more than its HTTP, and one more turn of the loop. A request that
waits for its features would cost two more with a Task: one before it first runs, one before its end is told. `StartedWork` is the current
task while the coroutine runs (`asyncio.current_task()`), from its first step on. It knows what `asyncio.timeout`, `asyncio.TaskGroup`
and the like ask of one."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]
"""Called once at the end: (result, None) or (None, exception). A cancelled coroutine ends with CancelledError."""

_enter: Final[Any] = (
    asyncio.tasks._enter_task
)  # as asyncio documents for custom tasks ("Extending"); it wants a Task by type only
_leave: Final[Any] = asyncio.tasks._leave_task


def start(coroutine: Coroutine[Any, Any, T], done: Done, loop: asyncio.AbstractEventLoop) -> "StartedWork[T] | None":
    """Run it until it first waits. Returns the rest of it, or None if it never waited; then `done` was called.

    Called on the loop, from a callback or within a task. The coroutine has a context of its own, as a task has."""
    work = StartedWork(coroutine, done, loop)
    around = None
    try:
        _enter(loop, work)
    except RuntimeError:  # within a task; cheaper than to check each time
        around = asyncio.current_task(loop)
        _leave(loop, around)
        _enter(loop, work)
    problem: BaseException | None = None
    try:
        waited_for = work._context.run(coroutine.send, None)
    except StopIteration as end:
        result: T | None = end.value
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as raised:
        result, problem = None, raised
    else:
        work._wait_for(waited_for)
        return work
    finally:
        _leave(loop, work)
        if around is not None:
            _enter(loop, around)
    work._is_done = True
    done(result, problem)
    return None


class StartedWork(Generic[T]):
    """A coroutine that has begun. Touched on its loop only."""

    __slots__ = (
        "_cancels",
        "_context",
        "_coroutine",
        "_done",
        "_ended",
        "_is_done",
        "_loop",
        "_thrown",
        "_waited_for",
    )

    def __init__(self, coroutine: Coroutine[Any, Any, T], done: Done, loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine, self._done, self._loop, self._context = coroutine, done, loop, copy_context()
        self._waited_for: asyncio.Future[Any] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._thrown: BaseException | None = None  # into the coroutine, at its next step
        self._is_done, self._cancels = False, 0

    def cancel(self, msg: Any = None) -> bool:
        """As `Task.cancel`."""
        if self._is_done:
            return False
        self._cancels += 1
        if self._waited_for is not None and self._waited_for.cancel(msg):
            return True
        self._thrown = asyncio.CancelledError(*(() if msg is None else (msg,)))
        return True

    def cancelling(self) -> int:
        """As `Task.cancelling`."""
        return self._cancels

    def uncancel(self) -> int:
        """As `Task.uncancel`."""
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def done(self) -> bool:
        """Whether the coroutine has ended."""
        return self._is_done

    def ended(self) -> "asyncio.Future[None]":
        """A future that is done when the coroutine has ended; it says nothing of how."""
        if self._ended is None:
            self._ended = self._loop.create_future()
            if self._is_done:
                self._ended.set_result(None)
        return self._ended

    def get_name(self) -> str:
        """As `Task.get_name`."""
        return "started work"

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """As `Task.get_loop`."""
        return self._loop

    def _go_on(self, _future: Any = None) -> None:
        """Run the next step. Called by the loop, in the coroutine's own context."""
        coroutine, loop = self._coroutine, self._loop
        self._waited_for = None
        problem: BaseException | None = None
        _enter(loop, self)
        try:
            if (thrown := self._thrown) is not None:
                self._thrown = None
                waited_for = coroutine.throw(thrown)
            else:
                waited_for = coroutine.send(None)  # what it waited for raises by itself
        except StopIteration as end:
            result: T | None = end.value
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:
            result, problem = None, raised
        else:
            self._wait_for(waited_for)
            return
        finally:
            _leave(loop, self)
        self._is_done = True
        if self._ended is not None:
            self._ended.set_result(None)
        self._done(result, problem)

    def _wait_for(self, waited_for: Any) -> None:
        """Go on when this is there: a future, or None for the next turn of the loop (`asyncio.sleep(0)`)."""
        if waited_for is None:
            self._loop.call_soon(self._go_on, context=self._context)
        elif getattr(waited_for, "_asyncio_future_blocking", None):
            waited_for._asyncio_future_blocking = False
            waited_for.add_done_callback(self._go_on, context=self._context)
            self._waited_for = waited_for
            if self._thrown is not None and waited_for.cancel(*self._thrown.args):  # cancelled in its own step
                self._thrown = None
        else:
            self._thrown = RuntimeError(
                f"a coroutine on the doors' loop waited for {waited_for!r}; it may wait for futures only"
            )
            self._loop.call_soon(self._go_on, context=self._context)
