"""The triage pre-filter: clear cases are benign without the model, the others are answered as without it.

In these tests the cheap model is sigmoid(level) and its bound 0.4, so rows with a level under about -0.41 are ended."""

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from lifecycle.governance.replay.replay import Replayer
from lifecycle.governance.replay.revisions import RevisionBook
from serving.audit.encoding import decode_array, decode_record, encode_record
from serving.models.bundle import read_bundle
from serving.models.errors import BundleError
from serving.models.limits.bundle_limits import ModelLimits, check_graph_growth
from serving.models.onnx import OnnxModel
from serving.resilience.breaker import Breakers
from serving.scoring.protection import Protection
from serving.scoring.triage.audit_sample import audited, is_audited
from serving.scoring.triage.outcomes import ENDED, TRIAGE, source_of_row, words_of
from serving.scoring.triage.triaged_model import TriagedModel
from serving.spec import RevisionSpec, SuppressionSpec, TriageSwitch
from tests import laws
from tests.unit.serving.scoring.rules.test_rules_beside import BESIDE
from tests.unit.serving.scoring.rules.test_suppressions import FAR
from tests.unit.serving.scoring.test_protected import cached
from tests.unit.serving.scoring.test_rules_answer import outputs
from tests.unit.serving.scoring.variants import World, graph, request, spec, tensors, threat, variant

pytestmark = pytest.mark.heavy

ON = TriageSwitch(audit_share=0.0)
LOSSES = {"attacks": 5000, "lost": 1, "required": 0.001, "upper": 0.00095, "confidence": 0.95}
DESCRIBED = {"output": "risk", "bound": 0.4, "ended": 0.6, "losses": LOSSES}
LEVELS = [-3.0, 2.0, -0.3, -1.0]


def with_triage(folder, version="1", gain=1.0, cheap=None, **fields):
    return threat(folder, version, gain, cheap=cheap or graph(1.0), triage=DESCRIBED, **fields)


async def world_with(tmp_path, switch: TriageSwitch | None = ON, world: World | None = None, **fields) -> World:
    world, bundle = world or World(tmp_path), with_triage(tmp_path / "bundle", **fields)
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, triage=switch)))
    return world


def replayed(world: World) -> dict[str, int]:
    lines = [encode_record(record)[:-1] for record in world.audit.records]
    return dict(Replayer(RevisionBook(world.store.root)).replay(lines).outcomes)


def triaged_rows(world: World) -> dict[str, float]:
    return {key[1]: value for key, value in world.series().get("vedette_triage_rows_total", {}).items()}


@pytest.mark.parametrize("kind", ["columns", "tensors"])
async def test_rows_below_the_bound_are_benign_without_a_score_and_the_others_are_the_models(tmp_path, kind):
    world, plain = await world_with(tmp_path), await world_with(tmp_path / "plain", None)
    asked = request("a", "b", "c", "d", level=LEVELS) if kind == "columns" else tensors(*LEVELS)
    answer, without = await world.service.infer(asked), await plain.service.infer(asked)
    found, expected = outputs(answer), outputs(without)
    assert found["verdict"] == [b"benign", b"alert", b"benign", b"benign"]
    assert np.isnan(found["score"]).tolist() == [True, False, False, True]
    assert [found["score"][at] for at in (1, 2)] == [expected["score"][at] for at in (1, 2)]
    assert (answer.parameters["source"], answer.parameters["triaged"]) == ("model+triage", "[0, 3]")
    assert "triaged" not in without.parameters
    record = decode_record(encode_record(world.audit.records[-1]))
    assert (record.source, record.triage) == ("model+triage", ["ended", "passed", "passed", "ended"])
    assert record.verdicts == ["benign", "alert", "benign", "benign"]
    assert np.isnan(decode_array(record.scores)).tolist() == [True, False, False, True]
    assert triaged_rows(world) == {"ended": 2.0, "passed": 2.0}
    assert replayed(world) == {"identical": 1}


ONE = [
    pytest.param(-3.0, ("triage", b"benign", True), id="a row below the bound"),
    pytest.param(2.0, ("model", b"alert", False), id="a row above it"),
]


@pytest.mark.parametrize(("level", "ran"), [(-3.0, "triage"), (2.0, "model")])
async def test_the_span_says_whether_the_model_ran(tmp_path, level, ran):
    world = await world_with(tmp_path)
    await world.service.infer(replace(request("a", level=[level]), traceparent=f"00-{1:032x}-{1:016x}-01"))
    await asyncio.sleep(0)
    assert {span.name for span in world.spans.finished()} & {"triage", "model"} == {ran}


