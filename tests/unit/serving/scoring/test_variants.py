"""Several revisions in one replica: who answers whom, what the answer says, what is counted, and how that changes."""

import asyncio
import gc
import json
import threading
import weakref

import numpy as np
import pytest
from msgspec.structs import replace

from serving.errors import BadRequest, Internal
from serving.loading import loader
from serving.resilience.bulkhead import Bulkheads
from serving.spec import RevisionSpec, ServingSpec
from tests.unit.serving.scoring.variants import World, host, request, spec, tensors, threat, variant
from tests.waiting import HANG_S, until_so


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "stable": threat(folder / "1", "1", 1.0),
        "candidate": threat(folder / "2", "2", 0.5),
        "third": threat(folder / "3", "3", -1.0),
        "failing": threat(folder / "4", "4", 1.0, fails_above=1.0),
        "other": threat(folder / "5", "5", request_fields=[{"name": "level", "datatype": "FP64"}]),
    }


@pytest.fixture
def world(tmp_path, bundles):
    world = World(tmp_path)
    for bundle in bundles.values():
        world.store.add(bundle)
    return world


def verdicts(answer):
    return [v.decode() for o in answer.outputs if o.name == "verdict" for v in o.data.tolist()]


async def test_everybody_meets_stable_until_a_weight_is_given(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"])))
    for i in range(50):
        answer = await world.service.infer(request(host(i)))
        assert (answer.parameters["variant"], answer.version) == ("stable", "1")
    assert world.evidence("stable")["requests"] == 50
    assert world.evidence("candidate")["requests"] == 0


async def test_a_share_of_the_entities_meets_the_candidate_and_stays_with_it(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=30)))
    met = {i: (await world.service.infer(request(host(i)))).parameters["variant"] for i in range(400)}
    again = {i: (await world.service.infer(request(host(i), door="grpc"))).parameters["variant"] for i in range(400)}
    assert met == again
    share = sum(v == "candidate" for v in met.values()) / 400
    assert 0.2 < share < 0.4
    assert world.entities("candidate")["entities"] == sum(v == "candidate" for v in met.values())
    assert world.entities("stable")["entities"] == sum(v == "stable" for v in met.values())


async def test_the_answer_the_record_and_the_counts_name_variant_and_revision(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100)))
    answer = await world.service.infer(request("a"))
    revision = RevisionSpec(bundle=bundles["candidate"].digest).digest
    assert (answer.parameters["variant"], answer.parameters["revision"], answer.version) == ("candidate", revision, "2")
    (record,) = world.audit.records
    assert (record.variant, record.revision, record.version) == ("candidate", revision, "2")
    series = world.series()
    assert series["vedette_evidence_requests_total"][("threat", revision, "live", "candidate")] == 1
    loaded = {labels[3]: labels[2] for labels in series["vedette_model_info"]}
    assert loaded["candidate"] == revision


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"variant": "candidate"}, id="by header or metadata"),
        pytest.param({"parameters": {"variant": "candidate"}}, id="by parameter"),
        pytest.param({"version": "2"}, id="by version"),
        pytest.param({"version": "2", "variant": "candidate"}, id="by both, which agree"),
    ],
)
async def test_a_variant_answers_who_asks_for_it_and_that_is_no_evidence(world, bundles, asked):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"])))
    asked = dict(asked)
    answer = await world.service.infer(request("a", **asked.pop("parameters", {}), **asked))
    assert (answer.parameters["variant"], answer.version) == ("candidate", "2")
    assert world.evidence("candidate")["requests"] == world.evidence("stable")["requests"] == 0
    assert len(world.audit.records) == 1


async def test_stable_by_name_is_no_evidence_either(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100)))
    assert (await world.service.infer(request("a", variant="stable"))).parameters["variant"] == "stable"
    assert (await world.service.infer(request("a", version="1"))).parameters["variant"] == "stable"
    assert world.evidence("stable")["requests"] == 0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        pytest.param({"variant": "gold"}, r"'gold' is not loaded; model 'threat' has \['stable', 'candidate'\]", id="unknown"),
        pytest.param(
            {"variant": "candidate", "version": "1"}, "is version 2, the request asks for version '1'", id="a contradiction"
        ),
    ],
)
async def test_a_variant_that_is_not_there_is_refused_with_those_that_are(world, bundles, asked, says):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"])))
    with pytest.raises(BadRequest, match=says):
        await world.service.infer(request("a", **asked))
    with pytest.raises(BadRequest, match="3 is not loaded"):
        await world.service.infer(tensors(1.0, variant=3))


