"""Which models are loaded, and how that changes: by real bundles and real probes, without doors."""

import numpy as np
import pytest

from serving.errors import BadRequest, DeadlineExceeded, NotFound, Unavailable, Unsupported
from serving.models.build import build_bundle
from serving.models.simple import build_simple
from serving.models.store import BundleStore
from serving.protocol.messages import InferRequest, RequestedOutput, Tensor
from serving.scorer import Scorer, ScorerLimits
from serving.served_file import ServedFile, newest_of_each
from serving.service import Inference
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Tracer
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import ManualClock

ROW = np.arange(16, dtype=np.int32).reshape(1, 16)


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    return build_simple(tmp_path_factory.mktemp("bundles") / "simple")


class World:
    def __init__(self, tmp_path, simple, *, may_control=True):
        self.store = BundleStore(tmp_path / "store")
        self.store.add(simple)
        self.simple = simple
        self.clock, self.audit, self.metrics, self.told = ManualClock(), MemoryAudit(), ServingMetrics("r"), []
        scorer = Scorer(
            features=None,
            audit=self.audit,
            clock=self.clock,
            metrics=self.metrics,
            limits=ScorerLimits(1.0, 0.05, 100),
            identity="r",
        )
        self.service = Inference(
            store=self.store,
            scorer=scorer,
            features=None,
            metrics=self.metrics,
            tracer=Tracer(0.0, None),
            probe_timeout_s=60,
            model_threads=1,
            may_control=may_control,
            on_change=self.told.append,
        )

    def add_version(self, tmp_path, version):
        model = (self.simple.folder / "model.onnx").read_bytes()
        self.store.add(build_bundle(tmp_path / version, model=model, name="simple", version=version))


@pytest.fixture
def world(tmp_path, simple):
    return World(tmp_path, simple)


def ask(version=None, outputs=(), **parameters):
    inputs = (Tensor("INPUT0", "INT32", ROW), Tensor("INPUT1", "INT32", np.ones_like(ROW)))
    wanted = tuple(RequestedOutput(o) for o in outputs)
    return InferRequest("simple", version, inputs, id="7", parameters=parameters, outputs=wanted)


async def test_before_a_specification_the_server_lives_and_is_not_ready(world):
    assert world.service.is_live()
    assert not world.service.is_ready()


async def test_while_a_replica_starts_no_model_is_unknown(world):
    with pytest.raises(Unavailable, match="the server is starting; try again soon"):
        await world.service.infer(ask())
    await world.service.apply(newest_of_each(world.store))
    with pytest.raises(NotFound, match="'simple' version '9' is not loaded"):
        await world.service.infer(ask("9"))


async def test_an_answer_carries_where_it_came_from(world):
    await world.service.apply(newest_of_each(world.store))
    assert world.service.is_ready()
    answer = await world.service.infer(ask())
    assert [o.data.tolist() for o in answer.outputs] == [(ROW + 1).tolist(), (ROW - 1).tolist()]
    assert answer.id == "7"
    assert answer.version == "1"
    assert answer.parameters["source"] == "model"
    assert answer.parameters["revision"].startswith("sha256:")
    (record,) = world.audit.records
    assert record.receipt == answer.parameters["receipt"]
    assert record.inputs["INPUT0"]["shape"] == [1, 16]
    assert (
        b'vedette_requests_total{door="http",model="simple",outcome="ok",replica="r",variant="stable",version="1"} 1.0'
        in world.metrics.render()
    )


async def test_outputs_come_as_asked_for(world):
    await world.service.apply(newest_of_each(world.store))
    answer = await world.service.infer(ask(outputs=["OUTPUT1"]))
    assert [o.name for o in answer.outputs] == ["OUTPUT1"]


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        pytest.param(
            ask(version="9"), NotFound, r"version '9' is not loaded; loaded versions are \('1',\)", id="an unknown version"
        ),
        pytest.param(ask(outputs=["NO"]), BadRequest, "outputs .'NO'. are unknown", id="an unknown output"),
        pytest.param(ask(outputs=["OUTPUT0"] * 2), BadRequest, "more than once", id="an output twice"),
        pytest.param(ask(scenario="x"), BadRequest, "has none", id="a scenario for a model without"),
        pytest.param(InferRequest("nope", None, ()), NotFound, "'nope' is not found", id="an unknown model"),
    ],
)
async def test_a_wrong_request_is_told_so_and_counted(world, request_, error, says):
    await world.service.apply(newest_of_each(world.store))
    with pytest.raises(error, match=says):
        await world.service.infer(request_)
    assert b'outcome="client_error"' in world.metrics.render()
    assert world.audit.records == []


