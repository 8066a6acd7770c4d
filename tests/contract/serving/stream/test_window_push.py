"""Rows of windows in the online store: the bytes that Feast would have written, and the values that a request over HTTP reads."""

import asyncio
import os
import sqlite3
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.flows import FLOWS
from lifecycle.datasets.declarations import read_detector
from lifecycle.training.feast_store import FeastStore, quiet
from lifecycle.training.stream_windows import window_spec
from serving.features.opening import open_features
from serving.features.plan.errors import RegistryError
from serving.features.stores.addresses import endpoints_of, is_cluster
from serving.features.stores.writing import CannotWrite, ViewRows, open_writer, varint_of
from serving.settings import ServingSettings
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition, StreamRecord
from serving.stream.windows.engine import SECOND_US
from serving.stream.windows.kind import WindowKind
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.push import OnlinePush
from serving.telemetry.tracing.tail import KeepPolicy
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.waiting import HANG_S, until

SECOND = int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())
HOSTS = [b"10.0.0.1", "é".encode(), b""]
FIELDS = {
    "proto": b"tcp", "state": b"CON", "sport": 1, "dport": 2, "duration": 1.0, "packets": 3, "bytes": 4, "src_bytes": 2,
}  # fmt: skip


class Store:
    """A feature store with the views of `flows`, on SQLite or on a Redis."""

    def __init__(self, folder, redis_url=None):
        self.folder, self.redis_url = folder, redis_url
        self.feast = FeastStore(folder / "feast", redis_url)
        self.feast.apply(FLOWS)
        self.definitions = None

    def settings(self):
        return ServingSettings(store_dir=self.folder, redis_url=self.redis_url, feature_timeout_s=HANG_S)

    async def reader(self):
        return await open_features(self.settings())

    def views(self):
        async def look():
            reader = await self.reader()
            try:
                return reader.open_writer(), {v.name: v for v in reader.plan("flows_v1").source.stored}
            finally:
                await reader.close()

        return asyncio.run(look())

    def write_by_feast(self, view, rows):
        """rows: (host, second, values by feature)."""
        table = self.feast.feast.get_feature_view(view)
        data = [
            (
                EntityKey(join_keys=["host"], entity_values=[Value(string_val=host.decode())]),
                {name: Value(double_val=value) for name, value in values.items()},
                datetime.fromtimestamp(second, UTC),
                None,
            )
            for host, second, values in rows
        ]
        with quiet():
            self.feast.feast._get_provider().online_write_batch(self.feast.feast.config, table, data, None)

    def many(self):
        """A client of the cluster, or of the master of the sentinels; which keys of it are ours: those that end in this project's name."""
        import redis

        ends = endpoints_of(self.redis_url)
        if is_cluster(self.redis_url):
            host, port = ends.hosts[0]
            client = redis.RedisCluster(host=host, port=port)
            return client, client.keys("*vedette", target_nodes="primaries")
        client = redis.Sentinel(ends.hosts).master_for(ends.master)
        return client, client.keys("*vedette")

    def clear(self):
        """It is shared."""
        client, keys = self.many()
        for key in keys:
            client.delete(key)

    def everything(self):
        """All that the store holds, as it lies there."""
        if self.redis_url is not None:
            import redis

            if "+" in self.redis_url.partition("://")[0]:
                client, keys = self.many()
                return {key: client.hgetall(key) for key in sorted(keys)}
            client = redis.Redis.from_url(self.redis_url)
            return {key: client.hgetall(key) for key in sorted(client.keys())}
        with sqlite3.connect(self.folder / "feast" / "online.db") as connection:
            return sorted(connection.execute('SELECT * FROM "vedette_host_10s" ORDER BY entity_key, feature_name'))


