"""Rows kept in memory over a real Redis that tells its changes: what is answered was true at most BOUND_S ago, whatever happens."""

import asyncio
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.features.near.near_cache import NearCache
from serving.features.near.near_store import NearStore
from serving.features.plan.definitions import Definitions, Feature, JoinKey, OnlineStore, Service, StoredView
from serving.features.plan.feature_plan import compile_service
from serving.features.stores import redis as redis_store
from serving.features.stores.redis import BOUND_S, RedisStore, field_of
from serving.ports import ReadOutcome
from tests.fakes.redis_server import PROGRAM, RedisServer
from tests.waiting import HANG_S, until_so

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed; `make services` installs it"),
]

VIEW = StoredView("v", "v", (JoinKey("user", "user", "BYTES"),), (Feature("f", "BYTES"),), None)
SERVICE = Service("s", (VIEW,), (), ("v__f",))
FIELD = field_of("v:f")


class World:
    """One store with rows in memory, and a client that writes."""

    def __init__(self, url, login=""):
        self.client = redis.Redis.from_url(url)
        self.cache = NearCache(1_000_000)
        self.store = RedisStore(url.replace("redis://", f"redis://{login}"), self.cache)
        self.near = NearStore(self.store, self.cache, self.store)
        self.cache.source = self.store
        self.plan = self.compile()

    def compile(self):
        return compile_service(SERVICE, Definitions("p", 3, OnlineStore("redis"), (SERVICE,)), self.near)

    async def read(self, key=b"k", plan=None):
        found = await self.near.fetch((plan or self.plan).prepared, [[key]], HANG_S)
        return found if isinstance(found, ReadOutcome) else found[0][0][0][0]

    def write(self, value, key=b"k"):
        self.client.hset(key + b"p", FIELD, value)

    async def told(self):
        """Until what Redis told before now is here."""
        await self.store.link.connection.ask(b"PING\r\n", 1, HANG_S)

    async def read_as_hit(self, key=b"k"):
        """Until the row is in memory, and what it is."""
        before = self.cache.hits

        async def is_hit():
            self.found = await self.read(key)
            return self.cache.hits > before

        await until_so(is_hit)
        return self.found

    def reads(self):
        """How many reads Redis has had."""
        return self.client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]

    def cut(self):
        """Break every connection but the writer's."""
        self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.fixture(scope="module")
def server():
    server = RedisServer("--enable-debug-command", "local")
    yield server
    server.stop()


@pytest.fixture
async def world(server):
    world = World(server.url)
    world.client.flushall()
    world.write(b"old")
    await world.store.start()
    yield world
    await world.near.close()
    world.client.close()


async def test_a_hot_entity_costs_redis_no_read(world):
    assert await world.read_as_hit() == b"old"
    reads, asked, hits = world.reads(), world.cache.misses + world.cache.unproven, world.cache.hits
    while world.cache.hits < hits + 100:
        assert await world.read() == b"old"
    assert world.reads() - reads == world.cache.misses + world.cache.unproven - asked


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda w: w.write(b"new"), id="a write"),
        pytest.param(
            lambda w: w.client.pipeline().hset(b"kp", FIELD, b"new").expire(b"kp", 100).execute(), id="Feast's pipeline"
        ),
        pytest.param(lambda w: w.client.delete(b"kp"), id="a removal"),
        pytest.param(lambda w: w.client.flushdb(), id="FLUSHDB"),
        pytest.param(lambda w: w.client.flushall(), id="FLUSHALL"),
        pytest.param(lambda w: w.client.rename(b"kp", b"other"), id="a key of another name"),
    ],
)
async def test_a_change_is_seen_once_it_is_told(world, change):
    assert await world.read_as_hit() == b"old"
    change(world)
    await world.told()
    assert await world.read() == world.client.hget(b"kp", FIELD)


async def test_an_entity_that_was_absent_is_seen_once_it_is_written(world):
    assert await world.read_as_hit(b"nobody") is None
    world.write(b"somebody", b"nobody")
    await world.told()
    assert await world.read(b"nobody") == b"somebody"


async def test_a_key_that_expires_is_gone_although_redis_has_not_removed_it(world):
    world.client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        world.client.pexpire(b"kp", 300)
        end_s = time.monotonic() + 0.302  # Redis compares whole milliseconds: the key is there until the next one begins
        first = await world.read()
        await until_so(lambda: time.monotonic() > end_s)
        assert (first, await world.read()) == (b"old", None) or first is None
    finally:
        world.client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")


async def test_a_cut_connection_leaves_no_row_behind(world):
    assert await world.read_as_hit() == b"old"
    world.cut()
    world.write(b"new")
    written_s = time.monotonic()
    await until_so(lambda: not world.cache.entities, "the rows are still here")
    assert world.cache.flushes["lost"] >= 1

    async def is_back():
        asked_s, found = time.monotonic(), await world.read()
        assert found != b"old" or asked_s - written_s < BOUND_S
        return found == b"new"

    await until_so(is_back)
    assert await world.read_as_hit() == b"new"


