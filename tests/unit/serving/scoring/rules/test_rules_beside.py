"""Rules beside the model (`use: verdict`): a rule that matches raises the verdict, the answer and its record say so."""

import json

import numpy as np
import pytest

from serving.models.bundle import read_bundle
from serving.models.errors import BundleError
from serving.models.rules_model import compile_rules
from serving.ports import RuleVerdicts
from serving.scoring.rules.raising import raised
from tests.unit.serving.scoring.test_rules_answer import outputs, world_with
from tests.unit.serving.scoring.variants import request, tensors, threat

BESIDE = b"""
use: verdict
thresholds:
  - {id: very-low, when: level < -5.0, severity: critical, techniques: [T1498.001]}
  - {id: low, when: level < -2.0, severity: medium}
  - {id: quiet, when: level > -0.6 && level < -0.4, severity: low}
"""


async def test_a_rule_raises_what_the_model_says(tmp_path):
    world = await world_with(tmp_path, BESIDE, feature_service=None)
    answer = await world.service.infer(request("a", "b", "c", "d", level=[-6.0, -3.0, -1.0, -0.5]))
    found = outputs(answer)
    assert found["verdict"] == [b"alert", b"investigate", b"benign", b"benign"]
    assert not np.isnan(found["score"]).any(), "the scores stay the model's"
    assert found["degraded"] == [False] * 4
    assert answer.parameters["source"] == "model+rules"
    assert "degraded" not in answer.parameters or answer.parameters["degraded"] is False
    matched = [["very-low", "low"], ["low"], [], ["quiet"]]
    assert json.loads(answer.parameters["rules"]) == matched
    record = world.audit.records[-1]
    assert (record.source, record.rules, record.verdicts) == (
        "model+rules", matched, ["alert", "investigate", "benign", "benign"],
    )  # fmt: skip
    series = world.series()
    assert series["vedette_rules_answers_total"] == {("threat", "verdict", "stable", "1"): 3.0}
    assert series["vedette_rules_matches_total"][("threat", "low")] == 2.0


@pytest.mark.parametrize("ask", [request("a", level=-6.0), tensors(-6.0)], ids=["columns", "tensors"])
async def test_one_row_is_raised_too(tmp_path, ask):
    world = await world_with(tmp_path, BESIDE, feature_service=None)
    answer = await world.service.infer(ask)
    assert outputs(answer)["verdict"] == [b"alert"]
    assert (answer.parameters["source"], json.loads(answer.parameters["rules"])) == ("model+rules", [["very-low", "low"]])


async def test_without_a_match_the_answer_is_the_models(tmp_path):
    world = await world_with(tmp_path, BESIDE, feature_service=None)
    answer = await world.service.infer(request("a", level=-1.0))
    assert answer.parameters["source"] == "model"
    assert "rules" not in answer.parameters
    assert world.audit.records[-1].rules == []


async def test_rules_for_other_uses_leave_the_models_verdict(tmp_path):
    world = await world_with(tmp_path, BESIDE.replace(b"use: verdict", b"use: member\nweight: 2.0"), feature_service=None)
    answer = await world.service.infer(request("a", level=-6.0))
    assert (outputs(answer)["verdict"], answer.parameters["source"]) == ([b"benign"], "model")
    rules = world.variants.stable.revision.rules
    assert (rules.use, rules.weight) == ("member", 2.0)


def test_a_verdict_is_never_lowered_and_unknown_yields_to_investigate():
    codes = np.array([0, 1, 2, 3, 3, 0], np.intp)
    said = RuleVerdicts(np.array([1, 0, 1, 0, 1, 2], np.intp), (("a",), ("a",), ("a",), ("a",), ("a",), ()))
    assert raised(codes, said).tolist() == [1, 1, 2, 3, 1, 0]


def test_the_manifest_says_what_the_rules_are_for_and_their_techniques(tmp_path):
    bundle = threat(tmp_path / "b", "1", files={"rules/rules.yaml": BESIDE}, rules={}, techniques=("T1046",))
    assert bundle.manifest.rules.use == "verdict"
    assert bundle.manifest.rules.techniques == {"very-low": ("T1498.001",)}
    assert read_bundle(tmp_path / "b").manifest.techniques == ("T1046",)


def test_a_manifest_that_says_another_use_than_its_rules_is_refused(tmp_path):
    manifest = threat(tmp_path / "b", "1", files={"rules/rules.yaml": BESIDE}, rules={}).manifest
    with pytest.raises(BundleError, match=r"rules.use is 'verdict', and its rules.yaml says 'fallback'"):
        compile_rules(manifest, {"rules/rules.yaml": BESIDE.replace(b"use: verdict", b"")})


@pytest.mark.parametrize("technique", ["t1046", "T104", "T1046.1", "Discovery"])
def test_a_technique_is_an_id_of_attack(tmp_path, technique):
    with pytest.raises(BundleError, match="techniques"):
        threat(tmp_path / "b", "1", techniques=(technique,))


AS_FEATURE = BESIDE.replace(b"use: verdict", b"use: feature")
BY_SEVERITY = {"feature_service": None, "assembly": [{"tensor": "level", "columns": ["rules_severity"]}]}


async def test_the_model_takes_what_rules_say_as_a_column(tmp_path):
    world = await world_with(tmp_path, AS_FEATURE, **BY_SEVERITY)
    answer = await world.service.infer(request("a", "b", "c", level=[-6.0, -3.0, 1.0]))
    scores = outputs(answer)["score"]
    expected = outputs(await world.service.infer(tensors(5.0, 3.0, 0.0)))["score"]
    assert scores == expected, "critical is 5, medium 3, none 0"
    assert scores[0] > scores[1] > scores[2]
    assert answer.parameters["source"] == "model"


async def test_such_columns_do_not_need_the_features(tmp_path):
    world = await world_with(tmp_path, AS_FEATURE, assembly=BY_SEVERITY["assembly"])
    before = outputs(await world.service.infer(request("a", level=-6.0)))["score"]
    assert before == outputs(await world.service.infer(tensors(5.0)))["score"]


def test_a_rule_may_not_name_a_column_that_rules_make(tmp_path):
    text = AS_FEATURE.replace(b"level > -0.6", b"rules_matched > 1.0")
    with pytest.raises(BundleError, match="there is no column"):
        threat(tmp_path / "b", "1", files={"rules/rules.yaml": text}, rules={}, assembly=BY_SEVERITY["assembly"])


def test_only_rules_for_that_use_make_columns(tmp_path):
    with pytest.raises(BundleError, match="not request_fields"):
        threat(tmp_path / "b", "1", files={"rules/rules.yaml": BESIDE}, rules={}, assembly=BY_SEVERITY["assembly"])
