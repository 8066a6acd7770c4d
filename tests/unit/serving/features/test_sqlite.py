"""The SQLite store on a file: damaged rows, and closing while a read is under way."""

import asyncio
import sqlite3
import threading

import pytest

from serving.features.near.near_cache import NearCache
from serving.features.stores.sqlite import LOOK_S, SqliteQuery, SqliteStore, ViewTable
from tests.waiting import HANG_S

QUERY = SqliteQuery(
    (ViewTable('"t"', {"f": 0}),), 1, 'SELECT 0, entity_key, feature_name, value, event_ts FROM "t" WHERE entity_key = ?1'
)


@pytest.fixture
def store(tmp_path):
    with sqlite3.connect(tmp_path / "online.db") as file:
        file.execute("CREATE TABLE t (entity_key BLOB, feature_name TEXT, value BLOB, event_ts)")
    return SqliteStore(tmp_path / "online.db")


@pytest.mark.parametrize("stored", [10**18, "yesterday", 1.5, b"\x00"])
async def test_an_event_time_that_cannot_be_read_is_none(tmp_path, store, stored):
    with sqlite3.connect(tmp_path / "online.db") as file:
        file.execute("INSERT INTO t VALUES (?, 'f', ?, ?)", (b"k", b"v", stored))
    assert await store.fetch((QUERY,), [[b"k"]], 1.0) == [[([b"v"], [0])]]
    await store.close()


class WaitingKeys(list):
    """Keys whose reading waits until the loop says so."""

    def __init__(self, keys):
        super().__init__(keys)
        self.is_reading, self.may_go, self.went = threading.Event(), threading.Event(), None

    def __iter__(self):
        if threading.current_thread() is not threading.main_thread():
            self.is_reading.set()
            self.went = self.may_go.wait(HANG_S)
        return super().__iter__()


@pytest.mark.heavy
async def test_closing_waits_for_a_read_beside_the_loop_and_not_on_it(store):
    keys = WaitingKeys(b"%d" % i for i in range(9))
    reading = asyncio.create_task(store.fetch((QUERY,), [keys], 60.0))
    await asyncio.to_thread(keys.is_reading.wait, 5)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    keys.may_go.set()
    await asyncio.gather(closing, reading, return_exceptions=True)
    assert keys.went


@pytest.fixture
def kept(tmp_path, store):
    """A store that tells a cache of changes, and what is in the cache."""
    cache = NearCache(100_000)
    kept = cache.source = SqliteStore(tmp_path / "online.db", cache)
    assert kept.is_following()
    assert kept.is_current(100.0)
    cache.keep(b"k", 0, ([None], (0,)), cache.begin(b"k"), 100.0)
    return kept, cache


def insert(path):
    with sqlite3.connect(path) as file:
        file.execute("INSERT INTO t VALUES (x'00', 'f', x'00', 1)")


def test_a_change_of_the_file_drops_all_rows_at_the_next_look_and_no_look_costs_each_read(tmp_path, kept):
    store, cache = kept
    assert store.is_current(101.0)
    assert cache.entities == 1, "nothing has changed"
    insert(tmp_path / "online.db")
    assert store.is_current(101.0 + LOOK_S / 2)
    assert cache.entities == 1, "it looked a moment ago"
    assert store.is_current(102.0)
    assert (cache.entities, cache.flushes["changed"]) == (0, 1)


def test_another_file_in_its_place_is_a_change(tmp_path, kept):
    store, cache = kept
    with sqlite3.connect(tmp_path / "new.db") as file:
        file.execute("CREATE TABLE t (entity_key BLOB, feature_name TEXT, value BLOB, event_ts)")
    (tmp_path / "new.db").replace(tmp_path / "online.db")
    assert store.is_current(101.0)
    assert cache.entities == 0


def test_while_the_file_cannot_be_looked_at_no_row_is_used(tmp_path, kept):
    store, cache = kept
    with sqlite3.connect(tmp_path / "online.db", isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert not store.is_current(101.0)
        assert (cache.is_on, cache.entities) == (False, 0)
        writer.execute("ROLLBACK")
    assert store.is_current(101.0)
    (tmp_path / "online.db").unlink()
    assert not store.is_current(102.0)
