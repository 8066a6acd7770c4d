"""A served bundle with features on a real Redis: while Redis is gone its rules answer in time, and when it is back the model does."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pandas as pd
import pytest

from feature_repo.flows import FLOWS
from lifecycle.training.feast_store import FeastStore
from serving.features.opening import open_features
from serving.messages import Tensor
from serving.settings import ServingSettings
from tests.unit.serving.scoring.variants import World, request, spec, threat
from tests.waiting import HANG_S, until_so

pytestmark = pytest.mark.integration
RULES = b"thresholds: [{id: high-level, when: level > 3.0, severity: high}, {id: talks, when: host_60s__flows > 0.0, severity: high}]"
FIELDS = {"duration": np.array([0.5]), **{n: np.array([7]) for n in ("sport", "dport", "packets", "bytes", "src_bytes")}}


@pytest.fixture
async def world(tmp_path, redis_server):
    now = datetime.now(UTC)
    store = FeastStore(tmp_path / "feast", redis_server.url)
    store.apply(FLOWS)
    for window in FLOWS.windows:
        rows = {a.name: [1.0] for a in FLOWS.aggregates}
        store.write_rows(FLOWS.view(window), pd.DataFrame({"host": ["10.0.0.1"], "event_timestamp": [now], **rows}))
    store.materialize(now - timedelta(hours=1), now + timedelta(seconds=1))
    reader = await open_features(ServingSettings(store_dir=tmp_path, redis_url=redis_server.url, audit=False))
    service = reader.service("flows_v1")
    declared = [{"name": f.name, "datatype": f.datatype} for f in service.request_fields]
    bundle = threat(
        tmp_path / "bundle",
        "1",
        feature_service="flows_v1",
        assembly=[{"tensor": "level", "columns": ["host_60s__flows"]}],
        request_fields=[{"name": "level", "datatype": "FP32"}, *declared],
        rules={},
        files={"rules/rules.yaml": RULES},
    )
    made = World(tmp_path, features=reader)
    made.store.add(bundle)
    await made.service.apply(spec(bundle))
    yield made, declared
    await reader.close()


def ask(declared, level):
    columns = {**FIELDS, "proto": np.array([b"tcp"], dtype=object), "state": np.array([b"S_"], dtype=object)}
    plain = request("10.0.0.1", level=level, event_time=int(time.time() * 1e6))
    fields = tuple(Tensor(f["name"], f["datatype"], columns[f["name"]]) for f in declared)
    return msgspec.structs.replace(plain, inputs=(*plain.inputs, *fields))


async def answered(world, declared, level, source):
    """Ask until the answer comes from this source."""
    answers = []

    async def is_so():
        answers.append(await world.service.infer(ask(declared, level)))
        return answers[-1].parameters["source"] == source

    await until_so(is_so, lambda: answers[-1].parameters)
    return {t.name: t.data.tolist() for t in answers[-1].outputs}, answers[-1].parameters


async def test_redis_gone_and_back(world, redis_server):
    world, declared = world
    outputs, parameters = await answered(world, declared, 9.0, "model")
    assert outputs["score"] == [pytest.approx(1 / (1 + np.exp(-1)))]
    assert parameters["degraded"] in (True, False)  # of how many views a value is new enough is not what is tested here
    redis_server.kill()
    outputs, parameters = await answered(world, declared, 9.0, "rules")
    assert outputs["verdict"] == [b"alert"]
    assert parameters["rules"] == '[["high-level"]]', "the rule on a feature is not asked"
    outputs, _ = await answered(world, declared, 0.0, "rules")
    assert outputs["verdict"] == [b"investigate"]
    for _ in range(20):
        assert (await world.service.infer(ask(declared, 9.0))).parameters["source"] == "rules"
    redis_server.start()  # empty: its features are defaults, but it answers, so the model does
    outputs, _ = await answered(world, declared, 9.0, "model")
    assert not np.isnan(outputs["score"]).any()


async def test_a_redis_that_is_stuck_costs_the_time_features_may_take(world, redis_server):
    world, declared = world
    await answered(world, declared, 9.0, "model")
    redis_server.pause()
    try:
        async with asyncio.timeout(HANG_S):
            first = await world.service.infer(ask(declared, 9.0))
        assert first.parameters["source"] == "rules"
        assert {t.name: t.data.tolist() for t in first.outputs}["verdict"] == [b"alert"]
    finally:
        redis_server.resume()
    await answered(world, declared, 9.0, "model")
