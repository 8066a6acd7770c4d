"""The SQLite store on a file: damaged rows, and closing while a read is under way."""

import asyncio
import sqlite3
import threading

import pytest

from serving.features.stores.sqlite import SqliteQuery, SqliteStore, ViewTable

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
            self.went = self.may_go.wait(5)
        return super().__iter__()


async def test_closing_waits_for_a_read_beside_the_loop_and_not_on_it(store):
    keys = WaitingKeys(b"%d" % i for i in range(9))
    reading = asyncio.create_task(store.fetch((QUERY,), [keys], 60.0))
    await asyncio.to_thread(keys.is_reading.wait, 5)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    keys.may_go.set()
    await asyncio.gather(closing, reading, return_exceptions=True)
    assert keys.went
