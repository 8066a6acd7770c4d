"""Ensembles: ranks of members, one graph that answers as the numpy reference does, and a bundle that serves it."""

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lifecycle.datasets.data import check_data
from lifecycle.errors import DetectorError
from lifecycle.training.ensemble.fitted import FittedEnsemble, fit_ensemble
from lifecycle.training.ensemble.ranks import MIN_GAP, rank_table
from lifecycle.training.export import RANK_TOLERANCE, check_parity, tensors_of, to_onnx
from lifecycle.training.fit import encoding_of
from lifecycle.training.train import Continuation, fit_rows, prepare, train, write_bundle
from serving.explanations.answering import BundleExplainer
from serving.loading.loaded_bundle import load_bundle
from serving.models.onnx import OnnxModel
from serving.ports import JudgedRows
from tests.unit.lifecycle.declared import detector, rows

pytestmark = pytest.mark.heavy

RULES = {
    "use": "member",
    "weight": 2.0,
    "thresholds": [
        {"id": "many", "when": "failures > 5.0", "severity": "high"},
        {"id": "some", "when": "failures > 2.0", "severity": "low"},
    ],
}
MEMBERS = [
    {"name": "deep", "trees": 12},
    {"name": "numbers", "columns": ["failures", "seconds"], "parameters": {"num_leaves": 3}},
]


def declared(rule="mean_rank", members=MEMBERS, **changes):
    return detector(model__ensemble={"rule": rule, "k": 2, "members": members}, **changes)


def fitted(rule):
    spec, frame = declared(rule), rows(3000)
    encoding = encoding_of(frame, ("method", "failures", "seconds"))
    attack = (frame["verdict"] == "attack").to_numpy()
    return encoding, fit_ensemble(spec.model, encoding, encoding.matrix(frame), attack, None, 3), frame


def prepared(**changes):
    spec = declared(**changes)
    return prepare(spec, check_data(spec, rows(2000), where="x"), None, with_test=True)


@pytest.mark.parametrize("rule", ["mean_rank", "k_of_n"])
def test_the_graph_answers_as_the_reference_does(rule):
    encoding, model, frame = fitted(rule)
    session = OnnxModel(to_onnx(model, encoding))
    assert check_parity(session, model, encoding, frame) < RANK_TOLERANCE
    assert check_parity(session, model, encoding, frame.head(50).assign(method="never seen", failures=10**6)) < RANK_TOLERANCE
    got = session.run(tensors_of(encoding, frame))
    assert ((got["probabilities"] >= 0) & (got["probabilities"] <= 1)).all()


def test_the_rules_of_merging_are_those_declared():
    encoding, mean, frame = fitted("mean_rank")
    matrix = encoding.matrix(frame)
    ranks = mean.ranks(matrix)
    np.testing.assert_allclose(mean.scores(matrix), ranks.mean(axis=1))
    both = FittedEnsemble(declared("k_of_n").model.ensemble, mean.members)
    np.testing.assert_allclose(both.scores(matrix), ranks.min(axis=1), err_msg="2 of 2 is the smaller rank")


def test_the_graph_has_these_nodes():
    encoding, model, _ = fitted("mean_rank")
    found = [node.op_type for node in onnx.load_from_string(to_onnx(model, encoding)).graph.node]
    rank = ["Sub", "Div", "Clip", "MatMul", "Add"]
    member = ["Gather", "TreeEnsembleRegressor", *rank]
    ends = ["Concat", "MatMul", "Sub", "Concat", "GreaterOrEqual", "Cast", "Squeeze"]
    assert found == ["LabelEncoder", "Concat", *member, *member, *ends]


TINY = np.array([0.0, -7.66, *[-3.4e-80] * 45])
"""The tiny scores are 0 as float32, so a rank just before the last knot is that of the knot."""


@given(arrays(np.float64, st.integers(1, 400), elements=st.floats(-30, 30)))
@example(TINY)
@example(np.full(3, 2.0**25))
def test_a_rank_rises_with_the_score_and_is_within_0_and_1(scores):
    table = rank_table(scores)
    found = table.ranks(np.sort(scores))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    steps = np.diff(table.knots)
    assert (steps > 0).all()
    assert (steps[:-1] >= MIN_GAP * 0.999).all()


