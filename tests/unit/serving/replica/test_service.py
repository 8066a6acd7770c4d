"""Which models are loaded, and how that changes: by real bundles and real probes, without doors."""

import asyncio
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from operators.labs.simple_model import build_simple
from serving.doors.grpc.health import Health
from serving.errors import BadRequest, DeadlineExceeded, NotFound, ServingError, Unavailable, Unsupported
from serving.loading import loader
from serving.messages import InferRequest, RequestedOutput, Tensor
from serving.models.build import build_bundle
from serving.models.errors import ModelError, message_for_clients
from serving.models.store import BundleStore
from serving.replica.inference_service import ModelServer
from serving.replica.served_file import ServedFile, newest_of_each
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.settings import ServingSettings
from serving.spec import ModelSpec, RevisionSpec, ServingSpec, VariantSpec
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Tracer
from tests.fakes.clock import ManualClock
from tests.fakes.serving.audit import MemoryAudit
from tests.waiting import until_so as until

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
"""Of grpc.health.v1."""
ROW = np.arange(16, dtype=np.int32).reshape(1, 16)
GONE = ModelSpec(name="gone", version="1", revision=RevisionSpec(bundle="sha256:" + "0" * 64))


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
        self.service = ModelServer(
            store=self.store,
            scorer=scorer,
            features=None,
            metrics=self.metrics,
            tracer=Tracer(0.0, None),
            probe_timeout_s=60,
            model_threads=1,
            may_control=may_control,
            record=lambda change: self.told.append(change(self.service._owner.spec)),
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
    served = world.service._snapshot.find("simple", None).stable.revision

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


async def test_a_model_that_cannot_be_loaded_says_why_and_takes_no_other_out_of_service(world):
    await world.service.apply(ServingSpec(models=(*newest_of_each(world.store).models, GONE)))
    assert world.service.is_ready()
    assert "gone/1" in world.service.why_not_ready()
    assert (await world.service.infer(ask())).version == "1"
    with pytest.raises(Unavailable, match="is not loaded"):
        await world.service.infer(InferRequest("gone", None, ()))


async def test_while_a_new_model_is_probed_the_others_are_ready(world):
    await world.service.apply(newest_of_each(world.store))
    applying = asyncio.create_task(world.service.apply(ServingSpec(models=(*newest_of_each(world.store).models, GONE))))
    await until(lambda: world.service._owner.spec.models[-1] is GONE)
    assert world.service.is_ready()
    await applying


@pytest.fixture
def slow(world, tmp_path, simple, monkeypatch):
    """A model `slow` is in the store, and version 2 of simple; the probe of `slow` is held. Its specification, and what lets it go."""
    world.add_version(tmp_path, "2")
    model = (simple.folder / "model.onnx").read_bytes()
    digest = world.store.add(build_bundle(tmp_path / "slow", model=model, name="slow", version="1"))
    gate, real = threading.Event(), loader.probe

    def held(bundle, *, timeout_s):
        assert bundle.manifest.name != "slow" or gate.wait(30)
        return real(bundle, timeout_s=timeout_s)

    monkeypatch.setattr(loader, "probe", held)
    yield ModelSpec(name="slow", version="1", revision=RevisionSpec(bundle=digest)), gate
    gate.set()


def revision_of(world, version):
    return RevisionSpec(bundle=world.store.resolve("simple", version).digest)


async def test_a_slow_model_holds_up_no_other_that_is_loaded(world, slow):
    """At the start: what is ready answers; the replica is ready when the first specification is settled."""
    wanted, gate = slow
    stable = ModelSpec(name="simple", version="1", revision=revision_of(world, "1"))
    applying = asyncio.create_task(world.service.apply(ServingSpec(models=(wanted, stable))))
    await until(lambda: world.service._loader.loaded)
    assert (await world.service.infer(ask())).version == "1"
    assert not world.service.is_model_ready("slow", None)
    assert not world.service.is_ready()
    gate.set()
    await applying
    assert world.service.is_ready()
    assert world.service.is_model_ready("slow", None)


async def test_a_promotion_and_a_refusal_wait_for_no_slow_model_either(world, slow):
    """Stable answers until its successor is loaded, and then the successor."""
    wanted, gate = slow
    await world.service.apply(ServingSpec(models=(ModelSpec(name="simple", version="1", revision=revision_of(world, "1")),)))
    promoted = ModelSpec(name="simple", version="2", revision=revision_of(world, "2"))
    applying = asyncio.create_task(world.service.apply(ServingSpec(models=(promoted, wanted, GONE))))
    versions = []

    async def is_promoted():
        versions.append((await world.service.infer(ask())).version)
        return versions[-1] == "2"

    async with asyncio.timeout(30):
        while not await is_promoted():
            await asyncio.sleep(0.001)
    assert set(versions) == {"1", "2"}
    await until(lambda: "gone/1" in world.service.why_not_ready())
    assert world.service.is_ready()
    assert not applying.done()
    gate.set()
    await applying


async def test_a_candidate_that_is_loaded_waits_for_its_stable_and_stable_not_for_its_candidate(world, slow):
    """No traffic for a candidate before it is loaded, and none for one without a stable beside it."""
    wanted, gate = slow
    one, two = revision_of(world, "1"), revision_of(world, "2")
    candidate = VariantSpec(name="candidate", version="1", revision=wanted.revision, weight=100)
    simple = ModelSpec(name="simple", version="1", revision=one)
    await world.service.apply(ServingSpec(models=(simple,)))
    beside = VariantSpec(name="candidate", version="2", revision=two, weight=50)
    lone = wanted.model_copy(update={"variants": (candidate.model_copy(update={"revision": two, "version": "2"}),)})
    applying = asyncio.create_task(
        world.service.apply(ServingSpec(models=(simple.model_copy(update={"variants": (beside,)}), lone)))
    )
    await until(lambda: len(world.service._snapshot.variants()) == 2)
    assert {(m.revision.variant, m.revision.version) for m in world.service._snapshot.variants()} == {
        ("stable", "1"),
        ("candidate", "2"),
    }
    assert not world.service.is_model_ready("slow", None)
    gate.set()
    await applying


async def test_a_server_of_which_nothing_answers_is_not_ready(world):
    await world.service.apply(ServingSpec(models=(GONE,)))
    assert not world.service.is_ready()
    assert "gone/1" in world.service.why_not_ready()
    await world.service.apply(ServingSpec())
    assert world.service.is_ready()


class SlowProbes:
    """Holds every probe until it is let go."""

    def __init__(self, monkeypatch):
        self.begun, self._gate = 0, threading.Event()
        real = loader.probe

        def held(bundle, *, timeout_s):
            self.begun += 1
            assert self._gate.wait(30)
            return real(bundle, timeout_s=timeout_s)

        monkeypatch.setattr(loader, "probe", held)

    def go(self):
        self._gate.set()


@pytest.fixture
async def probing(world, tmp_path, monkeypatch):
    """Version 1 serves, version 2 is in the store; further probes are held."""
    await world.service.apply(newest_of_each(world.store))
    world.add_version(tmp_path, "2")
    probes = SlowProbes(monkeypatch)
    yield probes
    probes.go()


def served_by(world):
    return [(m.name, m.version, m.latency_objective_ms) for m in world.service._owner.spec.models]


@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_load_never_undoes_a_change_that_came_while_it_probed(world, probing, is_broken):
    loading_ = asyncio.create_task(world.service.load("simple"))
    await until(lambda: probing.begun == 1)
    first = world.service._owner.spec.models[0]
    changing = asyncio.create_task(
        world.service.apply(ServingSpec(models=(first.model_copy(update={"latency_objective_ms": 7}),)))
    )
    await until(lambda: served_by(world) == [("simple", "1", 7)])
    if is_broken:
        (world.store.resolve("simple", "2").folder / "model.onnx").write_bytes(b"broken")
    probing.go()
    await changing
    if is_broken:
        with pytest.raises(BadRequest):
            await loading_
    else:
        await loading_
    assert served_by(world) == [("simple", "1", 7), *([] if is_broken else [("simple", "2", 100)])]
    assert [[(m.version, m.latency_objective_ms) for m in told.models] for told in world.told] == (
        [] if is_broken else [[("1", 7), ("2", 100)]]
    )


async def test_a_client_that_hangs_up_during_a_load_leaves_nothing_half_changed(world, probing):
    client = asyncio.create_task(world.service.load("simple"))
    await until(lambda: probing.begun == 1)
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client
    assert world.service.is_ready()
    applying = asyncio.create_task(world.service.apply(world.service._owner.spec))
    probing.go()
    await applying
    await until(lambda: world.service.is_model_ready("simple", "2"))
    assert [m.version for m in world.told[-1].models] == ["1", "2"]


async def test_a_caller_that_goes_away_holds_up_no_other(world, probing):
    spec = newest_of_each(world.store)
    gone, stays = (asyncio.create_task(world.service.apply(spec)) for _ in range(2))
    await until(lambda: probing.begun == 1)
    gone.cancel()
    probing.go()
    await stays
    assert world.service.is_model_ready("simple", "2")


async def test_an_overtaken_revision_that_is_loaded_late_is_not_kept(world, probing):
    newest = asyncio.create_task(world.service.apply(newest_of_each(world.store)))
    await until(lambda: probing.begun == 1)
    one = world.store.resolve("simple", "1")
    await world.service.apply(
        ServingSpec(models=(ModelSpec(name="simple", version="1", revision=RevisionSpec(bundle=one.digest)),))
    )
    probing.go()
    await newest
    await until(lambda: not world.service._loader._loading)
    assert {version for _, version in world.service._snapshot.by_version} == {"1"}
    assert len(world.service._loader.loaded) == 1
    assert set(world.service._loader._bundles) == {one.digest}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"managed": ("simple",)}, "managed by a control plane", id="a model with a service document"),
        pytest.param({"managed": "all"}, "managed by a control plane", id="a server that the cluster configures"),
    ],
)
async def test_a_managed_model_is_not_changed_by_clients(world, change, says):
    await world.service.apply(newest_of_each(world.store).model_copy(update=change))
    for act in (world.service.load, world.service.unload):
        with pytest.raises(BadRequest, match=says):
            await act("simple")
    assert world.told == []
    assert world.service.is_model_ready("simple", "1")