@pytest.mark.parametrize(("level", "expected"), ONE)
async def test_one_row(tmp_path, level, expected):
    world = await world_with(tmp_path)
    answer = await world.service.infer(request("a", level=level))
    found = outputs(answer)
    assert (answer.parameters["source"], found["verdict"][0], bool(np.isnan(found["score"][0]))) == expected
    assert answer.parameters.get("triaged") == ("[0]" if expected[0] == "triage" else None)
    assert replayed(world) == {"identical": 1}


async def test_off_is_as_ever_and_has_the_digest_that_it_had(tmp_path):
    world = await world_with(tmp_path, None)
    answer = await world.service.infer(request("a", "b", level=[-3.0, 2.0]))
    assert not np.isnan(outputs(answer)["score"]).any()
    assert b"triage" not in encode_record(world.audit.records[-1])
    assert triaged_rows(world) == {}
    bundle = "sha256:" + "0" * 64
    plain = "sha256:b85d367736c0f7850e59d944b4afe9a6ea8807ac667ea831c9e30827bf5d2bac"
    digests = {RevisionSpec(bundle=bundle, triage=t).digest for t in (None, ON, TriageSwitch(), TriageSwitch(bound=0.1))}
    assert len(digests) == 4
    assert plain in digests


async def test_a_revision_may_have_another_bound(tmp_path):
    world = await world_with(tmp_path, TriageSwitch(bound=0.1, audit_share=0.0))
    answer = await world.service.infer(request("a", "b", level=[-3.0, -1.0]))
    assert answer.parameters["triaged"] == "[0]"


async def test_audited_rows_are_the_models_and_show_lost_attacks(tmp_path):
    world = await world_with(tmp_path, TriageSwitch(audit_share=1.0), gain=-1.0)
    answer = await world.service.infer(request("a", "b", "c", level=[-3.0, -0.45, 1.0]))
    assert outputs(answer)["verdict"] == [b"alert", b"investigate", b"benign"], "nothing is ended"
    assert "triaged" not in answer.parameters
    assert answer.parameters["source"] == "model"
    assert world.audit.records[-1].triage == ["audited", "audited", "passed"]
    assert triaged_rows(world) == {"audited_lost": 2.0, "passed": 1.0}
    assert replayed(world) == {"identical": 1}


async def test_a_share_is_audited_and_a_replay_knows_which_rows(tmp_path):
    world = await world_with(tmp_path, TriageSwitch(audit_share=0.25))
    levels = np.linspace(-9.0, -1.0, 400).tolist()
    whole = await world.service.infer(tensors(*levels))
    ended = set(json.loads(whole.parameters["triaged"]))
    assert 250 < len(ended) < 350
    for row in (0, 1, 2, 3, 200, 399):
        alone = await world.service.infer(tensors(levels[row]))
        assert ("triaged" in alone.parameters) == (row in ended), "alone as among others"
    assert replayed(world) == {"identical": 7}


