"""A store with rows in memory: what costs no read, and what is never kept or never used."""

import asyncio
import struct
import tracemalloc

import pytest

from serving.features.near.near_cache import JOINED_S, MOST_KEPT_S, NearCache
from serving.features.near.near_store import NearStore
from serving.features.plan.feature_plan import RowMemo
from serving.ports import ReadOutcome


class HeldStore:
    """A store whose reads end when the test says so, unless `is_quick`. It tells no change by itself."""

    decodes = False

    def __init__(self):
        self.reads, self.values, self.is_quick, self.expires_s = [], {}, True, None
        self.follows = self.current = True
        self.held = []

    def prepare(self, project, groups):
        return tuple(groups)

    def for_keeping(self, prepared):
        return prepared

    async def fetch(self, prepared, keys, timeout_s):
        self.reads.append([list(asked) for asked in keys])
        found = [[self._row(key) for key in asked] for asked in keys]
        if not self.is_quick:
            self.held.append(asyncio.get_running_loop().create_future())
            if (outcome := await self.held[-1]) is not None:
                return outcome
        return found

    def _row(self, key):
        value = self.values.get(key)
        memo = () if self.expires_s is None else (RowMemo(self.expires_s),)
        return ([value], (0 if value is None else 1,), *memo)

    async def close(self):
        self.follows = False

    def is_following(self):
        return self.follows

    def is_current(self, now_s):
        return self.current


class World:
    def __init__(self):
        self.store, self.cache, self.now_s = HeldStore(), NearCache(100_000), 100.0
        self.near = NearStore(self.store, self.cache, self.store, now=lambda: self.now_s)
        self.plan = self.near.prepare("p", ("g",))
        for name in (b"k", b"l", b"a", b"b", b"c", b"nobody"):
            self.cache.is_wanted(name + b"p")  # they were asked for before

    async def read(self, *keys, plan=None):
        found = await self.near.fetch(plan or self.plan, [keys], 1.0)
        return found if isinstance(found, ReadOutcome) else [row[0][0] for row in found[0]]


@pytest.fixture
def world():
    world = World()
    world.store.values[b"k"] = b"old"
    return world


async def test_the_second_read_of_an_entity_is_none(world):
    assert await world.read(b"k") == await world.read(b"k") == [b"old"]
    assert world.store.reads == [[[b"k"]]]
    assert (world.cache.hits, world.cache.misses, world.cache.entities) == (1, 1, 1)


async def test_an_entity_that_is_asked_for_once_is_not_kept(world):
    for number in range(3):
        assert await world.read(b"once%d" % number) == [None]
    assert await world.read(b"more", b"of them", b"k") == [None, None, b"old"]
    assert world.cache.entities == 1, "the one that was asked for before"
    assert await world.read(b"more") == await world.read(b"more") == [None]
    assert (world.cache.entities, world.cache.hits, len(world.store.reads)) == (2, 1, 5)


async def test_a_change_of_what_was_kept_does_not_cost_two_reads(world):
    await world.read(b"k")
    for number in range(10_000):  # so many others that it is forgotten when it was asked for
        world.cache.is_wanted(b"%d" % number)
    world.cache.invalidate([b"kp"])
    await world.read(b"k")
    await world.read(b"k")
    assert (world.cache.hits, len(world.store.reads)) == (1, 2)


async def test_an_entity_that_is_absent_is_remembered_until_it_is_written(world):
    assert await world.read(b"nobody") == await world.read(b"nobody") == [None]
    world.store.values[b"nobody"] = b"new"
    world.cache.invalidate([b"nobodyp"])
    assert await world.read(b"nobody") == [b"new"]
    assert len(world.store.reads) == 2


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda cache: cache.invalidate([b"kp"]), id="a change of this entity"),
        pytest.param(lambda cache: cache.flush("emptied"), id="the store was emptied"),
        pytest.param(lambda cache: cache.flush("lost"), id="the connection was lost"),
    ],
)
async def test_a_change_that_is_told_while_a_read_is_under_way_is_not_overwritten_by_it(world, tell):
    world.store.is_quick = False
    reading = asyncio.create_task(world.read(b"k"))
    await asyncio.sleep(0)
    world.store.values[b"k"] = b"new"
    tell(world.cache)
    world.store.held[0].set_result(None)
    assert await reading == [b"old"], "the read was before the change"
    world.store.is_quick = True
    assert await world.read(b"k") == [b"new"]


async def test_a_read_that_began_after_the_change_is_kept_although_an_older_one_still_waits(world):
    world.store.is_quick = False
    before = asyncio.create_task(world.read(b"k"))
    await asyncio.sleep(0)
    world.store.values[b"k"] = b"new"
    world.cache.invalidate([b"kp"])
    after = asyncio.create_task(world.read(b"k"))
    await asyncio.sleep(0)
    for held in reversed(world.store.held):
        held.set_result(None)
    assert (await after, await before) == ([b"new"], [b"old"])
    assert await world.read(b"k") == [b"new"]
    assert len(world.store.reads) == 2