async def test_what_is_refused_is_not_kept_either(world):
    """The served file of a server that the cluster configures says other things, and would take the change."""
    kept = []
    world.service._record = lambda change: kept.append(change(newest_of_each(world.store)))
    await world.service.apply(newest_of_each(world.store).model_copy(update={"managed": "all"}))
    with pytest.raises(BadRequest, match="managed by a control plane"):
        await world.service.unload("simple")
    assert kept == []


async def test_a_model_with_variants_is_not_changed_by_clients(world):
    (model,) = newest_of_each(world.store).models
    candidate = VariantSpec(name="candidate", version="1", revision=model.revision, weight=5)
    spec = ServingSpec(models=(model.model_copy(update={"variants": (candidate,)}),))
    await world.service.apply(spec)
    for act in (world.service.load, world.service.unload):
        with pytest.raises(BadRequest, match=r"variants .'candidate'. beside stable"):
            await act("simple")
    assert world.service._owner.spec == spec


async def test_loading_a_version_again_keeps_what_it_is_served_with(world):
    (model,) = newest_of_each(world.store).models
    spec = ServingSpec(models=(model.model_copy(update={"latency_objective_ms": 7.0}),))
    await world.service.apply(spec)
    await world.service.load("simple")
    assert world.service._owner.spec == spec


