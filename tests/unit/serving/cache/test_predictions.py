"""The prediction cache: hits, misses, one run for many, refusals kept, and no trouble from a cache that is out."""

import asyncio

import msgspec
import numpy as np
import pytest

from serving.cache.memory_cache import MemoryCache
from serving.cache.predictions import Predictions
from serving.models.errors import RunError
from serving.ports import CacheDown
from serving.resilience.breaker import BreakerLimits, Guard
from serving.telemetry.counts import GONE
from tests.fakes.clock import ManualClock

OUTPUTS = {"risk": np.array([[0.25], [0.75]], np.float32), "label": np.array(["a", "b"], dtype=object)}


class Model:
    """Runs when `gate` lets it; counts."""

    def __init__(self, clock, takes_s=0.004):
        self.clock, self.takes_s = clock, takes_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.runs, self.problem, self.fails_once = 0, None, False

    async def run(self):
        self.runs += 1
        await self.gate.wait()
        self.clock.advance(self.takes_s)
        if self.problem is not None:
            problem = self.problem
            self.problem = None if self.fails_once else problem
            raise problem
        return dict(OUTPUTS)


class Broken:
    """A cache that is out."""

    def __init__(self, kept=None):
        self.asked, self.kept = 0, kept

    async def get(self, key, within_s):
        self.asked += 1
        if self.kept is None:
            raise CacheDown("out")
        return self.kept

    def put(self, key, value):
        pass

    async def close(self):
        pass


class World:
    def __init__(self, cache=None):
        self.clock = ManualClock()
        self.cache = cache or MemoryCache(1_000_000, 60.0, now=self.clock.monotonic_s)
        self.guard = Guard("cache", BreakerLimits(slow_s=0.01), instead="the model runs")
        self.predictions = Predictions(self.cache, self.guard, self.clock, min_run_s=0.001, lookup_timeout_s=0.01)
        self.model = Model(self.clock)

    async def ask(self, key=b"k", left_s=1.0):
        return await self.predictions.outputs("m", key, 2, left_s, self.model.run, names=tuple(OUTPUTS))

    @property
    def counted(self):
        return {outcome: n for (_, outcome), n in self.predictions.requests.items()}


@pytest.fixture
def world():
    return World()


def equal(one, other):
    return one.keys() == other.keys() and all(
        one[n].dtype == other[n].dtype and one[n].tolist() == other[n].tolist() for n in one
    )


async def test_the_second_time_the_model_is_not_run_and_says_the_same_bits(world):
    first, second = await world.ask(), await world.ask()
    assert ([first[1], second[1]], world.model.runs) == (["miss", "hit"], 1)
    assert equal(first[0], OUTPUTS)
    assert equal(second[0], OUTPUTS)
    assert world.predictions.saved_s["m"] == pytest.approx(0.004, rel=1e-3)


async def test_other_keys_are_other_runs(world):
    await world.ask(b"a")
    await world.ask(b"b")
    assert world.counted == {"miss": 2}


async def test_of_many_at_once_one_runs(world):
    world.model.gate.clear()
    asking = [asyncio.ensure_future(world.ask()) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.model.gate.set()
    found = await asyncio.gather(*asking)
    assert world.model.runs == 1
    assert world.counted == {"miss": 1, "joined": 19}
    assert all(equal(outputs, OUTPUTS) for outputs, _ in found)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_when_the_one_that_runs_gives_up_the_next_one_runs(world, how):
    world.model.gate.clear()
    leader = asyncio.ensure_future(world.ask())
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(world.ask()) for _ in range(5)]
    await asyncio.sleep(0)
    if how == "cancelled":
        leader.cancel()
    else:
        world.model.problem, world.model.fails_once = ZeroDivisionError(), True
        world.model.gate.set()
    (problem,) = await asyncio.gather(leader, return_exceptions=True)
    assert isinstance(problem, asyncio.CancelledError if how == "cancelled" else ZeroDivisionError)
    world.model.gate.set()
    found = await asyncio.gather(*others)
    assert all(equal(outputs, OUTPUTS) for outputs, _ in found)
    assert world.model.runs == 2


async def test_waiting_for_another_ends_with_ones_own_time(world):
    world.model.gate.clear()
    leader = asyncio.ensure_future(world.ask())
    await asyncio.sleep(0)
    late = asyncio.ensure_future(world.ask(left_s=0.01))
    await asyncio.sleep(0.02)
    world.clock.advance(0.02)
    with pytest.raises(TimeoutError):
        await late
    assert not leader.done(), "whose run goes on"
    world.model.gate.set()
    await leader


async def test_a_refused_input_is_refused_again_without_a_run(world):
    world.model.problem = RunError("index out of bounds")
    for _ in range(3):
        with pytest.raises(RunError, match="index out of bounds"):
            await world.ask()
    assert world.model.runs == 1
    assert world.counted == {"miss": 1, "negative": 2}


async def test_failures_of_ours_are_never_kept(world):
    world.model.problem = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await world.ask()
    world.model.problem = None
    assert (await world.ask())[1] == "miss"


async def test_a_cache_that_is_out_is_a_miss_and_soon_not_even_asked():
    world = World(Broken())
    for i in range(100):
        assert (await world.ask(b"%d" % i))[1] == "miss"
    assert not world.guard.is_closed
    assert world.cache.asked < 20


async def test_what_cannot_be_read_is_a_miss():
    world = World(Broken(kept=b"\x91\xff garbage"))
    assert (await world.ask())[1] == "miss"


async def test_the_least_recently_used_goes_first_and_the_bound_holds():
    cache = MemoryCache(10_000, 60.0)
    for i in range(100):
        cache.put(b"%d" % i, bytes(750))
        await cache.get(b"0", 0.0)
        assert cache.bytes <= 10_000
    assert await cache.get(b"0", 0.0) is not None
    assert await cache.get(b"1", 0.0) is None
    assert await cache.get(b"99", 0.0) is not None


async def test_an_entry_in_place_of_itself_takes_no_more_memory():
    cache = MemoryCache(10_000, 60.0)
    for _ in range(50):
        cache.put(b"k", bytes(100))
    before = cache.bytes
    cache.put(b"k", bytes(100))
    assert cache.bytes == before


async def test_a_kept_value_that_lacks_an_output_is_a_miss(world):
    await world.ask()
    (whole,) = [await world.cache.get(b"k", 1.0)]
    world.cache.put(b"k", msgspec.msgpack.encode(msgspec.msgpack.decode(whole)[:1]))
    found, outcome = await world.ask()
    assert (outcome, world.model.runs) == ("miss", 2)
    assert equal(found, OUTPUTS)


async def test_counts_of_models_long_gone_are_forgotten_and_those_of_one_that_is_loaded_are_not(world):
    for number in range(3 * GONE):
        model = f"m{number:03}"
        for _ in range(2):
            await world.predictions.outputs(model, model.encode(), 2, 1.0, world.model.run)
        world.predictions.count_skipped("stays")
        world.predictions.keep({model, "stays"})
    last = {f"m{number:03}" for number in range(2 * GONE - 1, 3 * GONE)}
    counts = world.predictions.requests
    assert {model for model, _ in counts} == {"stays", *last}, "the one that is loaded, and the last that were"
    assert (counts["stays", "skipped"], counts["m047", "hit"]) == (3 * GONE, 1)
    assert set(world.predictions.saved_s) == last
    world.predictions.keep({"m031"})
    await world.predictions.outputs("m031", b"m031", 2, 1.0, world.model.run)
    assert world.predictions.requests["m031", "hit"] == 2, "a model that is loaded again goes on counting"
