"""The compiled plan says what Feast says: every type, nulls, missing keys, composite and mapped keys, computed views."""

import asyncio
import json

import numpy as np
import pytest

from serving.features.opening import open_features
from serving.features.plan import feast
from serving.settings import ServingSettings
from tests.contract.serving.feast_world import KINDS, NOW, NOW_US, FeastWorld, columns
from tests.waiting import HANG_S

STORES = ["sqlite", "redis", "cluster", "sentinels", "sqlite, rows kept", "redis, rows kept", "cluster, rows kept"]
FIXTURES = {"redis": "redis_url", "cluster": "redis_cluster_url", "sentinels": "redis_sentinels_url"}


@pytest.fixture(scope="module", params=STORES)
def world(request, tmp_path_factory):
    kind = request.param.split(",")[0]
    redis_url = request.getfixturevalue(FIXTURES[kind]) if kind in FIXTURES else None
    world = FeastWorld(tmp_path_factory.mktemp("world"), redis_url)
    world.near_bytes = 1_000_000 if "kept" in request.param else 0
    world.write("kinds", {"user": "ada"}, {name: value for name, (_, value) in KINDS.items()})
    world.write("kinds", {"user": "nil"}, dict.fromkeys(KINDS))
    world.write("pairs", {"account": 7, "site": "east"}, {"balance": 1.5, "note": "first"})
    world.write("pairs", {"site": "west", "account": -1}, {"balance": -2.0, "note": "second"})
    world.write("pairs", {"site": "east", "account": 8}, {"balance": None, "note": "third"})
    world.write("ages", {"user": "ada"}, {"count": 3, "ratio": 0.25})
    world.write("everyone", {}, {"level": 4})
    return world


@pytest.fixture(scope="module")
def definitions(world):
    """What the registry says, read once: the process that reads it takes a second to start."""
    return feast.load(world.folder)


@pytest.fixture
async def reader(world, definitions, monkeypatch):
    monkeypatch.setattr(feast, "load", lambda folder: definitions)
    reader = await open_features(settings(world))
    yield reader
    await reader.close()


def settings(world):
    return ServingSettings(
        feature_repo=world.folder, store_dir=world.folder, feature_timeout_s=HANG_S, feature_near_cache_bytes=world.near_bytes
    )


async def read(reader, service, keys, request=None, at_us=NOW_US):
    rows = len(next(iter(keys.values()))) if keys else 1
    first = await reader.read(service, columns(keys), columns(request or {}), np.full(rows, at_us))
    for _ in range(2):  # rows that are kept are in memory at the third
        again = await reader.read(service, columns(keys), columns(request or {}), np.full(rows, at_us))
    assert {name: values.tolist() for name, values in again.columns.items()} == {
        n: v.tolist() for n, v in first.columns.items()
    }
    assert set(again.sources) <= {"store", "near_cache"}
    assert bool(again.sources) == (reader.near is not None)
    return again


def same(reader, service, ours, feast):
    """Equal values; where Feast has None the plan has the default and says so."""
    infos = {feature.name: feature for feature in reader.service(service).features}
    assert set(ours.columns) == set(feast) == set(infos)
    for name, expected in feast.items():
        told = ours.defaulted.get(name, np.zeros(len(expected), dtype=bool)).tolist()
        assert told == [value is None for value in expected], name
        for got, value in zip(ours.columns[name].tolist(), expected, strict=True):
            if value is not None:
                assert canonical(got, name) == canonical(value, name), name


def canonical(value, name):
    """JSON stays text in the port and Feast parses it; sets have no order."""
    if name.endswith(("json", "json_list")):
        parts = value if isinstance(value, list) else [value]
        return [json.loads(part) if isinstance(part, str) else part for part in parts]
    return sorted(value) if name.endswith("_set") else value


async def test_every_type_null_and_missing_key(reader, world):
    keys = {"user": ["ada", "nobody", "nil", "ada"]}
    same(reader, "kinds", await read(reader, "kinds", keys), world.feast_says("kinds", keys))


