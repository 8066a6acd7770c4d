"""A read that some nodes did not answer: their rows get defaults, the others are as ever, and nothing of it is kept or blamed."""

import struct

import numpy as np
import pytest

from serving.features.near.near_cache import NearCache
from serving.features.near.near_store import NearStore
from serving.features.plan.definitions import Definitions, Feature, JoinKey, OnlineStore, Service, StoredView
from serving.features.plan.feature_plan import PartlyRead, compile_service
from serving.features.reader import PlanReader
from serving.features.stores.guarded import GuardedStore
from serving.ports import ReadOutcome
from serving.resilience.breaker import BreakerLimits, Guard

VIEW = StoredView("v", "v", (JoinKey("host", "host", "STRING"),), (Feature("f", "DOUBLE", -1.0),), None)
SERVICE = Service("s", (VIEW,), (), ("v__f",))


class HalfAway:
    """Has the number 7.0 for every host, but no answer for those that begin with x."""

    decodes = False

    def __init__(self):
        self.asked = []

    def prepare(self, project, groups):
        return ()

    def for_keeping(self, prepared):
        return prepared

    def is_following(self):
        return True

    def is_current(self, now_s):
        return True

    async def fetch(self, prepared, keys, timeout_s):
        self.asked.append(len(keys[0]))
        rows = [([None], (0,)) if b"x" in key else ([b"\x29" + struct.pack("<d", 7.0)], (1,)) for key in keys[0]]
        lost = [row for row in rows if row[0] == [None]]
        return PartlyRead([rows], ReadOutcome.LOST, is_nothing=len(lost) == len(rows)) if lost else [rows]

    async def close(self):
        pass


def reader_over(store):
    reader = PlanReader()
    reader.swap({"s": compile_service(SERVICE, Definitions("p", 3, OnlineStore("redis"), (SERVICE,)), store)}, {})
    return reader


async def read(reader, *hosts):
    return await reader.read("s", {"host": np.array(hosts, dtype=object)}, {}, np.full(len(hosts), 2))


@pytest.mark.parametrize("is_kept", [False, True], ids=["read", "rows kept"])
async def test_only_the_rows_of_the_lost_node_are_degraded(is_kept):
    inner = HalfAway()
    store = NearStore(inner, NearCache(100_000), inner) if is_kept else inner
    reader = reader_over(store)
    for _ in range(4):
        found = await read(reader, b"a", b"xb", b"c", b"xd")
        assert found.columns["v__f"].tolist() == [7.0, -1.0, 7.0, -1.0]
        assert found.degraded.tolist() == [False, True, False, True]
        assert found.outcome is ReadOutcome.OK, "the model answers: half of the rows are whole"


async def test_a_read_of_nothing_but_lost_rows_says_how_it_failed():
    reader = reader_over(HalfAway())
    for hosts in ((b"xa",), (b"xa", b"xb")):
        found = await read(reader, *hosts)
        assert (found.outcome, found.degraded.all()) == (ReadOutcome.LOST, True)


async def test_rows_in_memory_stay_whole_beside_lost_ones_and_lost_ones_are_not_kept():
    inner = HalfAway()
    reader = reader_over(NearStore(inner, NearCache(100_000), inner))
    for _ in range(3):  # kept at the second, found at the third
        await read(reader, b"a", b"c")
    inner.asked.clear()
    for _ in range(3):
        found = await read(reader, b"a", b"xb", b"c")
        assert found.columns["v__f"].tolist() == [7.0, -1.0, 7.0]
        assert list(found.sources) == ["near_cache", "store", "near_cache"]
    assert inner.asked == [1, 1, 1], "only what is not in memory is asked for, each time"


async def test_a_lost_node_does_not_open_the_breaker_of_the_store():
    guard = Guard("features", BreakerLimits(slow_s=1.0, least_calls=2), instead="defaults")
    reader = reader_over(GuardedStore(HalfAway(), guard, 1.0))
    for _ in range(20):
        await read(reader, b"xa")
    assert guard.is_closed
    assert (await read(reader, b"a")).columns["v__f"].tolist() == [7.0]