@pytest.fixture(params=["sqlite", "redis", "cluster", "sentinels"])
def stores(request, tmp_path):
    if request.param == "sqlite":
        return Store(tmp_path / "ours"), Store(tmp_path / "theirs")
    if request.param == "sentinels":
        ours = Store(tmp_path / "ours", request.getfixturevalue("redis_sentinels_url"))
        ours.clear()
        return ours, Store(tmp_path / "theirs", request.getfixturevalue("second_redis").url)
    if request.param == "cluster":  # what one Redis has is what the nodes of a cluster have together
        ours = Store(tmp_path / "ours", request.getfixturevalue("redis_cluster_url"))
        ours.clear()
        return ours, Store(tmp_path / "theirs", request.getfixturevalue("second_redis").url)
    first, second = (request.getfixturevalue(name) for name in ("redis_server", "second_redis"))
    return Store(tmp_path / "ours", first.url), Store(tmp_path / "theirs", second.url)


@pytest.fixture
def second_redis():
    from tests.fakes.redis_server import RedisServer

    server = RedisServer()
    yield server
    server.stop()


def values_of(place):
    names = [a.name for a in FLOWS.aggregates]
    return {name: float(place * 10 + at) * 0.5 for at, name in enumerate(names)}


def test_what_is_written_is_what_feast_writes(stores):
    ours, theirs = stores
    writer, views = ours.views()
    view = views["host_10s"]
    keys = np.empty(3, dtype=object)
    keys[:] = HOSTS
    rows = [values_of(place) for place in range(3)]
    writer.write([ViewRows(view, {"host": keys}, [SECOND] * 3, [[row[f.name] for row in rows] for f in view.features])])
    theirs.write_by_feast("host_10s", [(host, SECOND, row) for host, row in zip(HOSTS, rows, strict=True)])
    assert ours.everything() == theirs.everything()


def test_an_older_row_does_not_replace_a_newer_one(stores):
    ours, _ = stores
    writer, views = ours.views()
    view = views["host_10s"]
    keys = np.array([b"10.0.0.1"], dtype=object)
    for second, value in ((SECOND, 1.0), (SECOND - 1, 2.0)):
        writer.write([ViewRows(view, {"host": keys}, [second], [[value]] * len(view.features))])
    before = ours.everything()
    writer.write([ViewRows(view, {"host": keys}, [SECOND + 1], [[3.0]] * len(view.features))])
    after = ours.everything()
    assert before != after
    request = {name: [value.decode() if isinstance(value, bytes) else value] for name, value in FIELDS.items()}
    found = ours.feast.online("flows_v1", {"host": ["10.0.0.1"], **request})
    assert found["host_10s__flows"] == [3.0]


def test_after_a_stream_a_request_reads_what_feast_reads(stores):
    """The composition of `vedette up` reads the same store."""
    ours, _ = stores
    spec = window_spec(read_detector("flows"))
    kind = WindowKind(spec, target=ours.views, every_s=0.05)
    partition = Partition("events", 0)
    state = kind.open(partition)
    for start in range(0, 60, 20):
        state.update(events_of(partition, range(start, start + 20)))
        assert state.take_delta() is not None
    kind.close()
    assert kind.metrics()["pushed"] > 0
    assert kind.metrics()["push_waiting"] == kind.metrics()["push_failures"] == 0
    hosts = [f"10.0.0.{i}" for i in range(4)]

    async def ask():
        reader = await ours.reader()
        keys = np.array([h.encode() for h in hosts], dtype=object)
        request = {
            name: np.array([value] * 4, dtype=object if isinstance(value, bytes) else None) for name, value in FIELDS.items()
        }
        try:
            return await reader.read("flows_v1", {"host": keys}, request, np.full(4, (SECOND + 31) * SECOND_US))
        finally:
            await reader.close()

    found = asyncio.run(ask())
    request = {k: [v.decode() if isinstance(v, bytes) else v] * 4 for k, v in FIELDS.items()}
    by_feast = ours.feast.online("flows_v1", {"host": hosts, **request})
    for view in spec.views:
        for aggregate in spec.aggregates:
            name = f"{view.name}__{aggregate.name}"
            assert found.columns[name].tolist() == by_feast[name], name
    assert found.columns["host_600s__flows"].sum() > 50
    assert not found.degraded.any()