class TwoOutputs:
    """A model with an output beside its score. runs: how many rows each run had."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run(self, tensors, outputs=None, stop=None):
        self.runs.append(len(tensors["level"]))
        return {name: tensors["level"] * (1 + len(name)) for name in outputs}


def test_a_request_for_another_output_runs_the_model_for_every_row(sessions):
    manifest, _, cheap = sessions
    model = TwoOutputs()
    triaged = TriagedModel(model, cheap, manifest, ON)
    feed = {"level": np.array([[-3.0], [2.0]], np.float32)}
    both = triaged.run(feed, ["risk", "family", TRIAGE])
    assert model.runs == [2]
    assert not np.isnan(both["risk"]).any()
    assert words_of(both[TRIAGE]) == ["skipped", "skipped"]
    assert words_of(triaged.run(feed, ["risk", TRIAGE])[TRIAGE]) == ["ended", "passed"]
    assert TRIAGE not in triaged.run(feed, ["risk"])
    assert model.runs == [2, 1, 2]


async def test_the_score_of_a_row_that_was_ended_is_no_number_under_the_graphs_own_name_too(tmp_path):
    world = await world_with(tmp_path)
    answer = await world.service.infer(request("a", "b", level=[-3.0, 2.0], outputs=("risk", "verdict")))
    assert np.isnan(outputs(answer)["risk"]).ravel().tolist() == [True, False]
    assert replayed(world) == {"identical": 1}


async def test_a_cheap_model_that_fails_loses_no_row(tmp_path, caplog):
    world = await world_with(tmp_path, cheap=graph(1.0, fails_above=1.0))
    answer = await world.service.infer(request("a", "b", level=[-3.0, 2.0]))
    assert outputs(answer)["verdict"] == [b"benign", b"alert"]
    assert not np.isnan(outputs(answer)["score"]).any()
    assert world.audit.records[-1].triage == ["failed", "failed"]
    await world.service.infer(request("a", "b", level=[-3.0, 2.0]))
    assert triaged_rows(world) == {"failed": 4.0}
    assert sum("fails" in message for message in caplog.messages) == 1
    assert replayed(world) == {"identical": 2}
    again = await world.service.infer(request("a", level=-3.0))
    assert again.parameters["source"] == "triage"


async def test_rules_beside_the_model_raise_a_row_that_triage_ended(tmp_path):
    world = await world_with(tmp_path, rule_files={"rules.yaml": BESIDE})
    answer = await world.service.infer(request("a", "b", "c", level=[-6.0, -1.0, 2.0]))
    assert outputs(answer)["verdict"] == [b"alert", b"benign", b"alert"]
    assert (answer.parameters["source"], answer.parameters["triaged"]) == ("model+triage+rules", "[0, 1]")
    alone = await world.service.infer(request("a", level=-6.0))
    assert (alone.parameters["source"], outputs(alone)["verdict"]) == ("triage+rules", [b"alert"])
    assert replayed(world) == {"identical": 2}


async def test_a_suppression_lowers_what_rules_raised(tmp_path):
    bundle = with_triage(tmp_path / "bundle", rule_files={"rules.yaml": BESIDE})
    entry = SuppressionSpec(id="ours", owner="ana", reason="ours", expires=FAR, when="host == 'a'", becomes="benign")
    world = World(tmp_path)
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, triage=ON, suppressions=(entry,))))
    answer = await world.service.infer(request("a", "b", level=[-6.0, -6.0]))
    assert outputs(answer)["verdict"] == [b"benign", b"alert"]
    assert replayed(world) == {"identical": 1}


async def test_the_cache_keeps_what_triage_ended(tmp_path):
    protection = Protection(Breakers(), None, 1.0, 0.05)
    world = World(tmp_path, protection=protection)
    world.protection = protection
    cached(world)
    await world_with(tmp_path, world=world)
    answers = [await world.service.infer(request("a", "b", level=[-3.0, 2.0])) for _ in range(2)]
    assert [answer.parameters["triaged"] for answer in answers] == ["[0]", "[0]"]
    assert [answer.parameters["source"] for answer in answers] == ["model+triage", "cache+triage"]
    assert outputs(answers[0])["verdict"] == outputs(answers[1])["verdict"] == [b"benign", b"alert"]
    assert replayed(world) == {"identical": 2}


async def test_an_explanation_says_that_triage_ended_the_row(tmp_path):
    world = await world_with(tmp_path)
    answer = await world.service.infer(request("a", "b", level=[-3.0, 2.0], explain="counterfactual"))
    told = [json.loads(line) for line in outputs(answer)["explanation"]]
    assert told[0] == {"method": "triage_ended", "verdict": "benign", "rules": []}
    assert told[1]["verdict"] == "alert"
    assert told[1]["method"] != "triage_ended"


async def test_a_candidate_with_triage_is_compared_with_stable_by_what_it_would_answer(tmp_path):
    bundle = with_triage(tmp_path / "bundle", gain=-1.0)
    world = World(tmp_path)
    world.store.add(bundle)
    mirrored = variant(bundle, mirror=100.0, triage=ON)
    await world.service.apply(spec(bundle, mirrored))
    await world.service.infer(request("a", "b", level=[-3.0, 1.0]))
    await world.mirror.drained()
    pairs = world.series()["vedette_evidence_pairs_total"]
    found = {(key[1], key[3]): value for key, value in pairs.items() if value}
    assert found == {("benign", "alert"): 1.0, ("benign", "benign"): 1.0}, "the candidate's verdict, and stable's"
    assert world.evidence("candidate", "mirror")["rows"] == 2


async def test_a_revision_that_asks_for_triage_of_a_bundle_without_one_is_refused(tmp_path):
    bundle = threat(tmp_path / "bundle", "1")
    world = World(tmp_path)
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, triage=ON)))
    assert not world.service.is_model_ready("threat", None)


async def test_a_model_that_fails_is_not_saved_by_rows_that_triage_ends(tmp_path):
    """A row that was ended says nothing about the model: its breaker counts only runs of the model."""
    world = await world_with(tmp_path)
    await world.service.infer(request("a", level=2.0))
    guard = world.scorer._protection.last_guard[1]
    known = guard._quick
    for _ in range(5):
        await world.service.infer(request("a", level=-3.0))
    assert guard._quick == known
    await world.service.infer(request("a", level=2.0))
    assert guard._quick == known + 1


def test_a_bundle_is_built_only_if_its_triage_has_the_models_inputs_and_gives_a_score_a_row(tmp_path):
    other = graph(1.0).replace(b"level", b"other")
    with pytest.raises(BundleError, match="same inputs"):
        with_triage(tmp_path / "other", cheap=other)


def test_a_changed_triage_graph_is_another_bundle_and_a_changed_file_is_refused(tmp_path):
    one, two = with_triage(tmp_path / "one"), with_triage(tmp_path / "two", cheap=graph(2.0))
    assert one.digest != two.digest
    (one.folder / "triage.onnx").write_bytes(graph(3.0))
    with pytest.raises(BundleError, match=r"triage\.onnx"):
        read_bundle(one.folder)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    bundle = with_triage(tmp_path_factory.mktemp("triage") / "bundle", gain=1.7)
    return bundle.manifest, OnnxModel(bundle.model_path), OnnxModel(bundle.folder / "triage.onnx")


LEVEL = st.floats(-4, 4, width=32)


@laws.examples(60)
@given(st.lists(LEVEL, min_size=1, max_size=40), st.floats(0, 1, width=32), st.sampled_from([0.0, 0.3, 1.0]))
def test_whatever_is_ended_the_other_rows_are_equal_to_the_bit_and_in_their_order(sessions, levels, bound, share):
    manifest, model, cheap = sessions
    feed = {"level": np.array(levels, np.float32)[:, None]}
    triaged = TriagedModel(model, cheap, manifest, TriageSwitch(bound=bound, audit_share=share))
    got, plain = triaged.run(feed, ["risk", TRIAGE]), model.run(feed, ["risk"])["risk"]
    ended = got[TRIAGE] == ENDED
    below = cheap.run(feed, ["risk"])["risk"][:, 0] < np.float32(bound)
    assert got["risk"].shape == plain.shape
    assert got["risk"].dtype == plain.dtype
    assert got["risk"][~ended].tobytes() == plain[~ended].tobytes()
    assert np.isnan(got["risk"][ended]).all()
    assert not ended[~below].any()
    if share == 0.0:
        assert (ended == below).all()
    if share == 1.0:
        assert not ended.any()


@laws.examples(60)
@given(st.permutations(range(30)), st.floats(0.05, 0.95))
def test_which_rows_are_audited_depends_on_their_values_alone(order, share):
    numbers = np.linspace(-2, 2, 60, dtype=np.float32).reshape(30, 2)
    texts = np.array([f"host-{row}" for row in range(30)], dtype=object).reshape(30, 1)
    every = np.arange(30)
    picked = audited({"x": numbers, "name": texts}, every, share)
    index = np.array(order)
    assert (audited({"x": numbers[index], "name": texts[index]}, every, share) == picked[index]).all()
    assert (audited({"x": numbers, "name": texts}, index, share) == picked[index]).all()
    for row in range(30):
        assert is_audited({"x": numbers[row : row + 1], "name": texts[row : row + 1]}, share) == picked[row]


def test_as_many_rows_are_audited_as_asked_for():
    rows = np.random.default_rng(1).normal(size=(20_000, 3)).astype(np.float32)
    for share in (0.01, 0.1, 0.5):
        assert audited({"x": rows}, np.arange(len(rows)), share).mean() == pytest.approx(share, rel=0.15)


ROWS = [
    pytest.param("model+triage", True, False, "triage", id="ended"),
    pytest.param("model+triage", False, False, "model", id="not ended"),
    pytest.param("cache+triage+rules", True, True, "triage+rules", id="ended, and a rule matches"),
    pytest.param("model+triage+rules", False, True, "model+rules", id="a rule matches"),
    pytest.param("model+rules", False, False, "model", id="no rule matches"),
    pytest.param("triage", True, False, "triage", id="all were ended"),
    pytest.param("rules", False, True, "rules", id="rules answered in the model's place"),
]


@pytest.mark.parametrize(("source", "is_ended", "has_rules", "expected"), ROWS)
def test_the_source_of_one_row(source, is_ended, has_rules, expected):
    assert source_of_row(source, is_ended=is_ended, has_rules=has_rules) == expected


def with_a_range(folder):
    """A bundle whose cheap model makes a tensor as long as a value of the request says."""
    nodes = [
        helper.make_node("Cast", ["level"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["longest"], keepdims=0),
        helper.make_node("Range", ["zero", "longest", "one"], ["long"]),
        helper.make_node("Sigmoid", ["level"], ["risk"]),
    ]
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in (("zero", 0), ("one", 1))]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("level", "risk")]
    long = helper.make_tensor_value_info("long", TensorProto.INT64, [None])
    made = helper.make_graph(nodes, "cheap", ports[:1], [ports[1], long], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return with_triage(folder, cheap=bytes(model.SerializeToString()))


def test_the_cheap_model_has_the_limits_of_models(tmp_path):
    check_graph_growth(with_triage(tmp_path / "good"), ModelLimits())
    with pytest.raises(BundleError, match=r"triage\.onnx.*Range"):
        check_graph_growth(with_a_range(tmp_path / "long"), ModelLimits())
