"""A coroutine begun at once behaves as a task does: it differs only in when its first step runs."""

import asyncio
from contextvars import ContextVar

import pytest

from serving.doors.eager import start
from tests.waiting import HANG_S

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="outside")


class Told(list):
    """What `done` was told; `until` waits for it."""

    def __init__(self):
        super().__init__()
        self._event = asyncio.Event()

    def __call__(self, result, problem):
        self.append((result, problem))
        self._event.set()

    async def until(self):
        await asyncio.wait_for(self._event.wait(), HANG_S)
        (told,) = self
        return told


def begin(coroutine):
    told = Told()
    return start(coroutine, told, asyncio.get_running_loop()), told


async def nested(depth, innermost):
    return await innermost() if depth == 0 else await nested(depth - 1, innermost)


async def answer():
    return "answer"


async def test_what_never_waits_is_done_before_start_returns_and_makes_no_task():
    before = asyncio.all_tasks()
    task, told = begin(nested(5, answer))
    assert (task, told) == (None, [("answer", None)])
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("problem", [ZeroDivisionError("x"), asyncio.CancelledError(), GeneratorExit()])
async def test_what_raises_before_it_waits_tells_so(problem):
    async def failing():
        raise problem

    task, told = begin(failing())
    assert task is None
    assert told == [(None, problem)]


async def test_a_stop_of_the_process_is_not_swallowed():
    async def stopping():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(stopping())
    assert asyncio.current_task() is not None, "the task that called goes on as itself"


async def pause():
    await asyncio.sleep(0)
    return "answer"


async def short_sleep():
    await asyncio.sleep(0.001)
    return "answer"


async def gathered():
    return (await asyncio.gather(pause(), short_sleep(), answer()))[1]


async def waited_for():
    return await asyncio.wait_for(short_sleep(), 5)


async def grouped():
    async with asyncio.TaskGroup() as group:
        task = group.create_task(short_sleep())
    return task.result()


async def within_time():
    async with asyncio.timeout(5):
        return await short_sleep()


async def in_a_thread():
    return await asyncio.to_thread(lambda: "answer")


async def many_times():
    for _ in range(5):
        await asyncio.sleep(0)
        await asyncio.sleep(0.0001)
    return "answer"


async def after_a_failure_it_caught():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, ValueError("later"))
    with pytest.raises(ValueError, match="later"):
        await future
    return await pause()


@pytest.mark.parametrize(
    "work", [pause, short_sleep, gathered, waited_for, grouped, within_time, in_a_thread, many_times, after_a_failure_it_caught]
)
async def test_what_waits_ends_as_it_would_in_a_task(work):
    task, told = begin(nested(3, work))
    assert task is not None
    assert not told
    ended = task.ended()
    assert await told.until() == ("answer", None)
    assert task.done()
    assert ended.done()
    assert task.ended().done(), "also if it is asked for later"


async def test_a_time_limit_set_in_the_first_step_holds():
    async def too_slow():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)

    _, told = begin(too_slow())
    assert isinstance((await told.until())[1], TimeoutError)


async def test_a_time_limit_that_is_over_at_once_holds():
    async def too_slow():
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(5)
        except TimeoutError:
            return "in time"

    assert await begin(too_slow())[1].until() == ("in time", None)


async def test_a_group_that_fails_takes_the_first_step_with_it():
    async def failing():
        raise ValueError("inner")

    async def parent():
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            await asyncio.sleep(5)

    _, told = begin(parent())
    problem = (await told.until())[1]
    assert isinstance(problem, ExceptionGroup)


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_cancelled_request_cleans_up_whenever_it_is_cancelled(turns):
    seen = []

    async def working():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    task, told = begin(working())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    result, problem = await told.until()
    assert (result, type(problem)) == (None, asyncio.CancelledError)
    assert seen == ["cancelled", "cleaned up"]


