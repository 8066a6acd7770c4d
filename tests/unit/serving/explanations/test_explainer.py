"""Every kind of model is explained, or it is said why not: exactly where that can be had, else with how far it can be trusted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.ensemble import IsolationForest
from sklearn.neural_network import MLPClassifier

from serving.explanations.counterfactual import WantedScores
from serving.explanations.explainer import Explainer
from serving.explanations.explanation import Attribution, UnexplainableModel
from serving.models.manifest import ScoreSpec
from serving.models.onnx import OnnxModel
from tests.e2e.running import foreign_models
from tests.fakes.clock import ManualClock
from tests.unit.serving.explanations.explained import bundle_of, explainer_of, exported

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    matrix = np.random.default_rng(0).normal(size=(200, 14)).astype(np.float32)
    return matrix, (matrix[:, 0] * matrix[:, 1] + matrix[:, 3] > 0).astype(int)


def explained(explainer: Explainer, tensors: dict[str, np.ndarray], **options) -> list[Attribution]:
    """A manual clock stands still, so all that is sampled is sampled to the end."""
    found = explainer.explain(tensors, budget_s=1, clock=ManualClock().monotonic_s, **options)
    rows = len(next(iter(tensors.values())))
    assert len(found) == rows
    for one, score in zip(found, explainer.scores(tensors, rows), strict=True):
        total = one.base + one.values.sum()
        output = 1 / (1 + np.exp(-total)) if one.unit == "log_odds" else total
        assert output == pytest.approx(score, abs=1e-5 + (one.error if one.method == "lime" else 0))
        assert one.is_exact == (one.error == 0.0)
        assert one.background
    return found


def test_a_pipeline_with_a_text_column_exactly_by_all_coalitions(tmp_path: Path):
    path, tensors = foreign_models.pipeline(tmp_path)
    explainer = explainer_of(
        bundle_of(tmp_path / "pipeline", path.read_bytes(), tensors, output="output_probability", column=0)
    )
    found = explained(explainer, tensors)
    assert {(a.method, a.unit, a.is_exact) for a in found} == {("kernel_shap", "score", True)}
    assert found[0].columns == ("sent", "received", "port", "proto")
    assert found[0].background == "the bundle's 5 golden rows (there is no reference sample)"
    assert "no trees" in explainer.why_not_exact


def test_two_inputs_of_words_exactly_by_trees_behind_one_hot_codes(tmp_path: Path):
    """Trees see six codes, people two words: the values are of the words. With nothing left out they are those of all coalitions."""
    path, tensors = foreign_models.two_words(tmp_path)
    explainer = explainer_of(bundle_of(tmp_path / "words", path.read_bytes(), tensors, output="probabilities", column=1))
    found = explained(explainer, tensors)
    assert [(a.method, a.columns, a.is_exact) for a in found] == [("tree_shap", ("user", "verb"), True)] * 3
    assert abs(found[0].values[0]) > 0.1


def test_a_neural_network_by_sampling_with_its_error(made: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    matrix, labels = made
    network = MLPClassifier((8,), max_iter=40, random_state=0).fit(matrix, labels)
    explainer = explainer_of(
        bundle_of(tmp_path / "mlp", exported(network, 14), {"X": matrix}, output="probabilities", column=1)
    )
    found = explained(explainer, {"X": matrix[:2]})
    assert {(a.method, a.is_exact) for a in found} == {("permutation_shap", False)}
    assert all(0 < a.error <= 0.03 * np.abs(a.values).max() for a in found)
    again = explained(explainer, {"X": matrix[:2]})
    np.testing.assert_array_equal(found[1].values, again[1].values)


def test_an_isolation_forest_by_sampling_as_its_way_to_the_score_is_not_a_sum(
    made: tuple[np.ndarray, np.ndarray], tmp_path: Path
):
    matrix, _ = made
    forest = IsolationForest(n_estimators=4, max_samples=32, random_state=0).fit(matrix)
    model = to_onnx(forest, matrix[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    explainer = explainer_of(bundle_of(tmp_path / "forest", model, {"X": matrix}, output="scores"))
    assert "not a sum of trees" in explainer.why_not_exact
    assert {a.method for a in explained(explainer, {"X": matrix[:1]})} == {"permutation_shap"}


def test_lime_says_how_well_it_fits(made: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    matrix, labels = made
    network = MLPClassifier((8,), max_iter=40, random_state=0).fit(matrix, labels)
    explainer = explainer_of(
        bundle_of(tmp_path / "mlp", exported(network, 14), {"X": matrix}, output="probabilities", column=1)
    )
    (found,) = explained(explainer, {"X": matrix[:1]}, method="lime")
    assert found.fidelity is not None
    assert found.fidelity <= 1
    assert found.error > 0


def test_a_counterfactual_of_a_loaded_model_holds(tmp_path: Path):
    path, tensors = foreign_models.two_words(tmp_path)
    explainer = explainer_of(bundle_of(tmp_path / "words", path.read_bytes(), tensors, output="probabilities", column=1))
    row = {name: tensor[:1] for name, tensor in tensors.items()}
    search = explainer.counterfactuals(row, target=WantedScores(high=0.5), budget_s=1, clock=ManualClock().monotonic_s)
    (change,) = search.found[0].changes
    words = np.array([[change.words[0]]], dtype=object)
    assert explainer.scores({**row, change.column: words}, 1)[0] == pytest.approx(search.found[0].score)
    assert search.found[0].score < 0.5


def margin_of(features: int) -> list[onnx.NodeProto]:
    """A stump on feature 1 of a matrix `X`."""
    return [helper.make_node(
        "TreeEnsembleRegressor", ["X"], ["margin"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0] * 3, nodes_nodeids=[0, 1, 2],
        nodes_featureids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], nodes_hitrates=[10.0, 4.0, 6.0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[-1.0, 2.0],
    )]  # fmt: skip


def graph_of(nodes: list[onnx.NodeProto], output: str, **constants: np.ndarray) -> bytes:
    graph = helper.make_graph(
        nodes, "made", [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


ROWS = {"X": np.array([[0, 0, 0], [0, 1, 0], [3, 0.5, 1]], dtype=np.float32)}


@pytest.mark.parametrize(("nodes", "constants", "values"), [
    pytest.param([helper.make_node("Sigmoid", ["margin"], ["score"])], {}, [-1.8, 1.2, -1.8], id="the logistic function in one"),
    pytest.param([helper.make_node("Mul", ["margin", "half"], ["m"]), helper.make_node("Add", ["m", "half"], ["score"])],
                 {"half": np.float32(0.5)}, [-0.9, 0.6, -0.9], id="scaled and shifted"),
    pytest.param([helper.make_node("Neg", ["margin"], ["n"]), helper.make_node("Concat", ["margin", "n"], ["both"], axis=1),
                  helper.make_node("Softmax", ["both"], ["p"], axis=1), helper.make_node("Gather", ["p", "first"], ["score"], axis=1)],
                 {"first": np.array([0])}, [-3.6, 2.4, -3.6], id="the softmax of two: twice the margin is the log-odds"),
    pytest.param([helper.make_node("Sub", ["one", "margin"], ["score"])], {"one": np.float32(1)}, [1.8, -1.2, 1.8], id="turned round"),
])  # fmt: skip
def test_ways_from_the_trees_to_the_score_that_are_read(tmp_path: Path, nodes, constants, values: list[float]):
    explainer = explainer_of(
        bundle_of(tmp_path / "made", graph_of([*margin_of(3), *nodes], "score", **constants), ROWS, output="score")
    )
    found = explained(explainer, ROWS)
    assert {a.method for a in found} == {"tree_shap"}
    np.testing.assert_allclose([a.values[1] for a in found], values, atol=1e-12)
    assert {a.background for a in found} == {"the training rows that the trees count in each node"}


@pytest.mark.parametrize("nodes", [
    pytest.param([helper.make_node("Tanh", ["margin"], ["score"])], id="a function that is not read"),
    pytest.param([helper.make_node("Mul", ["margin", "margin"], ["score"])], id="a square"),
    pytest.param([helper.make_node("Slice", ["X", "at", "end", "axes"], ["first"]),
                  helper.make_node("Add", ["margin", "first"], ["score"])], id="trees and a column beside them"),
])  # fmt: skip
def test_other_ways_are_sampled(tmp_path: Path, nodes):
    constants = {"at": np.array([0]), "end": np.array([1]), "axes": np.array([1])}
    explainer = explainer_of(
        bundle_of(tmp_path / "made", graph_of([*margin_of(3), *nodes], "score", **constants), ROWS, output="score")
    )
    assert {a.method for a in explained(explainer, ROWS)} == {"kernel_shap"}
    with pytest.raises(UnexplainableModel, match="ask for another method"):
        explainer.explain(ROWS, budget_s=1, method="tree_shap")


def test_features_that_mix_columns_are_not_told_apart_by_trees(tmp_path: Path):
    nodes = [helper.make_node("MatMul", ["raw", "weights"], ["X"]), *margin_of(3)]
    model = graph_of(nodes, "margin", weights=np.ones((3, 3), np.float32))
    whole = onnx.load_from_string(model)
    whole.graph.input[0].name = "raw"
    bundle = bundle_of(tmp_path / "mixed", whole.SerializeToString(), {"raw": ROWS["X"]}, output="margin")
    explainer = explainer_of(bundle)
    assert "not computed from exactly one column" in explainer.why_not_exact
    assert {a.method for a in explained(explainer, {"raw": ROWS["X"]})} == {"kernel_shap"}


def test_trees_of_the_newer_operator_with_a_set_of_values(tmp_path: Path):
    """TreeEnsemble of ai.onnx.ml 5: leaves apart, a condition `is one of 1, 3`; the runtime is the judge of the reading."""
    doubles = {name: helper.make_tensor(name, TensorProto.FLOAT, [len(v)], v) for name, v in {
        "nodes_splits": [0.5, 0.0], "leaf_weights": [2.0, -1.0, 0.5], "membership_values": [1.0, 3.0, float("nan")],
    }.items()}  # fmt: skip
    node = helper.make_node(
        "TreeEnsemble", ["X"], ["score"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0, tree_roots=[0],
        nodes_featureids=[0, 1], nodes_modes=helper.make_tensor("nodes_modes", TensorProto.UINT8, [2], [0, 6]),
        nodes_truenodeids=[1, 0], nodes_trueleafs=[0, 1], nodes_falsenodeids=[2, 1], nodes_falseleafs=[1, 1],
        leaf_targetids=[0, 0, 0], **doubles,
    )  # fmt: skip
    graph = onnx.load_from_string(graph_of([node], "score"))
    graph.opset_import[1].version = 5
    rows = {"X": np.array([[x, y, 0] for x in (0, 1) for y in (0, 1, 2, 3)], dtype=np.float32)}
    explainer = explainer_of(bundle_of(tmp_path / "newer", graph.SerializeToString(), rows, output="score"))
    np.testing.assert_array_equal(explainer.scores(rows, 8), [-1, 2, -1, 2, 0.5, 0.5, 0.5, 0.5])
    found = explained(explainer, rows)
    assert {a.method for a in found} == {"tree_shap"}
    np.testing.assert_allclose(found[1].values, [0.375, 1.125, 0.0], atol=1e-12)  # known: nothing 0.5, x 0.5, y 1.25, both 2


def test_without_any_rows_trees_that_count_are_enough_and_others_say_what_is_missing(tmp_path: Path):
    counting = explainer_of(bundle_of(tmp_path / "counting", graph_of(margin_of(3), "margin"), {}, output="margin"))
    assert [a.method for a in counting.explain(ROWS, budget_s=1)] == ["tree_shap"] * 3
    other = explainer_of(
        bundle_of(
            tmp_path / "other",
            graph_of([helper.make_node("ReduceMax", ["X"], ["score"], axes=[1])], "score"),
            {},
            output="score",
        )
    )
    with pytest.raises(UnexplainableModel, match="neither a reference sample nor golden rows"):
        other.explain(ROWS, budget_s=1)
    with pytest.raises(UnexplainableModel, match="neither a reference sample nor golden rows"):
        counting.counterfactuals({"X": ROWS["X"][:1]}, target=WantedScores(high=0), budget_s=1)


def test_rows_of_another_width_are_refused(tmp_path: Path):
    path, tensors = foreign_models.two_words(tmp_path)
    explainer = explainer_of(bundle_of(tmp_path / "words", path.read_bytes(), tensors, output="probabilities", column=1))
    with pytest.raises(UnexplainableModel, match="other columns"):
        explainer.explain({name: np.repeat(t, 2, axis=1) for name, t in tensors.items()}, budget_s=1)


def test_a_model_without_a_score_says_what_to_do(tmp_path: Path):
    path, tensors = foreign_models.two_words(tmp_path)
    from serving.models.build import build_bundle

    bundle = build_bundle(tmp_path / "plain", model=path, golden_inputs=tensors, name="plain", version="1")
    model = OnnxModel(bundle.model_path)
    with pytest.raises(UnexplainableModel, match="names no score"):
        Explainer.of(bundle, model.run)
    explainer = Explainer.of(bundle, model.run, ScoreSpec(output="probabilities", column=1))
    assert {a.method for a in explained(explainer, tensors)} == {"tree_shap"}


def roots(folder: Path, *levels: float) -> Explainer:
    """The score is the root of the only column; of a negative one it is no number."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [helper.make_node("Sqrt", ["X"], ["risk"])], "roots", [value("X", TensorProto.FLOAT, [None, 1])],
        [value("risk", TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return explainer_of(
        bundle_of(folder, model.SerializeToString(), {"X": np.array(levels, np.float32)[:, None]}, output="risk")
    )


def test_reference_rows_whose_score_is_no_number_are_left_out(tmp_path: Path):
    explainer = roots(tmp_path / "roots", -1.0, 1.0, 4.0)
    (found,) = explained(explainer, {"X": np.array([[9.0]], np.float32)})
    assert (found.base, found.values.tolist(), found.is_exact) == (1.5, [1.5], True)
    assert found.background.startswith("2 of the bundle's 3 golden rows")
    with pytest.raises(
        UnexplainableModel,
        match=r"score is not a number for any of the bundle's 2 golden rows \(there is no reference sample\); build",
    ):
        roots(tmp_path / "negative", -1.0, -2.0)


def test_a_row_whose_score_is_no_number_is_never_called_exact(tmp_path: Path):
    (found,) = roots(tmp_path / "roots", 1.0, 4.0).explain({"X": np.array([[-1.0]], np.float32)}, budget_s=1)
    assert (found.is_exact, np.isnan(found.error), np.isnan(found.values).all()) == (False, True, True)


def test_rows_for_which_the_time_does_not_suffice_are_not_begun(tmp_path: Path):
    """Each row takes a least time, so that a slow model with many rows would hold the thread long after the budget."""
    fast, clock = roots(tmp_path / "roots", 1.0, 4.0), ManualClock()

    def slow(tensors, outputs):
        clock.advance(1.5)
        return fast.run(tensors, outputs)

    slowly = replace(fast, run=slow)
    rows = {"X": np.ones((256, 1), np.float32)}
    with pytest.raises(UnexplainableModel, match=r"the time was enough for only \d of 256 rows; send fewer rows"):
        slowly.explain(rows, budget_s=0.5, clock=clock.monotonic_s)