@pytest.mark.parametrize("keys", [(b"k",), (b"k", b"l")])
async def test_reads_that_fail_or_are_cancelled_leave_nothing_behind(world, keys):
    world.store.is_quick = False
    failing, cancelled = (asyncio.create_task(world.read(*keys)) for _ in range(2))
    await asyncio.sleep(0)
    world.store.held[0].set_result(ReadOutcome.TIMED_OUT)
    cancelled.cancel()
    assert await failing is ReadOutcome.TIMED_OUT
    await asyncio.wait([cancelled])
    assert (world.cache._reading, world.cache.entities) == ({}, 0)


async def test_a_row_is_used_until_its_key_expires_or_its_longest_time_is_over(world):
    world.store.expires_s = 102.0
    await world.read(b"k")
    world.store.expires_s, world.store.values[b"k"] = None, None
    world.now_s = 101.9
    assert await world.read(b"k") == [b"old"]
    world.now_s = 102.0
    assert await world.read(b"k") == [None]
    world.store.values[b"k"] = b"never told"
    world.now_s = 102.0 + MOST_KEPT_S
    assert await world.read(b"k") == [b"never told"]


async def test_nothing_is_used_while_the_store_has_not_proven_that_it_told_all(world):
    await world.read(b"k")
    world.store.current, world.store.values[b"k"] = False, b"new"
    assert await world.read(b"k") == [b"new"]
    assert await world.read(b"k", b"l") == [b"new", None]
    assert world.cache.unproven == 3
    world.store.current = True
    assert await world.read(b"k") == [b"new"]
    assert world.cache.hits == 1


async def test_nothing_is_kept_while_the_store_tells_nothing(world):
    world.store.follows = False
    await world.read(b"k")
    await world.read(b"k")
    assert (len(world.store.reads), world.cache.entities) == (2, 0)


async def test_a_new_plan_finds_no_row_of_a_former_one_and_plans_in_use_share_entities(world):
    await world.read(b"k")
    other = world.near.prepare("p", ("h",))
    assert (world.cache.entities, world.cache.flushes["plan"]) == (0, 1)
    await world.read(b"k")
    world.store.values[b"k"] = b"cells of the other plan"
    assert await world.read(b"k", plan=other) == [b"cells of the other plan"]
    assert await world.read(b"k") == [b"old"]
    world.cache.invalidate([b"kp"])
    assert await world.read(b"k") == await world.read(b"k", plan=other) == [b"cells of the other plan"]


async def test_of_many_entities_only_those_that_are_not_here_are_read(world):
    world.store.values |= {b"a": b"1", b"b": b"2", b"c": b"3"}
    await world.read(b"b")
    assert await world.read(b"a", b"b", b"c") == [b"1", b"2", b"3"]
    assert world.store.reads == [[[b"b"]], [[b"a", b"c"]]]
    assert await world.read(b"c", b"a", b"b") == [b"3", b"1", b"2"]
    assert len(world.store.reads) == 2


async def test_several_groups_are_put_together_in_their_order(world):
    world.store.values |= {b"a": b"1", b"b": b"2"}
    plan = world.near.prepare("p", ("g", "h"))
    await world.near.fetch(plan, [[b"a"], [b"b"]], 1.0)
    found = await world.near.fetch(plan, [[b"b", b"a"], [b"b"]], 1.0)
    assert [[row[0][0] for row in rows] for rows in found] == [[b"2", b"1"], [b"2"]]
    assert world.store.reads[-1] == [[b"b"], []]
    assert [[row[2].is_hit for row in rows] for rows in found] == [[False, True], [True]]


@pytest.mark.heavy
def test_the_estimate_of_memory_is_what_python_allocates_or_a_little_more():
    cache, memos, cells = NearCache(100_000_000), 3000, 20
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(memos):
        name = b"host-with-a-name-%d" % number
        raws = [b"\x29" + struct.pack("<d", number + place) for place in range(cells)]
        memo = RowMemo(1.0)
        import numpy as np

        memo.tables = [np.ndarray((1, cells), "<f8", b"".join(raws), 1, (9 * cells, 9))]
        memo.assembled = (str, {"x": memo.tables[0].astype(np.float32)})
        cache.keep(name, 0, ([*raws, b"\x08" + b"\x01" * 5], (1,), memo), cache.begin(name), 0.0)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.85 * cache.bytes <= taken <= 1.02 * cache.bytes


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_for_one_row_wait_for_one_read_of_it(world):
    world.store.is_quick = False
    reading = [asyncio.create_task(world.read(b"k")) for _ in range(32)]
    await settle()
    world.store.held[0].set_result(None)
    assert await asyncio.gather(*reading) == [[b"old"]] * 32
    assert world.store.reads == [[[b"k"]]]
    assert world.cache.joined == 31


