"""How the variants of a replica change: what is loaded, refused, promoted and released."""

import asyncio
import gc
import weakref

import pytest

from serving.errors import BadRequest
from serving.loading import loader
from serving.spec import RevisionSpec, ServingSpec
from tests.unit.serving.scoring.variants import host, request, spec, variant
from tests.waiting import HANG_S, until_so

pytestmark = pytest.mark.heavy


def verdicts(answer):
    return [v.decode() for o in answer.outputs if o.name == "verdict" for v in o.data.tolist()]


async def test_a_threshold_is_a_revision_of_its_own_and_shares_the_session(world, bundles):
    stable = bundles["stable"]
    await world.service.apply(spec(stable, variant(stable, weight=100, thresholds={"siem_alerting": 0.9})))
    answer = await world.service.infer(request("a", level=2.0))
    assert (verdicts(answer), answer.version) == (["investigate"], "1")
    variants = world.variants
    assert variants.others[0].revision.model is variants.stable.revision.model
    assert variants.others[0].revision.digest != variants.stable.revision.digest


@pytest.mark.parametrize(
    ("threshold", "investigate"),
    [
        pytest.param(0.9, 0.5, id="a raised threshold turns alerts into rows to investigate"),
        pytest.param(0.6, 0.5, id="a lowered one takes rows to investigate for alerts"),
        pytest.param(0.3, 0.3, id="below the threshold to investigate, that falls along"),
    ],
)
async def test_the_threshold_to_investigate_is_never_over_the_alerts(world, bundles, threshold, investigate):
    revision = RevisionSpec(bundle=bundles["stable"].digest, thresholds={"siem_alerting": threshold})
    await world.service.apply(spec(bundles["stable"], revision=revision))
    point = world.variants.stable.revision.points["siem_alerting"]
    assert (point.threshold, point.investigate) == (threshold, investigate)
    assert world.service.model_metadata("threat", None).parameters["operating_points"] == {"siem_alerting": threshold}


async def test_a_promotion_and_a_weight_load_and_probe_nothing(world, bundles, monkeypatch):
    stable, candidate = bundles["stable"], bundles["candidate"]
    await world.service.apply(spec(stable, variant(candidate, weight=5)))
    monkeypatch.setattr(loader, "probe", None)
    monkeypatch.setattr(world.store, "read", None)
    before = world.variants
    await world.service.apply(spec(stable, variant(candidate, weight=100)))
    await world.service.apply(spec(candidate, variant(stable, name="former")))
    variants = world.variants
    assert variants.stable.revision.model is before.others[0].revision.model
    assert variants.others[0].revision.model is before.stable.revision.model
    assert (await world.service.infer(request("a"))).parameters["variant"] == "stable"
    assert (await world.service.infer(request("a", variant="former"))).version == "1"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(
            lambda b: variant(b["other"], weight=100), "cannot be served beside stable: it takes the columns", id="other inputs"
        ),
        pytest.param(
            lambda b: variant(b["candidate"], weight=100, thresholds={"nope": 0.1}),
            "no operating point",
            id="an unknown threshold",
        ),
        pytest.param(
            lambda b: variant(b["candidate"], weight=100, feature_service="f"),
            "takes no features",
            id="features it cannot take",
        ),
        pytest.param(
            lambda b: variant(b["candidate"], weight=100).model_copy(update={"version": "9"}),
            "expected threat/9",
            id="a wrong version",
        ),
        pytest.param(
            lambda b: variant(b["candidate"], weight=100).model_copy(
                update={"revision": RevisionSpec(bundle="sha256:" + "0" * 64)}
            ),
            "cannot be read",
            id="a bundle that is not there",
        ),
    ],
)
async def test_a_candidate_that_cannot_be_loaded_leaves_its_share_to_stable_and_the_replica_ready(world, bundles, make, says):
    await world.service.apply(spec(bundles["stable"], make(bundles)))
    assert world.service.is_ready()
    assert (await world.service.infer(request("a"))).parameters["variant"] == "stable"
    ((_, reason, *_),) = world.series()["vedette_model_failed"]
    assert says in reason
    assert says in world.service.why_not_ready()
    with pytest.raises(BadRequest, match="is not loaded"):
        await world.service.infer(request("a", variant="candidate"))