@pytest.fixture(scope="module")
def kinds(world):
    """What the plan and Feast say of ada, read once for all types: opening a reader takes a second."""

    async def ours():
        reader = await open_features(settings(world))
        try:
            return (await read(reader, "kinds", {"user": ["ada"]})).columns
        finally:
            await reader.close()

    return asyncio.run(ours()), world.feast_says("kinds", {"user": ["ada"]})


@pytest.mark.parametrize("name", KINDS)
def test_each_type_keeps_its_value(kinds, name):
    ours, expected = (found[f"kinds__{name}"] for found in kinds)
    assert [canonical(v, name) for v in ours.tolist()] == [canonical(v, name) for v in expected]


async def test_numbers_come_as_arrays_of_their_own_type(reader):
    found = (await read(reader, "kinds", {"user": ["ada"]})).columns
    names = ("float32", "float64", "int32", "int64", "bool", "timestamp", "string")
    assert [found[f"kinds__{name}"].dtype.name for name in names] == [
        "float32",
        "float64",
        "int32",
        "int64",
        "bool",
        "int64",
        "object",
    ]


async def test_composite_keys_in_any_order_of_writing_and_asking(reader, world):
    keys = {"site": ["west", "east", "east", "east"], "account": [-1, 7, 9, 8]}
    feast = world.feast_says("pairs", keys)
    same(reader, "pairs", await read(reader, "pairs", keys), feast)
    same(reader, "pairs", await read(reader, "pairs", dict(reversed(keys.items()))), feast)


async def test_a_view_under_another_name_with_mapped_keys(reader, world):
    keys = {"site": ["west"], "account": [-1], "peer": ["east"], "peer_account": [7]}
    ours = await read(reader, "mapped", keys)
    same(reader, "mapped", ours, world.feast_says("mapped", keys))
    assert ours.columns["theirs__note"].tolist() == ["first"]


async def test_views_of_several_entities_some_features_each(reader, world):
    keys = {"user": ["ada", "nobody"], "site": ["east", "west"], "account": [7, -1]}
    same(reader, "mixed", await read(reader, "mixed", keys), world.feast_says("mixed", keys))


async def test_a_view_without_an_entity(reader, world):
    ours = await reader.read("everyone", {}, {}, np.full(1, NOW_US))
    assert ours.columns["everyone__level"].tolist() == [4]


async def test_a_view_computed_from_the_request_and_from_stored_features(reader, world):
    keys, request = {"site": ["west", "east"], "account": [-1, 7]}, {"amount": [1, 2], "word": ["a", "b"]}
    ours = await read(reader, "total", keys, request)
    feast = world.feast_says("total", {**keys, **request}, full_names=False)  # with full names Feast 0.67 leaves these out
    assert {name.removeprefix("total__"): values.tolist() for name, values in ours.columns.items()} == feast
    assert ours.event_times_us["pairs"].tolist() == [NOW_US, NOW_US]


async def test_many_rows_with_duplicates(reader, world):
    users = ["ada", "nobody", "ada", "nil"] * 400
    ours = await read(reader, "kinds", {"user": users})
    few = await read(reader, "kinds", {"user": users[:4]})
    for name, column in ours.columns.items():
        assert column.tolist() == few.columns[name].tolist() * 400
    assert ours.degraded.tolist() == few.degraded.tolist() * 400


async def test_many_different_keys(reader, world):
    users = [f"u{i}" for i in range(1200)] + ["ada"]
    ours = await read(reader, "ages", {"user": users})
    assert ours.columns["ages__count"].tolist() == [-1] * 1200 + [3]


async def test_event_times_and_ages(reader, world):
    ours = await read(reader, "ages", {"user": ["ada", "nobody"]}, at_us=NOW_US + 2_500_000)
    assert ours.event_times_us["ages"].tolist() == [int(NOW.timestamp()) * 1_000_000, 0]
    assert ours.oldest_age_ms == 2500.0


async def test_the_services_order_is_the_registrys(reader, world):
    names = [feature.name for feature in reader.service("mixed").features]
    assert names == ["ages__ratio", "pairs__balance", "pairs__note", "everyone__level", "kinds__string", "kinds__float32"]
    assert {f.name: (f.default, f.ttl_s) for f in reader.service("ages").features} == {
        "ages__count": (-1, 60.0),
        "ages__ratio": (0.5, 60.0),
    }