@pytest.mark.parametrize("is_led", [pytest.param(True, id="by the one who waits"), pytest.param(False, id="by nobody")])
async def test_a_change_while_a_read_is_waited_for_is_seen_by_those_who_wait(world, is_led):
    world.store.is_quick = False
    first, second = asyncio.create_task(world.read(b"k")), asyncio.create_task(world.read(b"k"))
    await settle()
    world.store.values[b"k"] = b"new"
    world.cache.invalidate([b"kp"])
    late = asyncio.create_task(world.read(b"k")) if is_led else None
    await settle()
    assert len(world.store.held) == 1 + is_led, "a read of before the change is not joined"
    world.store.is_quick = True
    for held in world.store.held:
        held.set_result(None)
    assert await first == [b"old"], "it was asked before the change"
    assert await second == [b"new"]
    assert late is None or await late == [b"new"]


@pytest.mark.parametrize("outcome", [ReadOutcome.TIMED_OUT, ReadOutcome.LOST, ReadOutcome.NOT_ASKED])
async def test_a_read_that_fails_fails_for_its_own_request_only(world, outcome):
    world.store.is_quick = False
    reading = [asyncio.create_task(world.read(b"k")) for _ in range(3)]
    await settle()
    world.store.is_quick = True
    world.store.held[0].set_result(outcome)
    assert await asyncio.gather(*reading) == [outcome, [b"old"], [b"old"]]
    assert await world.read(b"k") == [b"old"]


async def test_a_row_that_cannot_be_kept_leaves_nobody_waiting(world, monkeypatch):
    keep, rows = world.cache.keep, []

    def failing_once(name, number, row, ticket, now_s):
        rows.append(row)
        if len(rows) == 1:
            raise ValueError("no size")
        return keep(name, number, row, ticket, now_s)

    monkeypatch.setattr(world.cache, "keep", failing_once)
    world.store.is_quick = False
    first, second = asyncio.create_task(world.read(b"k")), asyncio.create_task(world.read(b"k"))
    await settle()
    world.store.is_quick = True
    world.store.held[0].set_result(None)
    with pytest.raises(ValueError, match="no size"):
        await first
    await settle()
    assert second.done()
    assert second.result() == [b"old"]


async def test_a_client_that_leaves_takes_the_read_from_nobody(world):
    world.store.is_quick = False
    leaving, staying = asyncio.create_task(world.read(b"k")), asyncio.create_task(world.read(b"k"))
    waiting = asyncio.create_task(world.read(b"k"))
    await settle()
    waiting.cancel()  # one that only waits
    leaving.cancel()  # the one that reads
    await settle()
    assert len(world.store.held) == 2, "who stays reads now"
    world.store.held[1].set_result(None)
    assert await staying == [b"old"]


@pytest.mark.parametrize(
    ("later_s", "timeout_s"),
    [
        pytest.param(0.0, 0.5, id="it would end after the request's own deadline"),
        pytest.param(2 * JOINED_S, 1.0, id="it began long ago, so what it finds may be old"),
    ],
)
async def test_a_read_that_is_not_waited_for(world, later_s, timeout_s):
    world.store.is_quick = False
    reading = asyncio.create_task(world.read(b"k"))
    await settle()
    world.now_s += later_s
    other = asyncio.create_task(world.near.fetch(world.plan, [[b"k"]], timeout_s))
    await settle()
    assert len(world.store.held) == 2
    assert world.cache.joined == 0
    for held in world.store.held:
        held.set_result(None)
    await asyncio.gather(reading, other)


async def test_a_row_whose_key_ends_meanwhile_is_not_shared(world):
    world.store.is_quick, world.store.expires_s = False, world.now_s + 0.01
    reading = [asyncio.create_task(world.read(b"k")) for _ in range(2)]
    await settle()
    world.now_s += 0.015
    world.store.is_quick = True
    world.store.held[0].set_result(None)
    await asyncio.gather(*reading)
    assert len(world.store.reads) == 2


async def test_a_row_that_must_not_be_kept_is_waited_for_once(world):
    """As what a cluster does not have, or where nobody may ask when a key ends: the next read could not be shared either."""
    world.store.is_quick, world.store.expires_s = False, world.now_s
    reading = [asyncio.create_task(world.read(b"k")) for _ in range(3)]
    await settle()
    world.store.held[0].set_result(None)
    await settle()
    assert len(world.store.held) == 3, "nobody waits for a second read"
    for held in world.store.held[1:]:
        held.set_result(None)
    assert await asyncio.gather(*reading) == [[b"old"]] * 3


async def test_services_that_read_different_cells_of_one_entity_do_not_share_a_read(world):
    other = world.near.prepare("p", ("g",))
    world.store.is_quick = False
    reading = [asyncio.create_task(world.read(b"k", plan=plan)) for plan in (world.plan, other)]
    await settle()
    assert len(world.store.held) == 2
    for held in world.store.held:
        held.set_result(None)
    await asyncio.gather(*reading)
