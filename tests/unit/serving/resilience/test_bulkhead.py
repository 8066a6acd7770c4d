"""One slow model takes its own threads and queue, not its neighbours'; what nobody waits for is not run."""

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from functools import partial

import pytest

from serving.errors import Overloaded
from serving.resilience.bulkhead import Bulkheads
from tests.waiting import HANG_S, pass_time, until_so


@pytest.fixture
def bulkheads():
    made = Bulkheads(threads=1, queue=2)
    yield made
    made.close()


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def run(bulkhead, work, within_s=HANG_S, expected_s=0.0, **given):
    return asyncio.ensure_future(bulkhead.run(work, within_s=within_s, expected_s=expected_s, **given))


async def begun(bulkhead, count):
    await until_so(lambda: bulkhead.under_way == count)


async def test_a_model_that_hangs_leaves_the_others_alone(bulkheads, gate):
    stuck = [run(bulkheads.of("slow"), gate.wait) for _ in range(3)]
    await begun(bulkheads.of("slow"), 3)
    assert await run(bulkheads.of("quick"), lambda: "done") == "done"
    gate.set()
    assert await asyncio.gather(*stuck) == [True] * 3


async def test_beyond_its_queue_a_run_is_refused_at_once(bulkheads, gate):
    stuck = [run(bulkheads.of("slow"), gate.wait) for _ in range(3)]
    await begun(bulkheads.of("slow"), 3)
    with pytest.raises(Overloaded) as caught:
        await run(bulkheads.of("slow"), gate.wait)
    assert caught.value.retry_after_s is not None
    assert (bulkheads.refused, bulkheads.of("slow").under_way) == (1, 3)
    gate.set()
    await asyncio.gather(*stuck)


async def test_a_run_that_could_not_end_in_time_is_refused_before_it_waits(bulkheads, gate):
    stuck = run(bulkheads.of("slow"), gate.wait)
    await begun(bulkheads.of("slow"), 1)
    with pytest.raises(Overloaded, match=r"would answer in about 0\.200 s"):
        await run(bulkheads.of("slow"), gate.wait, within_s=0.15, expected_s=0.1)
    gate.set()
    await stuck


async def test_a_run_alone_is_always_tried(bulkheads):
    assert await run(bulkheads.of("m"), lambda: 1, expected_s=2 * HANG_S) == 1


async def test_what_nobody_waits_for_any_more_is_not_run(bulkheads, gate):
    stuck, was_run = run(bulkheads.of("slow"), gate.wait), []
    await begun(bulkheads.of("slow"), 1)
    gone = run(bulkheads.of("slow"), lambda: was_run.append(1))
    await begun(bulkheads.of("slow"), 2)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert bulkheads.of("slow").under_way == 1, "its place in the queue is free at once"
    gate.set()
    await stuck
    assert await run(bulkheads.of("slow"), lambda: 1) == 1
    assert not was_run


@pytest.mark.parametrize("how", ["time", "client"])
async def test_a_run_under_way_is_told_to_stop_when_its_time_is_over_or_its_client_gone(bulkheads, gate, how):
    started, stopped = threading.Event(), []

    def work():
        started.set()
        gate.wait()

    def stop():
        stopped.append(how)
        gate.set()

    running = run(bulkheads.of("slow"), work, within_s=HANG_S, stop=stop)
    await until_so(started.is_set)  # what waits for its thread is not stopped
    if how == "client":
        running.cancel()
    else:
        pass_time(HANG_S)
    with pytest.raises(TimeoutError if how == "time" else asyncio.CancelledError):
        await running
    assert stopped == [how]
    await begun(bulkheads.of("slow"), 0)


async def test_what_went_well_is_not_told_to_stop(bulkheads):
    stopped = []
    await run(bulkheads.of("m"), lambda: 1, stop=lambda: stopped.append(1))
    assert not stopped


async def test_models_that_are_gone_leave_their_threads(bulkheads):
    for name in ("a", "b"):
        await run(bulkheads.of(name), lambda: 1)
    before = bulkheads.of("a")
    bulkheads.keep(["b"])
    assert bulkheads.of("a") is not before
    with pytest.raises(RuntimeError):
        await run(before, lambda: 1)
    assert before.under_way == 0


class Rows:
    """What a request brings."""


async def test_a_run_that_was_given_up_while_it_waited_holds_nothing(bulkheads, gate):
    """Else the rows of requests whose time is over pile up behind a run that hangs: the queue's limit does not count them."""
    stuck = run(bulkheads.of("slow"), gate.wait)
    await begun(bulkheads.of("slow"), 1)
    rows = Rows()
    is_there = weakref.ref(rows)
    waiting = run(bulkheads.of("slow"), partial(id, rows))
    del rows
    await begun(bulkheads.of("slow"), 2)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    del waiting
    await until_so(lambda: (gc.collect(), is_there())[1] is None)
    gate.set()
    await stuck


def at_each_step(work, then):
    """Do `work`; at each step of it in the module of bulkheads, as another thread might, `then`."""

    def trace(frame, event, arg):
        if frame.f_globals.get("__name__") != Bulkheads.__module__:
            return None
        then()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work()
    finally:
        sys.settrace(before)


async def refused_once(bulkheads, gate, name="slow"):
    stuck = [run(bulkheads.of(name), gate.wait) for _ in range(3)]
    await begun(bulkheads.of(name), 3)
    with pytest.raises(Overloaded):
        await run(bulkheads.of(name), gate.wait)
    gate.set()
    await asyncio.gather(*stuck)


async def test_refusals_are_read_by_a_scrape_while_the_loop_makes_room_for_another_model(bulkheads, gate):
    await refused_once(bulkheads, gate)
    more = iter(range(1000))
    assert at_each_step(lambda: bulkheads.refused, lambda: bulkheads.of(f"another-{next(more)}")) == 1


async def test_the_count_of_refusals_never_goes_back_while_a_model_goes(bulkheads, gate):
    await refused_once(bulkheads, gate)
    read = []
    at_each_step(lambda: bulkheads.keep(()), lambda: read.append(bulkheads.refused))
    assert set(read) == {1}, read
