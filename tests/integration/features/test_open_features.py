"""From a declaration to features that are served: apply, write, materialise, open, read. No Feast in the serving process."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.flows import FLOWS
from lifecycle.training.feast_store import FeastStore, with_redis
from operators.cli.console import CommandError
from serving.features.opening import open_features
from serving.features.plan.errors import RegistryError, UnknownService
from serving.features.stores.sqlite import SqliteStore
from serving.settings import ServingSettings
from serving.telemetry.near_cache_names import NEAR_ON
from tests.fakes.redis_server import PROGRAM

OWN_TRANSFORM = """
def encode_flows(columns, **parameters):
    from feature_repo import transforms

    return transforms.encode_flows(columns, **parameters)
"""
TICK = datetime(2026, 1, 1, 12, tzinfo=UTC)
FLOW = {
    "proto": np.array([b"tcp"], dtype=object),
    "state": np.array([b"S_RA"], dtype=object),
    "duration": np.array([0.5]),
    **{name: np.array([7]) for name in ("sport", "dport", "packets", "bytes", "src_bytes")},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    store = FeastStore(folder / "feast")
    store.apply(FLOWS)
    for window in FLOWS.windows:
        rows = {a.name: [float(i)] for i, a in enumerate(FLOWS.aggregates, 1)}
        store.write_rows(FLOWS.view(window), pd.DataFrame({"host": ["10.0.0.1"], "event_timestamp": [TICK], **rows}))
    store.materialize(TICK - timedelta(hours=1), TICK + timedelta(hours=1))
    return folder


def at(seconds):
    return np.array([int((TICK.timestamp() + seconds) * 1e6)])


def host(name):
    return {"host": np.array([name], dtype=object)}


async def test_what_was_declared_is_served(folder):
    reader = await open_features(ServingSettings(store_dir=folder))
    info = reader.service("flows_v1")
    assert tuple(feature.name for feature in info.features) == FLOWS.features()
    assert [(f.name, f.datatype) for f in info.request_fields] == [(c.name, c.datatype) for c in FLOWS.request_fields]
    assert [(k.name, k.datatype) for k in info.join_keys] == [("host", "BYTES")]
    rows = await reader.read("flows_v1", host(b"10.0.0.1"), FLOW, at(61))
    assert rows.columns["host_10s__flows"].tolist() == [0.0]
    assert rows.columns["host_60s__flows"].tolist() == [1.0]
    assert rows.columns["flow__source_flags"].tolist() == [2.0]
    assert set(rows.defaulted) == {f"host_10s__{a.name}" for a in FLOWS.aggregates}
    assert rows.degraded.tolist() == [True]
    assert rows.oldest_age_ms == 61_000
    await reader.close()


async def test_a_server_without_a_registry_opens_and_finds_it_later(tmp_path, folder):
    reader = await open_features(ServingSettings(store_dir=tmp_path))
    with pytest.raises(UnknownService, match="nothing was applied"):
        reader.service("flows_v1")
    (tmp_path / "feast").symlink_to(folder / "feast")
    await reader.refresh()
    assert reader.services == ("flows_v1",)
    await reader.close()


async def test_a_registry_that_breaks_keeps_the_last_good_plans(tmp_path):
    store = FeastStore(tmp_path / "feast")
    store.apply(FLOWS)
    reader = await open_features(ServingSettings(store_dir=tmp_path))
    (tmp_path / "feast" / "registry.db").write_bytes(b"\xff\xff\xff garbage")
    await reader.refresh()
    assert reader.services == ("flows_v1",)
    await reader.close()
    with pytest.raises(RegistryError, match="damaged"):
        await open_features(ServingSettings(store_dir=tmp_path))


def test_serving_features_never_imports_feast(folder):
    code = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from serving.features.opening import open_features\nfrom serving.settings import ServingSettings\n"
        f"reader = asyncio.run(open_features(ServingSettings(store_dir=Path({str(folder)!r}))))\n"
        "assert reader.services == ('flows_v1',)\n"
        "sys.exit('feast' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_plans_do_not_depend_on_the_hash_seed(folder):
    command = [sys.executable, "-m", "serving.features.plan.feast", str(folder / "feast")]
    said = {
        subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": s}).stdout for s in "0123"
    }
    assert len(said) == 1


def command(folder, *words):
    from typer.testing import CliRunner

    from operators.cli.main import app

    done = CliRunner().invoke(app, ["features", *words, "--store-dir", str(folder), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


def test_the_command_line_reads_what_the_data_plane_reads(folder):
    records = command(folder, "read", "flows_v1", "host=10.0.0.1", "--at", (TICK + timedelta(seconds=61)).isoformat())
    found = {record["feature"]: record for record in records}
    assert list(found) == [name for name in FLOWS.features() if not name.startswith("flow__")]
    assert found["host_60s__flows"]["value"] == 1.0
    assert found["host_60s__flows"]["age_s"] == 61.0
    assert (found["host_10s__flows"]["is_default"], found["host_60s__flows"]["is_default"]) == (True, False)


def test_with_its_request_fields_the_computed_features_are_there_too(folder):
    fields = [f"{name}={value}" for name, value in (("proto", "tcp"), ("state", "S_RA"), ("duration", 0.5))]
    fields += [f"{name}=7" for name in ("sport", "dport", "packets", "bytes", "src_bytes")]
    records = command(folder, "read", "flows_v1", "host=10.0.0.1", *fields)
    assert {r["feature"]: r["value"] for r in records}["flow__source_flags"] == 2.0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param(["host"], "not KEY=VALUE", id="a word without a value"),
        pytest.param(["user=x"], "'user' is not one of", id="a key it does not know"),
        pytest.param(["proto=tcp"], "'host' is missing", id="the key is missing"),
        pytest.param(["host=x", "sport=ssh"], "expected INT64", id="a number that is none"),
        pytest.param(["host=x", "--at", "noon"], "RFC 3339", id="a time that is none"),
    ],
)
def test_reading_refuses_what_it_cannot_ask(folder, words, problem):
    with pytest.raises(CommandError, match=problem):
        command(folder, "read", "flows_v1", *words)


async def test_a_service_that_did_not_change_keeps_its_plan(tmp_path):
    from feast import FeatureService

    from feature_repo import views

    store = FeastStore(tmp_path / "feast")
    store.apply(FLOWS)
    reader = await open_features(ServingSettings(store_dir=tmp_path))
    before = reader._plans["flows_v1"]
    store.apply([FeatureService(name="other", features=[views.host_10s])])
    await reader.refresh()
    assert set(reader.services) == {"flows_v1", "other"}
    assert reader._plans["flows_v1"] is before
    store.apply([FeatureService(name="flows_v1", features=[views.host_10s])])
    await reader.refresh()
    assert reader._plans["flows_v1"] is not before
    assert len(reader.service("flows_v1").features) == len(FLOWS.aggregates)
    await reader.close()


@pytest.mark.parametrize("gone", [
    pytest.param(["feature_services"], id="the service"),
    pytest.param(["feature_views"], id="the views of the service"),
    pytest.param(["feature_services", "feature_views", "on_demand_feature_views"], id="all, as in a file that is being written"),
])  # fmt: skip
async def test_a_service_that_goes_while_it_is_served_is_served_as_it_was(tmp_path, gone):
    from feast.protos.feast.core.Registry_pb2 import Registry

    FeastStore(tmp_path / "feast").apply(FLOWS)
    reader = await open_features(ServingSettings(store_dir=tmp_path))
    path = tmp_path / "feast" / "registry.db"
    registry = Registry()
    registry.ParseFromString(path.read_bytes())
    for kind in gone:
        registry.ClearField(kind)
    path.write_bytes(registry.SerializeToString())
    await reader.refresh()
    assert (await reader.read("flows_v1", host(b"10.0.0.9"), FLOW, at(61))).columns["flow__source_flags"].tolist() == [2.0]
    assert "flows_v1" in reader.problems
    await reader.close()


def other_store(folder):
    """Point Feast's configuration at another online store."""
    path = folder / "feast" / "feature_store.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("online.db", "other.db"), encoding="utf-8")
    registry = folder / "feast" / "registry.db"
    os.utime(registry, (1, 1))