async def test_each_row_of_a_request_meets_the_variant_of_its_entity(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50)))
    hosts, levels = [host(i) for i in range(60)], [float(i % 5) for i in range(60)]
    outputs = ["verdict", "score", "variant", "risk"]
    answer = await world.service.infer(request(*hosts, level=levels, outputs=outputs))
    alone = [await world.service.infer(request(h, level=x, outputs=outputs)) for h, x in zip(hosts, levels, strict=True)]
    for output in answer.outputs:
        theirs = [o for a in alone for o in a.outputs if o.name == output.name]
        assert np.array_equal(output.data, np.concatenate([o.data for o in theirs])), output.name
    assert {a.parameters["variant"] for a in alone} == {"stable", "candidate"}
    assert answer.parameters["variant"] == answer.parameters["revision"] == "mixed"
    said = json.loads(answer.parameters["variants"])
    assert sum(s["rows"] for s in said) == 60
    assert {s["version"] for s in said} == {"1", "2"}


async def test_each_row_of_a_mixed_request_is_accounted_for_by_its_revision(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50)))
    answer = await world.service.infer(request(*[host(i) for i in range(20)], outputs=["variant"]))
    first, second = world.audit.records
    assert first.receipt == second.receipt == answer.parameters["receipt"]
    named = answer.outputs[0].data.tolist()
    for record in (first, second):
        assert {named[i].decode() for i in record.row_numbers} == {record.variant}
        assert record.inputs["host"]["data"] == [host(i) for i in record.row_numbers]
    assert sorted([*first.row_numbers, *second.row_numbers]) == list(range(20))
    assert world.evidence("stable")["rows"] + world.evidence("candidate")["rows"] == 20


async def test_tensors_go_by_the_entity_they_name_or_by_their_content(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50)))
    for i in range(30):
        by_key = await world.service.infer(request(host(i), level=3.0))
        by_name = await world.service.infer(tensors(3.0, 1.0, entity=host(i)))
        assert by_key.parameters["variant"] == by_name.parameters["variant"]
    rows = [float(i) for i in range(30)]
    together = await world.service.infer(tensors(*rows))
    assert together.parameters["variant"] == "mixed"


async def test_a_request_stable_alone_can_answer_is_nobodys_evidence(world, bundles, tmp_path):
    renamed = threat(tmp_path / "r", "6", 0.5)
    world.store.add(renamed)
    await world.service.apply(spec(bundles["stable"], variant(renamed, weight=100)))
    variants = world.variants
    object.__setattr__(variants.others[0].revision, "model_outputs", frozenset({"elsewhere"}))
    answer = await world.service.infer(request("a", outputs=["risk"]))
    assert answer.parameters["variant"] == "stable"
    assert world.evidence("stable")["requests"] == 0


async def test_a_variant_that_fails_is_answered_for_by_stable_and_blamed(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["failing"], weight=100)))
    fine = await world.service.infer(request("a", level=0.5))
    rescued = await world.service.infer(request("b", level=3.0))
    assert fine.parameters["variant"] == "candidate"
    assert (rescued.parameters["variant"], rescued.parameters["fallback_from"]) == ("stable", "candidate")
    assert verdicts(rescued) == ["alert"]
    assert world.evidence("candidate") == {
        "requests": 2, "rows": 1, "errors": 1, "latency": 0, "degraded": 0, "alertRate": 0,
    }  # fmt: skip
    assert world.evidence("stable")["requests"] == 0, "the split did not send it there"
    assert world.entities("candidate")["errors"] == 1
    assert world.audit.records[-1].fallback_from == "candidate"
    assert world.series()["vedette_fallbacks_total"][("threat", "candidate", "4")] == 1


async def test_a_variant_that_hangs_leaves_stable_the_time_to_answer_and_counts_as_slow(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100)))
    served, released = world.variants.others[0].revision, threading.Event()

    class Hanging:
        def run(self, tensors, outputs=None, stop=None):
            released.wait(10)

    object.__setattr__(served, "model", Hanging())
    object.__setattr__(served, "run_us", 1e6)
    bulkheads = world.scorer._protection.bulkheads = Bulkheads(threads=1, queue=1)
    answer = await world.service.infer(replace(request("a"), deadline_s=0.2))
    released.set()
    bulkheads.close()
    assert (answer.parameters["variant"], answer.parameters["fallback_from"]) == ("stable", "candidate")
    found = world.evidence("candidate")
    assert (found["requests"], found["latency"], found["errors"]) == (1, 1, 0)