async def test_an_answer_after_the_deadline_is_none(world):
    await world.service.apply(newest_of_each(world.store))
    served = world.service._snapshot.find("simple", None).stable.served

    class Slow:
        def __init__(self, model):
            self.model = model

        def run(self, tensors, outputs=None, stop=None):
            world.clock.advance(2.0)
            return self.model.run(tensors, outputs)

    object.__setattr__(served, "model", Slow(served.model))
    with pytest.raises(DeadlineExceeded, match="after the deadline"):
        await world.service.infer(ask())


async def test_load_takes_the_newest_version_beside_the_others(world, tmp_path):
    await world.service.apply(newest_of_each(world.store))
    world.add_version(tmp_path, "2")
    await world.service.load("simple")
    assert world.service.model_metadata("simple", None).versions == ("1", "2")
    assert (await world.service.infer(ask())).version == "2"
    assert (await world.service.infer(ask(version="1"))).version == "1"
    assert [(m.name, m.version) for m in world.told[-1].models] == [("simple", "1"), ("simple", "2")]


async def test_unload_and_load_again(world):
    await world.service.apply(newest_of_each(world.store))
    await world.service.unload("simple")
    assert not world.service.is_model_ready("simple", None)
    assert [e.state for e in world.service.repository_index(only_ready=False)] == ["UNAVAILABLE"]
    assert world.service.repository_index(only_ready=True) == ()
    with pytest.raises(NotFound):
        await world.service.infer(ask())
    with pytest.raises(NotFound):
        await world.service.unload("simple")
    await world.service.load("simple")
    assert world.service.is_model_ready("simple", "1")


async def test_a_bundle_that_is_refused_leaves_what_was_loaded(world, tmp_path):
    await world.service.apply(newest_of_each(world.store))
    world.add_version(tmp_path, "2")
    (world.store.resolve("simple", "2").folder / "model.onnx").write_bytes(b"broken")
    with pytest.raises(BadRequest, match="the file was changed"):
        await world.service.load("simple")
    assert (await world.service.infer(ask())).version == "1"
    assert world.service.is_ready()


async def test_a_specification_that_cannot_be_met_is_not_ready_and_says_why(world):
    missing = ModelSpec(name="gone", version="1", revision=RevisionSpec(bundle="sha256:" + "0" * 64))
    await world.service.apply(ServingSpec(models=(*newest_of_each(world.store).models, missing)))
    assert not world.service.is_ready()
    assert "gone/1" in world.service.why_not_ready()
    assert (await world.service.infer(ask())).version == "1"
    with pytest.raises(Unavailable, match="is not loaded"):
        await world.service.infer(InferRequest("gone", None, ()))


async def test_a_revision_that_did_not_change_is_not_loaded_again(world):
    await world.service.apply(newest_of_each(world.store))
    before = world.service._snapshot.find("simple", None).stable.served
    await world.service.apply(newest_of_each(world.store))
    assert world.service._snapshot.find("simple", None).stable.served is before


async def test_control_can_be_switched_off(tmp_path, simple):
    service = World(tmp_path, simple, may_control=False).service
    with pytest.raises(Unsupported, match="VEDETTE_REPOSITORY_CONTROL"):
        await service.load("simple")


async def test_an_unknown_model_cannot_be_loaded(world):
    await world.service.apply(newest_of_each(world.store))
    with pytest.raises(NotFound, match="no model 'nope'"):
        await world.service.load("nope")
    with pytest.raises(NotFound):
        world.service.is_model_ready("nope", None)


def test_the_served_file_is_followed_but_not_by_its_writer(tmp_path, simple):
    store = BundleStore(tmp_path)
    store.add(simple)
    writer, follower = ServedFile(tmp_path), ServedFile(tmp_path)
    assert writer.read() is None
    writer.write(newest_of_each(store))
    assert not writer.changed()
    assert follower.changed()
    assert not follower.changed()
    assert follower.read() == newest_of_each(store)