def test_a_rank_is_the_share_of_training_rows_below():
    scores = np.random.default_rng(1).normal(0, 3, 20_000)
    ordered = np.sort(scores)
    share = np.searchsorted(ordered, scores) / len(scores)
    assert np.abs(rank_table(scores).ranks(scores) - share).max() < 0.01


@pytest.mark.parametrize("score", [0.1, 0.3, -3.4e-80, 2.0])
def test_half_of_the_rows_that_score_alike_count_as_below_whatever_float32_makes_of_the_score(score):
    table = rank_table(np.array([-1.0] * 10 + [score] * 80 + [4.0] * 10))
    np.testing.assert_allclose(table.ranks(np.array([-1.0, score, 4.0])), [0.05, 0.5, 0.95], atol=1e-6)


def test_a_bundle_of_an_ensemble_with_rules_is_made_twice_alike_and_served(tmp_path):
    members = [*MEMBERS, {"name": "rules", "rules": True}]
    ready = prepared(members=members, rules=RULES)
    one, other = train(ready, seed=1), train(ready, seed=1)
    assert one.model == other.model
    bundle = write_bundle(one, tmp_path / "bundle")
    assert set(bundle.manifest.operating_points) == {"breach_response", "siem_alerting", "executive_dashboard"}
    assert bundle.manifest.calibration is not None
    loaded = load_bundle(bundle)
    frame = ready.frame
    tensors = tensors_of(one.encoding, frame)
    encoding, model = fit_rows(ready, ready.parts.train, 1)
    assert isinstance(model, FittedEnsemble)
    assert encoding.columns[model.members[2].places[0]] == "rules_severity"
    assert not {encoding.columns[place] for place in model.members[0].places} & {"rules_severity", "rules_matched"}
    np.testing.assert_allclose(model.shares, [0.25, 0.25, 0.5])
    scores = loaded.model.run(tensors, ["probabilities"])["probabilities"][:, 1]
    np.testing.assert_allclose(scores, model.scores(encoding.matrix(frame)), atol=RANK_TOLERANCE)
    attack = ready.data.attack
    assert scores[attack].mean() > scores[~attack].mean() + 0.2


@pytest.mark.parametrize("rule", ["mean_rank", "k_of_n"])
def test_a_row_is_explained_by_the_merged_score(tmp_path, rule):
    ready = prepared(rule=rule)
    made = train(ready, seed=1)
    bundle = write_bundle(made, tmp_path / "bundle")
    loaded = load_bundle(bundle)
    tensors = {name: values[:1] for name, values in tensors_of(made.encoding, ready.frame).items()}
    scores = loaded.model.run(tensors, ["probabilities"])["probabilities"][:, 1]
    asked = JudgedRows(tensors, scores, ["benign"], "siem_alerting", 0.3, 0.6)
    (found,) = BundleExplainer(bundle, loaded.model).explain("shap", asked, 5.0)
    assert b"contributions" in found or b"reasons" in found


def test_an_ensemble_is_not_continued():
    ready = prepared()
    encoding, model = fit_rows(ready, ready.parts.train, 1)
    with pytest.raises(DetectorError, match="train it in full"):
        train(ready, onward=Continuation(encoding, model, 3, ready.parts.train))


def test_a_member_names_columns_of_the_model():
    with pytest.raises(DetectorError, match="'nothing'"):
        train(prepared(members=[{"name": "a"}, {"name": "b", "columns": ["nothing"]}]))


@pytest.mark.parametrize(
    ("members", "changes", "why"),
    [
        pytest.param([{"name": "a"}], {}, "at least 2", id="one member"),
        pytest.param([{"name": "a"}, {"name": "a"}], {}, "repeat a name", id="a name twice"),
        pytest.param([{"name": "a"}, {"name": "b", "rules": True}], {}, "go together", id="rules that there are not"),
        pytest.param(MEMBERS, {"rules": RULES}, "go together", id="rules that are no member"),
        pytest.param(
            [{"name": "a"}, {"name": "b", "rules": True, "trees": 3}], {}, "are the rules|is the rules", id="rules with trees"
        ),
    ],
)
def test_a_declaration_that_cannot_be(members, changes, why):
    with pytest.raises(DetectorError, match=why):
        declared(members=members, **changes)
