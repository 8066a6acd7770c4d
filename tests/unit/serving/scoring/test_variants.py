"""Several revisions in one replica: which variant answers which row, and what the answer and the counts say of it."""

import json

import numpy as np
import pytest

from serving.errors import BadRequest
from serving.spec import RevisionSpec
from tests.unit.serving.scoring.variants import World, host, request, spec, tensors, threat, variant

pytestmark = pytest.mark.heavy


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
            {"variant": "candidate", "version": "1"},
            "is version 2, but the request also asks for version '1'",
            id="a contradiction",
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
    world.serve("candidate", model_outputs=frozenset({"elsewhere"}))
    answer = await world.service.infer(request("a", outputs=["risk"]))
    assert answer.parameters["variant"] == "stable"
    assert world.evidence("stable")["requests"] == 0


async def test_two_named_variants_share_the_entities_as_declared(world, bundles):
    experiment = spec(bundles["stable"], variant(bundles["candidate"], 40, name="a"), variant(bundles["third"], 40, name="b"))
    await world.service.apply(experiment)
    met = [(await world.service.infer(request(host(i)))).parameters["variant"] for i in range(500)]
    for name, expected in (("a", 200), ("b", 200), ("stable", 100)):
        assert abs(met.count(name) - expected) < 55, name  # five standard deviations


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