async def test_a_refresh_that_is_cancelled_leaves_the_store_as_it_was_and_no_other_open(tmp_path, monkeypatch):
    opened, begun = [], asyncio.Event()

    class WatchedStore(SqliteStore):
        def __init__(self, path, near):
            super().__init__(path, near)
            self.is_closed = False
            opened.append(self)

        async def close(self):
            await super().close()
            self.is_closed = True

    monkeypatch.setattr("serving.features.opening.SqliteStore", WatchedStore)
    FeastStore(tmp_path / "feast").apply(FLOWS)
    reader = await open_features(ServingSettings(store_dir=tmp_path, feature_refresh_s=3600))

    async def hang(*_):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("serving.features.opening.warm_read", hang)
    other_store(tmp_path)
    refreshing = asyncio.ensure_future(reader.refresh())
    await begun.wait()
    refreshing.cancel()
    await asyncio.gather(refreshing, return_exceptions=True)
    assert [store.is_closed for store in opened] == [False, True]
    rows = await reader.read("flows_v1", host(b"10.0.0.9"), FLOW, at(61))
    assert rows.columns["flow__source_flags"].tolist() == [2.0]
    await reader.close()
    assert [store.is_closed for store in opened] == [True, True]


async def test_the_module_of_a_transform_is_imported_off_the_loop(tmp_path):
    folder, seen = tmp_path / "repo", tmp_path / "threads"
    FeastStore(folder / "feast").apply(FLOWS)
    code = f"import threading\nopen({str(seen)!r}, 'a').write(threading.current_thread().name)\n"
    (folder / "feast" / "transforms.py").write_text(code + OWN_TRANSFORM)
    reader = await open_features(ServingSettings(store_dir=tmp_path, feature_repo=folder / "feast", feature_refresh_s=3600))
    assert reader.services == ("flows_v1",), reader.problems
    assert seen.read_text() != threading.main_thread().name
    await reader.close()


@pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed; `make services` installs it")
async def test_the_metric_of_rows_in_memory_is_of_the_store_that_is_read(tmp_path, redis_url, monkeypatch):
    """The former store is closed after the next one has begun to tell its changes."""
    configuration, registry = tmp_path / "feast" / "feature_store.yaml", tmp_path / "feast" / "registry.db"
    FeastStore(tmp_path / "feast").apply(FLOWS)
    on_sqlite = configuration.read_text(encoding="utf-8")
    reader = await open_features(
        ServingSettings(store_dir=tmp_path, feature_refresh_s=3600, feature_near_cache_bytes=1_000_000)
    )

    async def exchange(number, text):
        configuration.write_text(text, encoding="utf-8")
        os.utime(registry, (number, number))
        await reader.refresh()
        return next(values[()] for doc, values in reader.near.metrics() if doc is NEAR_ON)

    on_redis = [with_redis(on_sqlite, redis_url.replace("/0", f"/{database}")) for database in range(3)]
    assert [await exchange(number, text) for number, text in enumerate(on_redis, 1)] == [1, 1, 1]
    with monkeypatch.context() as patched:
        patched.setattr("serving.features.opening.OpenReader._compile", _fails)
        assert await exchange(4, on_redis[0]) == 1, "an exchange that fails leaves the store as it was"
    assert await exchange(5, on_sqlite) == 1
    assert await exchange(6, on_redis[0]) == 1
    await reader.close()


async def _fails(*_):
    raise RegistryError("it cannot be compiled")


async def test_rows_of_a_feature_server_are_not_kept_and_the_log_says_why(folder, caplog):
    settings = ServingSettings(store_dir=folder, feature_server_url="http://127.0.0.1:1", feature_near_cache_bytes=1_000_000)
    reader = await open_features(settings)
    assert "VEDETTE_FEATURE_NEAR_CACHE_BYTES" in caplog.text
    assert reader.near.is_on is False
    await reader.close()
