"""Starts a coroutine at once, in the current turn of the loop. It becomes a Task only if it has to wait.

Most requests are answered without waiting. A Task for each would cost more than its HTTP, and one more turn of the loop. While
the first step runs, `asyncio.current_task()` is a stand-in. It forwards calls to the task once there is one, so `asyncio.timeout`
and the like work from the first line on."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar, cast

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]
"""Called once at the end: (result, None) or (None, exception). A cancelled coroutine ends with CancelledError."""


def start(coroutine: Coroutine[Any, Any, T], done: Done, loop: asyncio.AbstractEventLoop) -> "asyncio.Task[T] | None":
    """Run it until it first waits. Returns the task that runs the rest, or None if it never waited; then `done` was called.

    Called on the loop, from a callback or within a task. The coroutine has a context of its own, as a task has."""
    stand_in, context = _StandIn(), copy_context()
    as_task, around = cast("asyncio.Task[T]", stand_in), None
    try:
        asyncio.tasks._enter_task(loop, as_task)  # as asyncio documents for custom tasks ("Extending")
    except RuntimeError:  # within a task; cheaper than to check each time
        around = asyncio.current_task(loop)
        asyncio.tasks._leave_task(loop, cast("asyncio.Task[T]", around))
        asyncio.tasks._enter_task(loop, as_task)
    problem: BaseException | None = None
    try:
        waited_for = context.run(coroutine.send, None)
    except StopIteration as end:
        result: T | None = end.value
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as raised:
        result, problem = None, raised
    else:
        if asyncio.isfuture(waited_for):  # asyncio.sleep(0) yields None
            waited_for._asyncio_future_blocking = (
                False  # the sign that it is awaited; a task takes it down, as others may await it
            )
        task = loop.create_task(_Rest(coroutine, waited_for), context=context)
        stand_in.give_way(task)
        task.add_done_callback(lambda ended: _tell(done, ended))
        return task
    finally:
        asyncio.tasks._leave_task(loop, as_task)
        if around is not None:
            asyncio.tasks._enter_task(loop, around)
    done(result, problem)
    return None


def _tell(done: Done, task: "asyncio.Task[Any]") -> None:
    if task.cancelled():
        done(None, asyncio.CancelledError())
        return
    problem = task.exception()
    done(None if problem is not None else task.result(), problem)


class _Rest(Coroutine[Any, Any, T]):
    """Wraps a coroutine that has begun and waits, so that a task can go on with it: it first yields again what the coroutine waits for. It
    is not a generator, because a generator that has not begun takes no exception, and a cancelled task must reach the coroutine."""

    __slots__ = ("_coroutine", "_has_begun", "_waited_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T], waited_for: Any) -> None:
        self._coroutine, self._waited_for, self._has_begun = coroutine, waited_for, False

    def send(self, value: Any) -> Any:
        if self._has_begun:
            return self._coroutine.send(value)
        self._has_begun, future, self._waited_for = True, self._waited_for, None
        if asyncio.isfuture(future):
            future._asyncio_future_blocking = True
        return future

    def throw(self, *raised: Any) -> Any:
        self._has_begun, self._waited_for = True, None
        return self._coroutine.throw(*raised)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("only a task runs this")


class _StandIn:
    """The current task during a first step. Cancelling it cancels the task that follows, if there is one."""

    __slots__ = ("_cancels", "_message", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancels, self._message = 0, None

    def give_way(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        for _ in range(self._cancels):
            task.cancel(self._message)

    def cancel(self, msg: Any = None) -> bool:
        if self._task is not None:
            return self._task.cancel(msg)
        self._cancels, self._message = self._cancels + 1, msg
        return True

    def cancelling(self) -> int:
        return self._cancels if self._task is None else self._task.cancelling()

    def uncancel(self) -> int:
        if self._task is not None:
            return self._task.uncancel()
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def done(self) -> bool:
        return self._task is not None and self._task.done()

    def get_name(self) -> str:
        return "first step" if self._task is None else self._task.get_name()

    def __getattr__(self, name: str) -> Any:
        if self._task is None:
            raise AttributeError(f"a coroutine's first step has no {name}: its task does not exist before it waits")
        return getattr(self._task, name)