async def test_what_clients_are_told_names_no_place_on_disk(world, tmp_path):
    await world.service.apply(ServingSpec(models=(*newest_of_each(world.store).models, GONE)))
    world.add_version(tmp_path, "2")
    (world.store.resolve("simple", "2").folder / "model.onnx").write_bytes(b"broken")
    told = [entry.reason for entry in world.service.repository_index(only_ready=False)] + [world.metrics.render().decode()]
    for call in (world.service.load("simple"), world.service.load("nope"), world.service.infer(InferRequest("gone", None, ()))):
        with pytest.raises(ServingError) as refused:
            await call
        told.append(refused.value.message)
    assert "bundles/" in "".join(told)
    assert [text for text in told if str(tmp_path) in text] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/var/lib/x y/store/bundles/ab/model.onnx: the file was changed", "bundles/ab/model.onnx: the file was changed"),
        ("bundles/ab/model.onnx: onnxruntime 1.31.1 cannot load it", "bundles/ab/model.onnx: onnxruntime cannot load it"),
        ("Load model from /tmp/scratch/model.onnx failed", "Load model from model.onnx failed"),
        ("no bundle in /var/lib/x y/store", "no bundle in the store"),
        ("12/13 cases, GET http://host/v2/models", "12/13 cases, GET http://host/v2/models"),
    ],
)
def test_places_on_this_machine_are_not_told_to_clients(text, told):
    assert message_for_clients(ModelError(text), Path("/var/lib/x y/store")) == told