async def test_cancelling_itself_in_the_first_step_strikes_at_the_first_wait():
    seen = []

    async def working():
        me = asyncio.current_task()
        me.cancel()
        assert me.cancelling() == 1
        seen.append("goes on")
        await asyncio.sleep(60)

    _, told = begin(working())
    assert isinstance((await told.until())[1], asyncio.CancelledError)
    assert seen == ["goes on"]


async def test_a_future_that_others_await_too():
    shared = asyncio.get_running_loop().create_future()

    async def waiting():
        return await shared

    first, told = begin(waiting())
    second, told_second = begin(waiting())
    third = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    shared.set_result("answer")
    assert await told.until() == await told_second.until() == ("answer", None)
    assert await third == "answer"
    assert first.done()
    assert second.done()


async def test_a_future_awaited_by_a_task_in_the_same_turn():
    """The other task's first step comes between our first step and our task's."""
    shared = asyncio.get_running_loop().create_future()

    async def waiting():
        return await shared

    other = asyncio.create_task(waiting())
    _, told = begin(waiting())
    await asyncio.sleep(0)
    shared.set_result("answer")
    assert await told.until() == ("answer", None)
    assert await other == "answer"


async def test_a_future_that_is_done_before_the_task_runs():
    shared = asyncio.get_running_loop().create_future()

    async def waiting():
        return await shared

    _, told = begin(waiting())
    shared.set_result("answer")
    assert await told.until() == ("answer", None)


async def test_its_context_is_its_own_and_the_same_throughout():
    async def setting():
        token = VARIABLE.set("inside")
        await asyncio.sleep(0)
        seen = VARIABLE.get()
        VARIABLE.reset(token)
        return seen

    _, told = begin(setting())
    assert VARIABLE.get() == "outside"
    assert await told.until() == ("inside", None)

    async def leaving_it_set():
        VARIABLE.set("inside")

    begin(leaving_it_set())
    assert VARIABLE.get() == "outside"


async def test_the_current_task_is_one_throughout():
    async def looking():
        first = asyncio.current_task()
        was_done = first.done()
        await asyncio.sleep(0)
        return first, asyncio.current_task(), was_done

    work, told = begin(looking())
    (first, later, was_done), _ = await told.until()
    assert first is later is work
    assert was_done is False
    assert work.cancel() is False, "it has ended"


async def test_it_runs_on_in_the_turn_that_brings_what_it_waited_for():
    """A Task would take one more turn to begin, and one more to tell its end."""
    brought, told = asyncio.get_running_loop().create_future(), []

    async def waiting():
        return await brought

    start(waiting(), lambda result, _: told.append(result), asyncio.get_running_loop())
    brought.set_result("answer")
    await asyncio.sleep(0)
    assert told == ["answer"]


async def test_a_cancellation_that_comes_with_the_result_still_strikes():
    brought, seen = asyncio.get_running_loop().create_future(), []

    async def waiting():
        try:
            await brought
        except asyncio.CancelledError as problem:
            seen.append(problem.args)
            raise

    work, told = begin(waiting())
    brought.set_result("answer")
    assert work.cancel("the client is gone")
    assert isinstance((await told.until())[1], asyncio.CancelledError)
    assert seen == [("the client is gone",)]


async def test_what_waits_for_something_else_than_a_future_fails_as_in_a_task():
    class Strange:
        def __await__(self):
            yield "something"

    async def waiting():
        await Strange()

    _, told = begin(waiting())
    assert isinstance((await told.until())[1], RuntimeError)


async def test_one_may_begin_within_another():
    async def outer():
        inner, told = begin(pause())
        assert inner is not None
        return (await told.until())[0], asyncio.current_task() is not None

    assert (await begin(outer())[1].until())[0] == ("answer", True)


async def test_what_ends_itself_is_told_once_though_done_raises():
    told = []

    def done(result, problem):
        told.append(result)
        raise RuntimeError("in done")

    with pytest.raises(RuntimeError, match="in done"):
        start(answer(), done, asyncio.get_running_loop())
    assert told == ["answer"]
    assert asyncio.current_task() is not None