async def test_a_new_stable_that_cannot_be_loaded_leaves_the_old_one_answering(world, bundles):
    await world.service.apply(spec(bundles["stable"]))
    (world.store.folder_of(bundles["candidate"].digest) / "model.onnx").write_bytes(b"broken")
    await world.service.apply(spec(bundles["candidate"]))
    assert world.service.is_ready()
    assert (await world.service.infer(request("a"))).version == "1"
    assert [labels[-1] for labels in world.series()["vedette_model_failed"]] == ["2"]
    assert [labels[-1] for labels in world.series()["vedette_model_info"]] == ["1"]


async def test_without_a_predecessor_it_is_not_ready(world, bundles):
    (world.store.folder_of(bundles["stable"].digest) / "model.onnx").write_bytes(b"broken")
    await world.service.apply(spec(bundles["stable"]))
    assert not world.service.is_ready()


async def test_an_abort_does_not_wait_for_a_candidate_that_is_still_loading(world, bundles, monkeypatch):
    gate, real = asyncio.Event(), loader.load_bundle
    loop = asyncio.get_running_loop()

    is_loading = []

    def slow(bundle, *, threads=1):
        is_loading.append(bundle)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(HANG_S)
        return real(bundle, threads=threads)

    await world.service.apply(spec(bundles["stable"]))
    monkeypatch.setattr(loader, "load_bundle", slow)
    starting = asyncio.create_task(world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50))))
    await until_so(lambda: is_loading)
    assert (await world.service.infer(request("a"))).parameters["variant"] == "stable"
    await world.service.apply(spec(bundles["stable"]))
    gate.set()
    await starting
    assert world.variants.others == ()


async def test_what_is_removed_is_released_once_no_request_uses_it(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100)))
    held = world.variants
    gone = weakref.ref(held.others[0].revision.model)
    await world.service.apply(spec(bundles["stable"]))
    gc.collect()
    assert gone() is not None, "a request under way keeps it"
    del held
    gc.collect()
    assert gone() is None


async def test_no_request_is_lost_while_everything_changes(world, bundles):
    stable, candidate, third = bundles["stable"], bundles["candidate"], bundles["third"]
    await world.service.apply(spec(stable))
    answered, is_over = 0, False

    async def client():
        nonlocal answered
        while not is_over:
            await world.service.infer(request(host(answered % 97)))
            answered += 1
            await asyncio.sleep(0)

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for change in (
        spec(stable, variant(candidate)),
        *(spec(stable, variant(candidate, weight=w)) for w in (1, 5, 25, 100)),
        spec(candidate, variant(stable, name="former")),
        spec(candidate, variant(third, weight=50)),
        spec(candidate),
    ):
        await world.service.apply(change)
        before = answered
        while answered < before + 50:
            await asyncio.sleep(0.001)
    is_over = True
    await asyncio.gather(*clients)
    assert answered > 400
    assert world.metrics.ongoing == 0


async def test_a_new_split_counts_its_entities_anew_and_the_same_one_does_not(world, bundles):
    stable, candidate = bundles["stable"], bundles["candidate"]
    await world.service.apply(spec(stable, variant(candidate, weight=50)))
    for _ in range(2):
        for i in range(40):
            await world.service.infer(request(host(i)))
        await world.service.apply(spec(stable, variant(candidate, weight=50)))
    assert world.entities("stable")["entities"] + world.entities("candidate")["entities"] == 40
    await world.service.apply(spec(stable, variant(candidate, weight=60)))
    for i in range(40):
        await world.service.infer(request(host(i)))
    assert world.entities("stable")["entities"] + world.entities("candidate")["entities"] == 80


async def test_an_empty_specification_serves_nothing_and_is_ready(world, bundles):
    await world.service.apply(spec(bundles["stable"]))
    await world.service.apply(ServingSpec())
    assert world.service.is_ready()
    assert world.service.repository_index(only_ready=True) == ()


@pytest.mark.parametrize("version", ["9", "v2"])
async def test_a_loaded_revision_under_a_version_that_is_not_its_own_is_refused(world, bundles, version):
    stable, candidate = bundles["stable"], bundles["candidate"]
    await world.service.apply(spec(stable, variant(candidate)))
    wrong = spec(stable, variant(candidate, weight=100).model_copy(update={"version": version}))
    await world.service.apply(wrong.model_copy(update={"models": (wrong.models[0].model_copy(update={"version": version}),)}))
    assert (await world.service.infer(request("a"))).version == "1"
    assert f"expected threat/{version}" in world.service.why_not_ready()
    assert {labels[-1] for labels in world.series()["vedette_model_failed"]} == {version}
    await world.service.apply(spec(stable, variant(candidate, weight=100).model_copy(update={"version": version})))
    assert (await world.service.infer(request("a"))).parameters["variant"] == "stable"