async def test_rows_are_not_used_if_redis_proves_nothing(world, server):
    """A network that swallows everything: nothing is told, nothing breaks."""
    assert await world.read_as_hit() == b"old"
    proven_s = world.store.link.connection.proven_s
    server.pause()
    try:
        await until_so(lambda: time.monotonic() - proven_s > BOUND_S)
        unproven = world.cache.unproven
        waiting = asyncio.create_task(world.read())
        await until_so(lambda: world.cache.unproven == unproven + 1, "it answered out of the memory")
    finally:
        server.resume()
    assert await waiting in (b"old", ReadOutcome.LOST, ReadOutcome.TIMED_OUT)


@pytest.mark.parametrize("denied", ["-client", "-client|tracking"])
async def test_a_redis_that_refuses_to_track_is_read_as_before_and_said_once(server, caplog, denied):
    admin = redis.Redis.from_url(server.url)
    admin.flushall()
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", denied)
    world = World(server.url, "reader:word@")
    world.client = admin
    world.write(b"old")
    await world.store.start()
    assert await world.read() == await world.read() == b"old"
    assert (world.cache.is_on, world.cache.entities, world.cache.hits) == (False, 0, 0)
    first = world.store.link.connection
    world.cut()
    await until_so(lambda: world.store.link.connection not in (None, first))
    assert await world.read() == b"old"
    told = [record for record in caplog.records if "does not track" in record.getMessage()]
    assert len(told) == 1
    assert "VEDETTE_FEATURE_NEAR_CACHE_BYTES" in told[0].getMessage()
    await world.near.close()
    admin.execute_command("ACL", "DELUSER", "reader")


async def test_a_reader_that_may_not_ask_for_expiries_keeps_nothing(server):
    admin = redis.Redis.from_url(server.url)
    admin.flushall()
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-pttl")
    world = World(server.url, "reader:word@")
    world.client = admin
    world.write(b"old")
    await world.store.start()
    assert await world.read() == await world.read() == b"old"
    assert world.cache.hits == 0
    await world.near.close()
    admin.execute_command("ACL", "DELUSER", "reader")


KEYS = st.sampled_from([b"a", b"b"])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["read", "read", "reads", "write", "write", "remove"]), KEYS),
    st.tuples(st.just("expire"), KEYS),
    st.sampled_from([("empty", b""), ("cut", b""), ("plan", b""), ("turn", b""), ("settle", b"")]),
)


class Model:
    """What each key held, and from when on. A read that was asked at one moment may answer what was so at most BOUND_S before, or later."""

    def __init__(self):
        self.history = {b"a": [(0.0, None)], b"b": [(0.0, None)]}

    def holds(self, key, value):
        self.history[key].append((time.monotonic(), value))

    def allowed(self, key, asked_s, bound_s=BOUND_S):
        past = [value for at_s, value in self.history[key] if at_s <= asked_s - bound_s]
        later = [value for at_s, value in self.history[key] if at_s > asked_s - bound_s]
        return {past[-1], *later}


async def play(url, steps):
    world, model, plans = World(url), Model(), []
    world.client.flushall()
    await world.store.start()

    async def check(key, bound_s=BOUND_S, plan=None):
        asked_s, found = time.monotonic(), await world.read(key, plan)
        if not isinstance(found, ReadOutcome):
            assert found in model.allowed(key, asked_s, bound_s), (key, found, model.history[key])

    number, waiting = 0, []
    for each in model.history:  # what is asked for once is not kept
        await check(each)
        await check(each)
    for what, key in steps:
        if what == "read":
            await check(key)
        elif what == "reads":  # that are under way while the next steps are taken
            waiting += [asyncio.create_task(check(key)) for _ in range(3)]
            await asyncio.sleep(0)
        elif what == "write":
            number += 1
            world.write(b"%d" % number, key)
            model.holds(key, b"%d" % number)
        elif what == "remove":
            world.client.delete(key + b"p")
            model.holds(key, None)
        elif what == "expire":
            model.holds(key, None) if world.client.pexpire(key + b"p", 0) else None
        elif what == "empty":
            world.client.flushdb()
            for each in model.history:
                model.holds(each, None)
        elif what == "cut":
            world.cut()
        elif what == "plan":
            plans.append(world.compile())
            await check(b"a", plan=plans[-1])
        elif what == "turn":
            await asyncio.sleep(0)
        elif world.store.link.connection is not None:
            await world.told()
            for each in model.history:
                await check(each, bound_s=0.0)
    await asyncio.gather(*waiting)
    await until_so(lambda: world.store.link.connection is not None)
    await world.told()
    for each in model.history:
        await check(each, bound_s=0.0)
    await world.near.close()
    world.client.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=3, max_size=30))
def test_no_read_is_older_than_the_bound_whatever_happens(server, steps):
    asyncio.run(play(server.url, steps))


def test_the_bound_leaves_time_for_a_proof():
    assert redis_store.PROVE_S * 2 < BOUND_S