def events_of(partition, places):
    """Two events a second, of four hosts in turn."""
    n = len(places)
    texts = {"host": [f"10.0.0.{i % 4}".encode() for i in places], "destination": [b"d%d" % (i % 7) for i in places]}
    columns = {"state": np.array([b"CON"] * n, dtype=object)}
    for name, values in texts.items():
        columns[name] = np.array(values, dtype=object)
    for name in ("dport", "bytes", "src_bytes", "packets"):
        columns[name] = np.array(list(places), dtype=np.int64)
    times = np.array([SECOND * SECOND_US + i * SECOND_US // 2 + 1 for i in places], dtype=np.int64)
    flags = np.ones(n, dtype=np.bool_)
    records = [StreamRecord(partition, i, b"") for i in places]
    return StreamEvents(partition, records, [{}] * n, columns, columns["host"].tolist(), times, ~flags, flags)


class Stubborn:
    """A store that takes nothing until it is told to."""

    def __init__(self):
        self.is_out, self.rows = True, []

    def write(self, rows):
        if self.is_out:
            raise CannotWrite("out")
        self.rows += [(key, second) for key, second in zip(rows[0].keys["host"].tolist(), rows[0].seconds, strict=True)]


def test_a_store_that_is_out_gets_the_newest_row_of_each_entity_later(tmp_path):
    store = Store(tmp_path)
    views = store.views()[1]
    plan, far = WindowPlan.of(window_spec(read_detector("flows"))), Stubborn()
    push = OnlinePush(plan, lambda: (far, views), every_s=0.01)
    raw = bytes(plan.pack.size)
    push.start()
    push.offer({b"a": (1, raw), b"b": (1, raw)})
    until(lambda: push.failures > 1)
    push.offer({b"a": (2, raw)})
    far.is_out = False
    push.close()
    assert sorted(far.rows) == [(b"a", 2), (b"b", 1)]
    assert (push.waiting, push.written) == (0, 2)


def test_pushes_are_traced_and_those_that_fail_are_kept(tmp_path):
    plan, far, spans = WindowPlan.of(window_spec(read_detector("flows"))), Stubborn(), MemorySpans()
    views, raw = Store(tmp_path).views()[1], bytes(plan.pack.size)
    for ratio, is_out in ((0.0, True), (1.0, False), (0.0, False)):
        far.is_out = is_out
        tracer = Tracer(ratio, None, tail=KeepPolicy(1.0, 10), exporter=spans.exporter)
        push = OnlinePush(plan, lambda: (far, views), every_s=3600.0, tracer=tracer)
        push.start()
        push.offer({b"a": (1, raw)})
        push.close()
    failed, written = spans.finished()
    assert (failed.name, failed.attributes["vedette.trace.kept"], failed.attributes["error.type"]) == (
        "push",
        "error",
        "CannotWrite",
    )
    assert (written.name, written.attributes["vedette.trace.kept"], written.attributes["vedette.push.rows"]) == (
        "push",
        "sampled",
        1,
    )


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    definitions = type("D", (), {"online": type("O", (), {"type": "dynamodb", "path": "", "url": ""})()})()
    with pytest.raises(RegistryError, match="dynamodb"):
        open_writer(definitions, None)


@pytest.mark.parametrize(("value", "raw"), [(0, b"\0"), (127, b"\x7f"), (300, b"\xac\x02"), (-1, b"\xff" * 9 + b"\x01")])
def test_whole_numbers_are_written_as_protobuf_writes_them(value, raw):
    assert varint_of(value) == raw
    assert Value(int64_val=value).SerializeToString() == b"\x20" + raw


def test_event_times_are_written_whatever_the_time_zone(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        ours, theirs = Store(tmp_path / "ours"), Store(tmp_path / "theirs")
        writer, views = ours.views()
        view, row = views["host_10s"], values_of(1)
        keys = np.array([b"h"], dtype=object)
        writer.write([ViewRows(view, {"host": keys}, [SECOND], [[row[f.name]] for f in view.features])])
        theirs.write_by_feast("host_10s", [(b"h", SECOND, row)])
        assert ours.everything() == theirs.everything()
    finally:
        os.environ.pop("TZ")
        time.tzset()
