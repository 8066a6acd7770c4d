"""How what is loaded changes: loads, promotions and refusals, by real bundles and real probes, without doors."""

import asyncio
import threading

import pytest

from serving.errors import BadRequest, NotFound, Unavailable
from serving.loading import loader
from serving.loading.served_file import newest_of_each
from serving.messages import InferRequest
from serving.models.build import build_bundle
from serving.spec import ModelSpec, RevisionSpec, ServingSpec, VariantSpec
from tests.unit.serving.replica.service import GONE, ask
from tests.waiting import until_so as until

pytestmark = pytest.mark.heavy


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

    def held(bundle, **how):
        assert bundle.manifest.name != "slow" or gate.wait(30)
        return real(bundle, **how)

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

        def held(bundle, **how):
            self.begun += 1
            assert self._gate.wait(30)
            return real(bundle, **how)

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


async def test_a_revision_that_did_not_change_is_not_loaded_again(world):
    await world.service.apply(newest_of_each(world.store))
    before = world.service._snapshot.find("simple", None).stable.revision
    await world.service.apply(newest_of_each(world.store))
    assert world.service._snapshot.find("simple", None).stable.revision is before
