"""The three kinds of explanation of a detector that was trained, as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.training.train import prepare, train, write_bundle
from serving.errors import BadRequest
from serving.explanations.answering import BundleExplainer
from serving.models.onnx import OnnxModel
from serving.models.verdicts import VERDICTS, verdict_codes
from serving.ports import JudgedRows
from tests.unit.lifecycle.declared import detector, rows

REASONS = {
    "failures": {"code": "FAILED_LOGINS", "text": "{value} logins failed"},
    "method": {"code": "METHOD", "text": "the login was by {value}"},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    declared = detector(reasons=REASONS)
    trained = train(prepare(declared, check_data(declared, rows(1200), where="x"), None, with_test=True))
    return write_bundle(trained, tmp_path_factory.mktemp("answering") / "b")


@pytest.fixture(scope="module")
def model(bundle):
    return OnnxModel(bundle.model_path)


@pytest.fixture(scope="module")
def judged(bundle, model):
    tensors = {
        "method": np.array([["password"], ["token"]], dtype=object),
        "numeric": np.array([[9.0, 0.3], [0.0, 8.0]], np.float32),
    }
    scores = model.run(tensors, ["probabilities"])["probabilities"][:, 1]
    point = bundle.manifest.operating_points["siem_alerting"]
    verdicts = [VERDICTS[code] for code in verdict_codes(scores, point)]
    return JudgedRows(tensors, scores, verdicts, "siem_alerting", point.investigate, point.threshold)


@pytest.fixture
def explainer(bundle, model):
    return BundleExplainer(bundle, model)


def bodies(explainer, method, judged, budget_s=20.0):
    found = [json.loads(line) for line in explainer.explain(method, judged, budget_s)]
    assert [body["verdict"] for body in found] == ["alert", "benign"]
    return found


@pytest.mark.heavy
def test_attributions_are_exact_and_their_words_are_the_detectors(explainer, judged):
    alert, benign = bodies(explainer, "shap", judged)
    for body in (alert, benign):
        assert (body["method"], body["unit"], body["is_exact"], body["error"]) == ("tree_shap", "log_odds", True, 0.0)
        margin = body["base"] + sum(body["attributions"].values())
        assert 1 / (1 + np.exp(-margin)) == pytest.approx(body["score"], abs=1e-6)
    (failed,) = [reason for reason in alert["reasons"] if reason["column"] == "failures"]
    assert failed["code"] == "FAILED_LOGINS"
    assert failed["sentence"].startswith("9 logins failed, more than in 9")
    assert {reason["direction"] for reason in benign["reasons"]} == {"lowers"}


def test_a_counterfactual_gives_the_other_verdict_when_it_is_tried(explainer, judged, bundle, model):
    alert, benign = bodies(explainer, "counterfactual", judged)
    assert (alert["wanted"], benign["wanted"]) == ("benign", "alert")
    assert alert["is_whole"]
    first = alert["counterfactuals"][0]
    assert first["sentence"].startswith("Benign if ")
    assert first["score"] < judged.investigate
    tensors = {name: tensor[:1].copy() for name, tensor in judged.tensors.items()}
    for change in first["changes"]:
        if change["column"] == "method":
            tensors["method"][0, 0] = change["to"]
        else:
            tensors["numeric"][0, ["failures", "seconds"].index(change["column"])] = change["to"]
    assert model.run(tensors, ["probabilities"])["probabilities"][0, 1] == pytest.approx(first["score"], abs=1e-6)


def test_a_rule_says_how_far_it_can_be_trusted(explainer, judged):
    alert, benign = bodies(explainer, "rules", judged)
    assert (alert["says"], benign["says"]) == ("alert", "benign")
    assert alert["agrees"]
    assert 0.7 < alert["fidelity"] <= 1.0
    assert alert["support"] > 5
    assert " and ".join(c["sentence"] for c in alert["conditions"]) == alert["rule"]
    assert "logins failed" in alert["rule"]


def test_an_unknown_row_has_reasons_and_no_change_where_its_score_is_a_benign_one(explainer, judged):
    one = {name: tensor[1:] for name, tensor in judged.tensors.items()}
    rows = JudgedRows(one, judged.scores[1:], ["unknown"], judged.point, judged.investigate, judged.alert)
    (body,) = [json.loads(line) for line in explainer.explain("counterfactual", rows, 20.0)]
    assert (body["verdict"], body["wanted"], body["is_met"], body["counterfactuals"]) == ("unknown", "benign", True, [])
    for method in ("shap", "rules"):
        (said,) = [json.loads(line) for line in explainer.explain(method, rows, 20.0)]
        assert said["verdict"] == "unknown"


def test_without_time_the_best_that_was_found_is_said_to_be_unfinished(explainer, judged):
    alert, _ = bodies(explainer, "counterfactual", judged, budget_s=0.0)
    assert not alert["is_whole"]


def test_rows_of_another_form_are_refused_in_words(explainer, judged):
    wide = {**judged.tensors, "numeric": np.zeros((2, 3), np.float32)}
    odd = JudgedRows(wide, judged.scores, judged.verdicts, judged.point, judged.investigate, judged.alert)
    for method in ("shap", "rules", "counterfactual"):
        with pytest.raises(BadRequest, match=f"model 'logins' cannot be explained by '{method}': .*other columns"):
            explainer.explain(method, odd, 1.0)


@pytest.mark.parametrize("method", ["rules", "counterfactual"])
def test_what_training_rows_hold_of_other_people_is_in_no_answer(bundle, model, judged, method):
    """A rule or a counterfactual names values of the reference rows; of a personal column these are other people's."""
    told = {"rules": "conditions", "counterfactual": "changes"}[method]

    def columns(of):
        found = bodies(BundleExplainer(of, model), method, judged)
        parts = found if method == "rules" else [one for body in found for one in body["counterfactuals"]]
        return {one["column"] for part in parts for one in part[told]}

    assert "failures" in columns(bundle)
    private = bundle.manifest.model_copy(update={"personal": {"failures": "drop"}})
    assert "failures" not in columns(replace(bundle, manifest=private))
