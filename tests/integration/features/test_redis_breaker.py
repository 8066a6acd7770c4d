"""The breaker around a real Redis that is killed, stalls, is slow, is full, and comes back."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
import redis
import uvloop

from serving.cache.predictions import Predictions
from serving.cache.redis_cache import RedisCache
from serving.features.stores.guarded import GuardedStore
from serving.features.stores.redis import RedisStore
from serving.ports import CacheDown, ReadOutcome
from serving.resilience.breaker import Breakers, BreakerState
from serving.resilience.bulkhead import Bulkheads
from serving.scoring.protection import Protection
from tests.fakes.clock import ManualClock
from tests.waiting import HANG_S, until_so

pytestmark = pytest.mark.integration
TIMEOUT_S = 0.05


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request):
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class Counted:
    """The store behind the breaker. paid: reads that reached it and got nothing."""

    def __init__(self, inner):
        self.inner, self.paid = inner, 0

    async def fetch(self, *asked):
        found = await self.inner.fetch(*asked)
        self.paid += isinstance(found, ReadOutcome)
        return found

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Features:
    """One key, one cell, behind a breaker with the limits it has in a replica. reads: how many were answered."""

    def __init__(self, url):
        from tests.integration.features.test_feature_redis import OneField

        self.field = OneField(url)
        self.protection = Protection(Breakers(), Bulkheads(threads=1, queue=1), 2.0, TIMEOUT_S)
        self.guard = self.protection.features()
        self.counted, self.reads = Counted(self.field.store), 0
        self.field.store = GuardedStore(self.counted, self.guard, TIMEOUT_S)

    async def read(self):
        found = await self.field.store.fetch(self.prepared(), [[b"k"]], TIMEOUT_S)
        return found if isinstance(found, ReadOutcome) else found[0][0][0][0]

    def prepared(self):
        from serving.features.stores.redis import RedisCommand

        return (RedisCommand(b"*3\r\n$5\r\nHMGET\r\n", b"\r\n$1\r\nf\r\n", 0, 1),)


@pytest.fixture
async def features(redis_server):
    redis.Redis.from_url(redis_server.url).hset("k", "f", "value")
    made = Features(redis_server.url)
    assert isinstance(made.counted.inner, RedisStore)
    await made.counted.inner.start()
    assert await made.read() == b"value"
    yield made
    await made.field.store.close()


async def ask_without_end(features):
    while True:
        await features.read()
        features.reads += 1
        await asyncio.sleep(0.005)


@asynccontextmanager
async def load(features, clients=32):
    """Clients that ask, each one read after the other, while the block runs."""
    asking = [asyncio.create_task(ask_without_end(features)) for _ in range(clients)]
    yield
    assert not [task for task in asking if task.done()], "a read raised"
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def eventually_closed(features):
    async def is_so():
        return await features.read() == b"value" and features.guard.is_closed

    await until_so(is_so, lambda: features.protection.degraded())


@pytest.mark.parametrize("trouble", ["killed", "stalled", "slow"])
async def test_a_redis_in_trouble_costs_a_few_reads_their_slice_then_nothing_and_is_used_again(features, redis_server, trouble):
    if trouble == "killed":
        redis_server.kill()
    elif trouble == "stalled":
        redis_server.pause()
    else:
        redis.Redis.from_url(redis_server.url).client_pause(1500)  # every command waits
    async with load(features):
        await until_so(lambda: not features.guard.is_closed)
        (said,) = features.protection.degraded()
        begun = features.reads
        await until_so(lambda: features.reads > begun + 3000)
    paid = features.counted.paid
    assert paid <= 32 + 40, f"{paid} of {features.reads}: the clients of the first moment, then probes"
    assert said.startswith("features: breaker ")
    if trouble == "killed":
        redis_server.start()
        redis.Redis.from_url(redis_server.url).hset("k", "f", "value")
    elif trouble == "stalled":
        redis_server.resume()
    await eventually_closed(features)
    assert features.protection.degraded() == ()
    assert features.protection.breakers.changes["features", "open"] >= 1


@pytest.fixture
async def cache(redis_server):
    made = RedisCache(redis_server.url, 60.0)
    await made.start()
    yield made
    await made.close()


async def test_a_full_redis_keeps_nothing_new_and_answers_what_it_has(cache, redis_server):
    cache.put(b"before", b"1")
    assert await cache.get(b"before", HANG_S) == b"1"
    client = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    for i in range(50):
        cache.put(b"after%d" % i, b"1")
    assert await cache.get(b"after0", HANG_S) is None
    assert await cache.get(b"before", HANG_S) == b"1"


async def test_a_dead_cache_is_a_miss_at_once_and_is_used_again_when_it_is_back(cache, redis_server):
    protection = Protection(Breakers(), None, 2.0, TIMEOUT_S)
    clock = ManualClock()
    guard = protection.cache(0.01)
    predictions = Predictions(cache, guard, clock, min_run_s=0.0, lookup_timeout_s=0.05)

    async def run():
        return {}

    async def ask(key):
        clock.us = int(time.monotonic() * 1e6)
        return (await predictions.outputs("m", key, 1, 1.0, run))[1]

    async def is_used():
        await ask(b"again")
        return guard.is_closed

    await ask(b"k")
    assert await ask(b"k") == "hit"
    redis_server.kill()
    assert [await ask(b"%d" % i) for i in range(200)] == ["miss"] * 200
    assert guard.breaker.state is not BreakerState.CLOSED, "nobody waits for it"
    redis_server.start()
    await until_so(is_used, every_s=0.05)
    await ask(b"again")
    assert await ask(b"again") == "hit"


async def test_a_stalled_cache_is_waited_for_no_longer_than_it_may_take(cache, redis_server):
    redis_server.pause()
    patient = asyncio.create_task(cache.get(b"k", HANG_S))
    with pytest.raises(CacheDown):
        await cache.get(b"k", 0.02)
    assert not patient.done()
    redis_server.resume()
    await asyncio.gather(patient, return_exceptions=True)
