"""A store behind its breaker: what counts against it, and what a read costs while it is open."""

import asyncio

import pytest

from serving.features.plan.feature_plan import PartlyRead
from serving.features.stores.guarded import GuardedStore
from serving.ports import ReadOutcome
from serving.resilience.breaker import BreakerLimits, Guard

LIMITS = BreakerLimits(slow_s=0.04, least_calls=5, cooldown_s=1.0, jitter_ratio=0.0, probes=2)
ROWS = [[([b"1"], [0])]]


class Store:
    decodes = False

    def __init__(self):
        self.answer, self.asked, self.takes_s, self.now_s = ROWS, 0, 0.001, 0.0

    def prepare(self, project, groups):
        return (project, groups)

    async def fetch(self, prepared, keys, timeout_s):
        self.asked += 1
        self.now_s += self.takes_s
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def close(self):
        pass


class World:
    def __init__(self):
        self.store = Store()
        self.guard = Guard("features", LIMITS, instead="defaults")
        self.late_s = 0.0
        self.guarded = GuardedStore(self.store, self.guard, 0.05, now=lambda: self.store.now_s, late_s=lambda: self.late_s)

    async def read(self, timeout_s=0.05, times=1):
        for _ in range(times):
            found = await self.guarded.fetch((), [[b"k"]], timeout_s)
        return found


@pytest.fixture
def world():
    return World()


async def test_what_the_store_has_is_what_is_found(world):
    assert await world.read() is ROWS
    assert world.guarded.prepare("p", []) == ("p", [])


@pytest.mark.parametrize(
    "answer", [ReadOutcome.TIMED_OUT, ReadOutcome.LOST, ReadOutcome.FAILED, ReadOutcome.NO_CONNECTION, ReadOutcome.FULL]
)
async def test_a_store_that_fails_is_left_alone_and_asked_again_later(world, answer):
    world.store.answer = answer
    assert await world.read(times=5) is answer
    assert await world.read(times=100) is ReadOutcome.NOT_ASKED
    assert world.store.asked == 5
    world.store.answer, world.store.now_s = ROWS, world.store.now_s + 1.1
    assert await world.read(times=2) is ROWS
    assert world.guard.is_closed


async def test_a_store_that_is_slow_is_left_alone_too(world):
    world.store.takes_s = 0.045
    await world.read(times=5)
    assert await world.read() is ReadOutcome.NOT_ASKED
    assert world.guard.breaker.is_slow


async def test_a_client_in_a_hurry_takes_nobodys_features(world):
    world.store.answer = ReadOutcome.TIMED_OUT
    await world.read(timeout_s=0.001, times=100)
    assert world.guard.is_closed
    assert world.store.asked == 100


async def test_no_time_is_no_read(world):
    assert await world.read(timeout_s=0.0, times=100) is ReadOutcome.TIMED_OUT
    assert (world.store.asked, world.guard.is_closed) == (0, True)


async def test_clients_that_leave_say_nothing_about_the_store(world):
    world.store.answer = asyncio.CancelledError()
    for _ in range(20):
        with pytest.raises(asyncio.CancelledError):
            await world.read()
    assert world.guard.is_closed


async def test_a_loop_that_is_late_does_not_take_it_for_the_store(world):
    world.late_s, world.store.takes_s = 0.03, 0.045
    await world.read(times=100)
    world.store.answer = ReadOutcome.TIMED_OUT
    await world.read(times=100)
    assert world.guard.is_closed
    assert world.store.asked == 200


@pytest.mark.parametrize("answer", [ReadOutcome.LOST, ReadOutcome.NO_CONNECTION])
async def test_a_store_that_is_gone_is_gone_however_late_the_loop(world, answer):
    world.late_s, world.store.answer = 1.0, answer
    await world.read(times=5)
    assert await world.read() is ReadOutcome.NOT_ASKED


async def test_a_store_slower_than_the_loop_is_late_is_left_alone(world):
    world.late_s, world.store.takes_s = 0.01, 0.06
    await world.read(times=5)
    assert await world.read() is ReadOutcome.NOT_ASKED


async def test_a_store_that_comes_back_without_one_node_is_asked_by_all_again(world):
    world.store.answer = ReadOutcome.NO_CONNECTION
    await world.read(times=5)
    world.store.answer = PartlyRead(ROWS, ReadOutcome.LOST, is_nothing=False)
    world.store.takes_s, world.store.now_s = 0.05, world.store.now_s + 1.1
    await world.read(times=20)
    assert world.guard.is_closed
