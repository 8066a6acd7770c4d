"""Before the first client: a made-up request has gone the whole way, no account tells of it, and no bundle is refused for it."""

from dataclasses import replace

import orjson
import pytest

from serving.loading.loaded_bundle import build_revision, load_bundle
from serving.loading.warmup import request_bodies, warm_batches, warm_up
from serving.models.errors import RunError
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo
from serving.spec import RevisionSpec
from tests.fakes.serving.features import FakeFeatureReader
from tests.unit.serving.scoring.variants import World, request, threat

FEATURES = {
    "request_fields": [],
    "assembly": [{"tensor": "level", "columns": ["hosts__level"]}],
    "feature_service": "hosts_v1",
}
HOSTS = FeatureServiceInfo(
    "hosts_v1", (FieldInfo("host", "BYTES"),), (), (FeatureInfo("hosts__level", "FP32", "hosts", 0.0, 60.0),)
)


class Reader(FakeFeatureReader):
    asked = 0

    async def read(self, *args, **kwargs):
        self.asked += 1
        return await super().read(*args, **kwargs)


class CountingModel:
    def __init__(self, model=None):
        self.rows, self.model = [], model

    def run(self, tensors, *args):
        self.rows.append(len(next(iter(tensors.values()))))
        if self.model is None:
            raise RunError("zeros are beneath me")
        return self.model.run(tensors, *args)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return threat(tmp_path_factory.mktemp("bundles") / "1", "1")


def served_of(bundle):
    return build_revision(load_bundle(bundle), RevisionSpec(bundle=bundle.digest))


async def test_what_a_revision_works_out_at_its_first_request_is_worked_out_before_it(bundle):
    served = served_of(bundle)
    model = CountingModel(served.model)
    served = replace(served, model=model)
    assert not served.plans
    await warm_up(served, None)
    assert served.plans
    assert set(model.rows) == {1, 2}


async def test_features_are_read_for_an_entity_that_nobody_has(tmp_path):
    reader = Reader(HOSTS)
    await warm_up(served_of(threat(tmp_path / "1", "1", **FEATURES)), reader)
    assert reader.asked > 0


async def test_no_metric_evidence_or_audit_record_tells_of_it(tmp_path, bundle):
    world = World(tmp_path)
    world.store.add(bundle)
    await world.service.load("threat")
    assert world.audit.records == []
    assert b'model="threat",outcome' not in world.metrics.render()
    await world.service.infer(request("a"))
    assert len(world.audit.records) == 1
    assert b'model="threat",outcome="ok"' in world.metrics.render()


async def test_a_model_that_refuses_made_up_rows_is_served_all_the_same(bundle):
    model = CountingModel()
    await warm_up(replace(served_of(bundle), model=model), None)
    assert model.rows
    warm_batches(bundle.manifest, model, 1.0)


def test_a_bundle_is_asked_in_each_form_it_takes(bundle):
    told = [{i["name"]: i["data"] for i in orjson.loads(body)["inputs"]} for body in request_bodies(bundle.manifest)]
    assert told == [{"level": [0]}, {"host": [""], "level": [0]}, {"level": [0, 0]}, {"host": ["", ""], "level": [0, 0]}]


def test_the_larger_a_run_the_fewer_the_batches(bundle):
    quick, slow = CountingModel(served_of(bundle).model), CountingModel(served_of(bundle).model)
    warm_batches(bundle.manifest, quick, 10.0)
    warm_batches(bundle.manifest, slow, 10_000.0)
    assert (quick.rows, slow.rows) == ([1, 2, 8, 32, 128], [1, 2])


def test_a_tensor_too_large_to_make_up_is_left_out_before_it_is_made(bundle):
    (level,) = bundle.manifest.inputs
    large = bundle.manifest.model_copy(update={"inputs": (level.model_copy(update={"shape": (-1, 2**40)}),), "assembly": ()})
    assert list(request_bodies(large)) == []