async def test_whoever_watches_is_told_of_every_change_of_what_is_ready(world, tmp_path):
    """Of the server, of a model, and of one that is in the store only."""
    health, told = Health(world.service), {"": [], "simple": []}

    async def watch(name):
        async for state in health.changes(name):
            told[name].append(state)

    watching = [asyncio.create_task(watch(name)) for name in told]
    await until(lambda: told == {"": [NOT_SERVING], "simple": [NOT_SERVING]})
    await world.service.apply(newest_of_each(world.store))
    await until(lambda: told == {"": [NOT_SERVING, SERVING], "simple": [NOT_SERVING, SERVING]})
    await world.service.apply(ServingSpec())
    await until(lambda: told["simple"][2:] == [NOT_SERVING])
    shutil.rmtree(world.store.root)
    await world.service._refresh_store()
    await until(lambda: told["simple"][3:] == [SERVICE_UNKNOWN])
    assert told[""] == [NOT_SERVING, SERVING]
    for task in watching:
        task.cancel()


async def test_the_index_is_answered_without_the_disk(world, tmp_path):
    await world.service.apply(newest_of_each(world.store))
    world.add_version(tmp_path, "2")
    shown = [(e.version, e.state) for e in world.service.repository_index(only_ready=False)]
    await world.service._refresh_store()
    assert shown == [("1", "READY")]
    assert [(e.version, e.state) for e in world.service.repository_index(only_ready=False)] == [
        ("1", "READY"),
        ("2", "UNAVAILABLE"),
    ]


async def test_a_revision_that_did_not_change_is_not_loaded_again(world):
    await world.service.apply(newest_of_each(world.store))
    before = world.service._snapshot.find("simple", None).stable.revision
    await world.service.apply(newest_of_each(world.store))
    assert world.service._snapshot.find("simple", None).stable.revision is before


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


def test_settings_leave_repository_control_off():
    assert ServingSettings.model_fields["repository_control"].default is False


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


async def test_a_file_in_the_store_that_cannot_be_read_keeps_nothing_from_being_served(world):
    wanted = newest_of_each(world.store)
    (world.store.root / "models" / "simple" / "2.json").write_text("[" * 100_000)
    await world.service.apply(wanted)
    assert world.service.is_ready()
    assert (await world.service.infer(ask())).version == "1"
