"""The laws of a FeatureReader, kept by the plan on SQLite and on Redis and by the fake. (What the values are: test_feature_plan.)"""

import asyncio
import random
from datetime import timedelta

import numpy as np
import pytest

from serving.features.opening import open_features
from serving.features.plan.errors import FeatureError, InvalidColumn
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo
from serving.settings import ServingSettings
from tests.contract.serving.feast_world import NOW, NOW_US, FeastWorld
from tests.fakes.serving.features import FakeFeatureReader
from tests.waiting import HANG_S

TTL_US = 60_000_000
AGES = FeatureServiceInfo(
    name="ages",
    join_keys=(FieldInfo("user", "BYTES"),),
    request_fields=(),
    features=(
        FeatureInfo("ages__count", "INT64", "ages", -1, 60.0),
        FeatureInfo("ages__ratio", "FP32", "ages", 0.5, 60.0),
    ),
)
PAIRS = FeatureServiceInfo(
    name="pairs",
    join_keys=(FieldInfo("site", "BYTES"), FieldInfo("account", "INT64")),
    request_fields=(),
    features=(
        FeatureInfo("pairs__balance", "FP64", "pairs", 0.0, None),
        FeatureInfo("pairs__note", "BYTES", "pairs", "", None),
    ),
)


class FakeHarness:
    def __init__(self):
        self.fake = FakeFeatureReader(AGES, PAIRS)

    async def open(self):
        return self.fake

    def put(self, user, count, ratio, seconds=0):
        self.fake.put("ages", (user.encode(),), {"count": count, "ratio": ratio}, NOW_US + seconds * 1_000_000)

    def put_pair(self, site, account, balance):
        self.fake.put("pairs", (site.encode(), account), {"balance": balance, "note": "n"}, NOW_US)

    def break_store(self):
        self.fake.is_down = True


class StoreHarness:
    def __init__(self, folder, server, near_bytes=0):
        self.server, self.near_bytes = server, near_bytes
        self.world = FeastWorld(folder, server.url if server else None)

    async def open(self):
        folder, near_bytes = self.world.folder, self.near_bytes
        settings = ServingSettings(
            feature_repo=folder, store_dir=folder, feature_timeout_s=HANG_S, feature_near_cache_bytes=near_bytes
        )
        return await open_features(settings)

    def put(self, user, count, ratio, seconds=0):
        self.world.write("ages", {"user": user}, {"count": count, "ratio": ratio}, NOW + timedelta(seconds=seconds))

    def put_pair(self, site, account, balance):
        self.world.write("pairs", {"site": site, "account": account}, {"balance": balance, "note": "n"})

    def break_store(self):
        if self.server is not None:
            self.server.kill()
        else:
            (self.world.folder / "online.db").unlink()


@pytest.fixture(params=["fake", "sqlite", "redis", "sqlite, rows kept", "redis, rows kept"])
def harness(request, tmp_path):
    if request.param == "fake":
        return FakeHarness()
    server = request.getfixturevalue("redis_server") if request.param.startswith("redis") else None
    return StoreHarness(tmp_path, server, 1_000_000 if "kept" in request.param else 0)


@pytest.fixture
async def reader(harness):
    reader = await harness.open()
    yield reader
    await reader.close()


def users(*names):
    return {"user": np.array([name.encode() for name in names], dtype=object)}


def at(*offsets_us):
    return np.array([NOW_US + offset for offset in offsets_us], dtype=np.int64)


async def test_a_service_is_described(reader):
    assert reader.service("ages") == AGES


async def test_a_value_is_used_from_its_own_moment_to_its_ttl_and_not_before_or_after(harness, reader):
    harness.put("ada", 3, 0.25)
    rng = random.Random(1)
    edges = [-1, 0, 1, TTL_US - 1, TTL_US, TTL_US + 1]
    offsets = edges + [rng.randint(-2 * TTL_US, 3 * TTL_US) for _ in range(200)]
    rows = await reader.read("ages", users(*["ada"] * len(offsets)), {}, at(*offsets))
    usable = [0 <= offset <= TTL_US for offset in offsets]
    assert rows.columns["ages__count"].tolist() == [3 if ok else -1 for ok in usable]
    assert rows.columns["ages__ratio"].tolist() == [0.25 if ok else 0.5 for ok in usable]
    assert rows.degraded.tolist() == [not ok for ok in usable]
    assert rows.defaulted["ages__count"].tolist() == [not ok for ok in usable]
    assert rows.oldest_age_ms == max(o for o, ok in zip(offsets, usable, strict=True) if ok) / 1000
    assert rows.event_times_us["ages"].tolist() == [NOW_US] * len(offsets)
    assert rows.columns["ages__ratio"].dtype == np.float32


