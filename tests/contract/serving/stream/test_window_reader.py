"""Events of a stream are answered from their windows: the features that training joins, and what else the registry has beside them."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.features import with_features
from lifecycle.training.stream_windows import window_spec
from serving.features.opening import open_features
from serving.features.plan.errors import FeatureError
from serving.ports import ReadOutcome
from serving.settings import ServingSettings
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition, StreamRecord
from serving.stream.windows.kind import WindowKind
from serving.stream.windows.reader import WindowFeatures
from tests.waiting import HANG_S

PARTITION = Partition("events", 0)
FIELDS = ("proto", "state", "sport", "dport", "duration", "packets", "bytes", "src_bytes")
ROWS = 3000


def as_column(values):
    return np.array([v.encode() for v in values], dtype=object) if values.dtype == object else values.to_numpy()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store that training filled, the rows with their features as training joins them, and the rows as events."""
    folder = tmp_path_factory.mktemp("store")
    detector = read_detector("flows")
    data = check_data(detector, generate_flows(1, hosts=600), where="generated").take(np.arange(ROWS))
    store = FeastStore(folder / "feast")
    joined, service = with_features(detector, data, store)
    first, last = (pd.Timestamp(int(t), unit="us", tz="UTC").to_pydatetime() for t in data.at_us[[0, -1]])
    store.materialize(first - timedelta(hours=1), last + timedelta(hours=1))
    columns = {name: as_column(data.frame[name]) for name in ("host", "destination", *FIELDS)}
    return SimpleNamespace(
        detector=detector,
        spec=window_spec(detector),
        joined=joined,
        service=service,
        columns=columns,
        at_us=data.at_us,
        folder=folder,
    )


def batch(world, low, high):
    n = high - low
    return StreamEvents(
        PARTITION,
        [StreamRecord(PARTITION, low + i, b"") for i in range(n)],
        [{}] * n,
        {name: column[low:high] for name, column in world.columns.items()},
        world.columns["host"][low:high].tolist(),
        world.at_us[low:high],
        np.zeros(n, dtype=np.bool_),
        np.ones(n, dtype=np.bool_),
    )


def run(world, spec, work):
    async def main():
        ordinary = await open_features(ServingSettings(store_dir=world.folder, feature_timeout_s=HANG_S))
        kind = WindowKind(spec)
        reader = WindowFeatures(ordinary, {spec.service: kind})
        try:
            return await work(reader, kind, kind.open(PARTITION))
        finally:
            await reader.close()

    return asyncio.run(main())


async def ask(reader, events, rows=slice(None)):
    keys = {"host": events.columns["host"][rows]}
    return await reader.read("flows_v1", keys, {f: events.columns[f][rows] for f in FIELDS}, events.times_us[rows])


def table(found, names):
    return np.stack([found.columns[name] for name in names], axis=1).astype(np.float64)


def test_every_event_reads_the_features_that_training_joined(world):
    names = [f.name for f in world.service.features]

    async def work(reader, kind, state):
        got = []
        for low in range(0, ROWS, 500):
            events = batch(world, low, low + 500)
            state.update(events)
            with kind.answering([events]):
                found = await ask(reader, events)
            assert found.outcome is ReadOutcome.OK
            got.append(table(found, names))
        return np.concatenate(got)

    np.testing.assert_array_equal(run(world, world.spec, work), world.joined[names].to_numpy(dtype=np.float64))


def test_a_row_says_its_age_and_what_stands_in(world):
    async def work(reader, kind, state):
        events = batch(world, 0, 500)
        state.update(events)
        with kind.answering([events]):
            return events, await ask(reader, events)

    events, found = run(world, world.spec, work)
    times = found.event_times_us["host_600s"]
    assert times[0] == 0
    assert bool(found.degraded[0])
    assert bool(found.defaulted["host_10s__flows"][0])
    has_row = times > 0
    assert 0 < has_row.sum() < 500
    assert not found.defaulted["host_600s__flows"][has_row].any()
    assert (times[has_row] <= events.times_us[has_row]).all()
    assert found.oldest_age_ms * 1000 <= (events.times_us[has_row] - times[has_row]).max()


def test_some_rows_of_a_batch_and_a_later_copy_read_the_same(world):
    """A rollout asks for one variant's rows, and mirrors them when the next batch is there."""

    async def work(reader, kind, state):
        events = batch(world, 0, 1000)
        state.update(events)
        with kind.answering([events]):
            whole = await ask(reader, events)
            some = await ask(reader, events, slice(1, None, 3))
        later = batch(world, 1000, 1500)
        state.update(later)
        return table(whole, ["host_600s__flows"]), table(some, ["host_600s__flows"]), await ask(reader, events)

    whole, some, mirrored = run(world, world.spec, work)
    np.testing.assert_array_equal(whole[1::3], some)
    np.testing.assert_array_equal(whole, table(mirrored, ["host_600s__flows"]))


def test_a_request_that_is_no_event_of_the_stream_reads_the_store(world):
    async def work(reader, kind, state):
        events = batch(world, 0, 10)
        state.update(events)
        keys = {"host": world.columns["host"][-1:]}
        last = batch(world, ROWS - 1, ROWS)
        found = await reader.read("flows_v1", keys, {f: last.columns[f] for f in FIELDS}, last.times_us + 2_000_000)
        return found.columns["host_600s__flows"]

    assert run(world, world.spec, work)[0] > 0


def test_views_that_are_no_windows_come_from_the_store(world):
    spec = world.spec.model_copy(update={"views": world.spec.views[:1]})
    names = [f.name for f in world.service.features]

    async def work(reader, kind, state):
        events = batch(world, ROWS - 50, ROWS)
        state.update(events)
        with kind.answering([events]):
            found = await ask(reader, events)
        with_store = await reader._ordinary.read(
            "flows_v1", {"host": events.columns["host"]}, {f: events.columns[f] for f in FIELDS}, events.times_us
        )
        return table(found, names), table(with_store, names), found, with_store

    mixed, stored, found, with_store = run(world, spec, work)
    own = [i for i, name in enumerate(names) if not name.startswith("host_10s")]
    np.testing.assert_array_equal(mixed[:, own], stored[:, own])
    for view in ("host_60s", "host_600s"):
        np.testing.assert_array_equal(found.event_times_us[view], with_store.event_times_us[view])


def test_windows_that_the_registry_does_not_have_are_an_error_with_the_way_out(world):
    view = world.spec.views[0].model_copy(update={"name": "host_11s"})
    spec = world.spec.model_copy(update={"views": (view,)})

    async def work(reader, kind, state):
        events = batch(world, 0, 5)
        state.update(events)
        with kind.answering([events]), pytest.raises(FeatureError, match="train the model again"):
            await ask(reader, events)

    run(world, spec, work)


def test_events_with_an_estimate_are_named_in_a_batch_and_in_a_part_of_it(world):
    kind = WindowKind(world.spec, bound=3)
    state = kind.open(PARTITION)
    for low in range(0, 2000, 500):
        events = batch(world, low, low + 500)
        state.update(events)
    flags = kind.sketched(events)
    assert 0 < sum(flags) < 500
    part = batch(world, 1700, 1800)
    assert kind.sketched(part) == flags[200:300]
    exact = WindowKind(world.spec)
    exact.open(PARTITION).update(events)
    assert exact.sketched(events) is None
