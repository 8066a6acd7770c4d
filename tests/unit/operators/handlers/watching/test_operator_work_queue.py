"""When which service is looked at."""

import asyncio
import random
from collections import Counter

import pytest

from operators.handlers.watching.work_queue import Backoff, TryLater, WorkQueue
from tests.waiting import until_so as until


def backoff(first_s: float = 0.01, most_s: float = 0.05) -> Backoff:
    return Backoff(first_s, most_s, 0.0, random.Random(1))


class Running:
    """An agenda that runs while the block does."""

    def __init__(self, look, *, workers: int = 4) -> None:
        self.agenda = WorkQueue(look, backoff(), workers=workers)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.agenda.run())
        return self.agenda

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_change_is_looked_at_at_once_though_the_next_look_is_far():
    looks = Counter()

    async def look(key):
        looks[key] += 1
        return 60.0

    async with Running(look) as agenda:
        await agenda.wake("a")
        await until(lambda: looks["a"] == 1)
        await agenda.wake("a")
        await until(lambda: looks["a"] == 2)


async def test_one_service_is_never_looked_at_twice_at_once_and_no_wake_is_lost():
    under_way, most, looks = Counter(), Counter(), Counter()

    async def look(key):
        under_way[key] += 1
        most[key] = max(most[key], under_way[key])
        for _ in range(5):
            await asyncio.sleep(0)
        under_way[key] -= 1
        looks[key] += 1

    async with Running(look) as agenda:
        for _ in range(20):
            await agenda.wake("a")
            await agenda.wake("b")
            await asyncio.sleep(0)
        woken_at = looks["a"]
        await agenda.wake("a")
        await until(lambda: looks["a"] > woken_at)
        await until(lambda: not under_way["a"] and not under_way["b"])
    assert most == {"a": 1, "b": 1}


class Remembering(Backoff):
    """Keeps what it was asked."""

    failures: list[int]

    def pause_s(self, failures: int) -> float:
        self.failures.append(failures)
        return super().pause_s(failures)


async def test_a_failing_look_is_tried_again_ever_later_and_holds_up_nobody():
    asked = Remembering(0.001, 0.01, 0.0, random.Random(1))
    asked.failures = []
    others = Counter()

    async def look(key):
        if key == "ill" and len(asked.failures) < 6:
            raise TryLater("no")
        others[key] += 1
        return 0.001

    agenda = WorkQueue(look, asked, workers=2)
    task = asyncio.create_task(agenda.run())
    await agenda.wake("ill")
    await agenda.wake("well")
    await until(lambda: others["ill"] >= 1 and others["well"] > 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asked.failures == [1, 2, 3, 4, 5, 6]


async def test_a_defect_of_one_service_ends_no_worker():
    looks = Counter()

    async def look(key):
        looks[key] += 1
        raise ValueError("a defect")

    async with Running(look, workers=1) as agenda:
        await agenda.wake("a")
        await until(lambda: looks["a"] >= 3)


async def test_clear_waits_for_what_is_under_way_and_nothing_follows():
    done = Counter()

    begun, over = Counter(), asyncio.Event()

    async def look(key):
        begun[key] += 1
        await over.wait()
        done[key] += 1
        return 0.001

    async with Running(look) as agenda:
        await agenda.wake("a")
        await until(lambda: begun["a"])
        clearing = asyncio.create_task(agenda.clear())
        await asyncio.sleep(0)
        assert not clearing.done()
        over.set()
        await clearing
        count = done["a"]
        await agenda.wake("b")
        await until(lambda: done["b"] >= 3)
        assert done["a"] == count == 1, "another is looked at again and again, this one is not"


@pytest.mark.parametrize(
    ("failures", "expected"), [(1, 1), (2, 2), (4, 8), (20, 300)], ids=["first", "second", "fourth", "never beyond the most"]
)
def test_pauses_double(failures, expected):
    assert Backoff(1, 300, 0.0, random.Random(1)).pause_s(failures) == expected


@pytest.mark.parametrize("turns", range(4), ids=lambda turns: f"{turns} turns of the loop after a wake")
async def test_it_ends_when_it_is_cancelled_at_the_moment_of_a_wake(turns):
    async def look(key):
        return None

    agenda = WorkQueue(look, backoff(), workers=4)
    task = asyncio.create_task(agenda.run())
    await agenda.wake("far", after_s=90)
    await asyncio.sleep(0.001)  # every worker waits until then
    await agenda.wake("near", after_s=60)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=10)
    while not task.done():  # or this test would never end either
        for left in asyncio.all_tasks() - {asyncio.current_task()}:
            left.cancel()
        await asyncio.sleep(0)
    assert ended, "a worker went on although it was cancelled"