@pytest.mark.parametrize("offset", [-1, 0, TTL_US, TTL_US + 1])
async def test_one_row_is_judged_as_a_row_among_many(harness, reader, offset):
    harness.put("ada", 3, 0.25)
    one = await reader.read("ages", users("ada"), {}, at(offset))
    many = await reader.read("ages", users("ada", "ada"), {}, at(offset, 0))
    for name, column in one.columns.items():
        assert column.tolist() == many.columns[name][:1].tolist()
        assert column.dtype == many.columns[name].dtype
    assert one.degraded.tolist() == many.degraded[:1].tolist()
    assert one.event_times_us["ages"].tolist() == many.event_times_us["ages"][:1].tolist()


async def test_what_was_not_defaulted_is_not_mentioned(harness, reader):
    harness.put("ada", 3, None)
    rows = await reader.read("ages", users("ada"), {}, at(0))
    assert set(rows.defaulted) == {"ages__ratio"}
    assert (rows.columns["ages__count"].tolist(), rows.columns["ages__ratio"].tolist()) == ([3], [0.5])
    harness.put("bob", 1, 1.0)
    rows = await reader.read("ages", users("bob"), {}, at(0))
    assert (dict(rows.defaulted), rows.degraded.tolist()) == ({}, [False])


async def test_nobody_known_means_defaults_and_no_age(reader):
    rows = await reader.read("ages", users("x", "y"), {}, at(0, 0))
    assert rows.columns["ages__count"].tolist() == [-1, -1]
    assert (rows.oldest_age_ms, rows.event_times_us["ages"].tolist()) == (None, [0, 0])


async def test_a_batch_is_its_rows_in_any_order(harness, reader):
    for i in range(5):
        harness.put_pair("east", i, float(i))
    accounts = [3, 0, 9, 3, 4]
    keys = {"site": np.array([b"east"] * 5, dtype=object), "account": np.array(accounts)}
    rows = await reader.read("pairs", keys, {}, at(0, 0, 0, 0, 0))
    assert rows.columns["pairs__balance"].tolist() == [3.0, 0.0, 0.0, 3.0, 4.0]
    assert rows.degraded.tolist() == [False, False, True, False, False]


async def test_no_rows_are_no_rows(reader):
    rows = await reader.read("ages", {"user": np.array([], dtype=object)}, {}, at())
    assert [len(column) for column in rows.columns.values()] == [0, 0]


async def test_strange_keys_find_nobody(harness, reader):
    harness.put("", 1, 1.0)
    names = [b"", b"\xff\xfe", b"a\x00b", b"\r\n$3\r\n", b"x" * 100_000]
    rows = await reader.read("ages", {"user": np.array(names, dtype=object)}, {}, at(*[0] * len(names)))
    assert rows.columns["ages__count"].tolist() == [1, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("service", "keys"),
    [
        pytest.param("nothing", users("ada"), id="the service is unknown"),
        pytest.param("ages", {}, id="a key is missing"),
        pytest.param("ages", {"user": np.array([b"a", b"b"], dtype=object)}, id="a key has too many rows"),
        pytest.param("ages", {"user": np.array([1])}, id="a text key is a number"),
        pytest.param(
            "pairs", {"site": np.array([b"e"], dtype=object), "account": np.array([1.5])}, id="a number key is not an integer"
        ),
    ],
)
async def test_what_the_client_gets_wrong_is_a_feature_error(reader, service, keys):
    with pytest.raises(FeatureError) as caught:
        await reader.read(service, keys, {}, at(0))
    assert isinstance(caught.value, InvalidColumn) == (service != "nothing")


async def test_a_store_that_fails_gives_defaults_in_time_and_says_so(harness, reader):
    harness.put("ada", 3, 0.25)
    harness.break_store()
    async with asyncio.timeout(HANG_S):
        rows = await reader.read("ages", users("ada", "bob"), {}, at(0, 0), 0.2)
    assert rows.columns["ages__count"].tolist() == [-1, -1]
    assert rows.columns["ages__ratio"].dtype == np.float32
    assert rows.degraded.tolist() == [True, True]
    assert {name: gone.tolist() for name, gone in rows.defaulted.items()} == {
        "ages__count": [True, True],
        "ages__ratio": [True, True],
    }
    assert (rows.oldest_age_ms, rows.event_times_us["ages"].tolist()) == (None, [0, 0])


async def test_reads_at_once_do_not_mix(harness, reader):
    for i in range(20):
        harness.put(f"u{i}", i, i / 32)
    wanted = [i % 25 for i in range(300)]
    found = await asyncio.gather(*(reader.read("ages", users(f"u{i}"), {}, at(0)) for i in wanted))
    assert [rows.columns["ages__count"].tolist() for rows in found] == [[i if i < 20 else -1] for i in wanted]