async def test_what_neither_can_take_is_the_clients_mistake(world, bundles):
    await world.service.apply(spec(bundles["failing"], variant(bundles["failing"], weight=100)))
    with pytest.raises(BadRequest, match="refused this input"):
        await world.service.infer(request("b", level=3.0))
    assert world.evidence("candidate")["requests"] == world.evidence("stable")["requests"] == 0


async def test_a_failure_of_both_is_blamed_on_the_one_that_was_chosen(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50)))

    class Broken:
        def run(self, tensors, outputs=None, stop=None):
            raise RuntimeError("out of memory")

    variants = world.variants
    for loaded in (variants.stable, *variants.others):
        object.__setattr__(loaded.revision, "model", Broken())
    for i in range(20):
        with pytest.raises(Internal):
            await world.service.infer(request(host(i)))
    stable, candidate = world.evidence("stable"), world.evidence("candidate")
    assert stable["errors"] + candidate["errors"] == 20
    assert stable["errors"] == stable["requests"] > 0
    assert candidate["errors"] == candidate["requests"] > 0


async def test_slow_is_over_the_objective_and_counts_the_first_of_an_entity(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100), latency_objective_ms=50.0))
    served = world.variants.others[0].revision

    class Slow:
        seconds, model = 0.06, served.model

        def run(self, tensors, outputs=None, stop=None):
            assert world.metrics.ongoing == world.series()["vedette_ongoing_requests"][()] == 1
            world.clock.advance(self.seconds)
            return self.model.run(tensors, outputs)

    slow = Slow()
    object.__setattr__(served, "model", slow)
    await world.service.infer(request("a"))
    slow.seconds = 0.04
    await world.service.infer(request("a"))
    await world.service.infer(request("b"))
    assert world.evidence("candidate")["latency"] == 1
    assert world.entities("candidate") == {"entities": 2, "errors": 0, "latency": 1, "degraded": 0, "alertRate": 0}


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
            lambda b: variant(b["other"], weight=100), "cannot stand beside stable: it takes the columns", id="other inputs"
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


async def test_two_named_variants_share_the_entities_as_declared(world, bundles):
    experiment = spec(bundles["stable"], variant(bundles["candidate"], 40, name="a"), variant(bundles["third"], 40, name="b"))
    await world.service.apply(experiment)
    met = [(await world.service.infer(request(host(i)))).parameters["variant"] for i in range(500)]
    for name, expected in (("a", 200), ("b", 200), ("stable", 100)):
        assert abs(met.count(name) - expected) < 55, name  # five standard deviations


async def test_an_empty_specification_serves_nothing_and_is_ready(world, bundles):
    await world.service.apply(spec(bundles["stable"]))
    await world.service.apply(ServingSpec())
    assert world.service.is_ready()
    assert world.service.repository_index(only_ready=True) == ()


async def test_one_row_is_answered_as_it_is_among_many(world, bundles):
    await world.service.apply(spec(bundles["stable"]))
    levels = [-3.0, 0.0, 0.01, 1.0, 1.3862943, 1.3862944, 1.4, 9.0]
    many = await world.service.infer(request(*"abcdefgh", level=levels))
    for row, (name, level) in enumerate(zip("abcdefgh", levels, strict=True)):
        for _ in range(2):  # the second time from what was kept
            one = await world.service.infer(request(name, level=level))
            assert [(o.name, o.datatype, o.data.dtype) for o in one.outputs] == [
                (o.name, o.datatype, o.data.dtype) for o in many.outputs
            ]
            assert [o.data.tolist() for o in one.outputs] == [o.data[row : row + 1].tolist() for o in many.outputs]


async def test_one_row_without_a_score_is_answered_as_it_is_among_many(tmp_path):
    world = World(tmp_path)
    calibration = {"scores": [0.1, 0.5], "low": [0.1, 0.6], "high": [0.3, 0.9], "rows": 10}
    bundle = threat(tmp_path / "bundle", "1", allow_nonfinite=True, calibration=calibration)
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    one = await world.service.infer(request("a", level=float("nan")))
    many = await world.service.infer(request("a", "b", level=[float("nan"), 1.0]))
    said = {o.name: o.data.tolist() for o in one.outputs}
    assert said["verdict"] == [b"investigate"]
    for name in ("score", "probability", "probability_low", "probability_high"):
        assert np.isnan(said[name]).all(), name
    for alone, among in zip(one.outputs, many.outputs, strict=True):
        np.testing.assert_array_equal(alone.data, among.data[:1])


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
