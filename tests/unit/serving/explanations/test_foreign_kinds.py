"""Models of many kinds, exported elsewhere: none fails, sums of trees are explained exactly, of the others it is known why not."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from tests.fakes.clock import ManualClock
from tests.unit.serving.explanations.explained import bundle_of, explainer_of, exported

pytestmark = pytest.mark.heavy

WIDTH = 5


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(120, WIDTH)).astype(np.float32)


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(5, max_depth=4, random_state=0)


@pytest.mark.parametrize(("model", "column", "missing", "method", "why"), [
    pytest.param(make_pipeline(StandardScaler(), forest()), 1, False, "tree_shap", "", id="a scaler before a forest"),
    pytest.param(HistGradientBoostingClassifier(max_iter=5), 1, True, "tree_shap", "", id="missing values in trees"),
    pytest.param(make_pipeline(RobustScaler(), GradientBoostingRegressor(n_estimators=5)), None, False, "tree_shap", "", id="a regression"),
    pytest.param(VotingRegressor([("a", GradientBoostingRegressor(n_estimators=3)), ("b", RandomForestRegressor(3, max_depth=3))]),
                 None, False, "tree_shap", "", id="the mean of two ensembles"),
    pytest.param(make_pipeline(PCA(3), forest()), 1, False, "kernel_shap", "exactly one column", id="trees on mixed columns"),
    pytest.param(AdaBoostClassifier(n_estimators=3), 1, False, "kernel_shap", "not supported", id="votes of trees, weighted"),
    pytest.param(GradientBoostingClassifier(n_estimators=3), 2, False, "kernel_shap", "not a sum of trees", id="boosting of three classes"),
    pytest.param(LogisticRegression(), 1, False, "kernel_shap", "no trees", id="a line"),
    pytest.param(KNeighborsClassifier(), 1, False, "kernel_shap", "no trees", id="neighbours"),
])  # fmt: skip
def test_kinds_of_models(
    tmp_path: Path, matrix: np.ndarray, model: Any, column: int | None, missing: bool, method: str, why: str
):
    rows = (
        np.where(np.random.default_rng(1).random(matrix.shape) < 0.1, np.nan, matrix).astype(np.float32) if missing else matrix
    )
    label = np.digitize(matrix[:, 0] + matrix[:, 1], [-0.7, 0.7] if column == 2 else [0])
    model.fit(rows, label if column is not None else matrix[:, 0])
    output = "probabilities" if column is not None else "variable"
    explainer = explainer_of(bundle_of(tmp_path / "kind", exported(model, WIDTH), {"X": rows}, output=output, column=column))
    found = explainer.explain({"X": rows[:3]}, budget_s=1, clock=ManualClock().monotonic_s)
    assert ({a.method for a in found}, all(a.is_exact for a in found)) == ({method}, True)
    assert why in explainer.why_not_exact
    totals = np.array([a.base + a.values.sum() for a in found])
    scores = explainer.scores({"X": rows[:3]}, 3)
    np.testing.assert_allclose(1 / (1 + np.exp(-totals)) if found[0].unit == "log_odds" else totals, scores, atol=1e-5)


def test_an_input_without_rows_is_held_as_it_is(tmp_path: Path):
    """Weights of shape [m] beside rows of shape [n, m]: the rows' columns are explained, the weights are the request's."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "weights"], ["p"]), helper.make_node("ReduceSum", ["p", "axes"], ["score"], keepdims=0)], "held",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
         helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["m"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])], [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    golden = {"x": np.full((4, 3), 0.5, np.float32), "weights": np.ones(3, np.float32)}
    explainer = explainer_of(bundle_of(tmp_path / "held", model.SerializeToString(), golden, output="score"))
    asked = {"x": np.array([[1, 2, 3]], np.float32), "weights": np.array([1, 10, 100], np.float32)}
    (found,) = explainer.explain(asked, budget_s=1)
    assert found.columns == ("x[0]", "x[1]", "x[2]")
    np.testing.assert_allclose(found.values, [0.5, 15, 250])
    assert found.base == pytest.approx(55.5)


def test_a_slow_model_gets_few_runs_and_says_how_far_off_they_leave_it(tmp_path: Path, matrix: np.ndarray):
    """A model of 10 ms a row: 64 coalitions of two rows take longer than the budget, so orders are sampled, and the time is kept."""
    model = LogisticRegression().fit(matrix, matrix[:, 0] > 0)
    bundle = bundle_of(tmp_path / "slow", exported(model, WIDTH), {"X": matrix}, output="probabilities", column=1)
    clock, session = ManualClock(), explainer_of(bundle).run

    def slowly(tensors, outputs):
        clock.advance(0.01 * len(tensors["X"]))
        return session(tensors, outputs)

    explainer = explainer_of(bundle, run=slowly, clock=clock.monotonic_s)
    started = clock.monotonic_s()
    (found,) = explainer.explain({"X": matrix[:1]}, budget_s=0.5, clock=clock.monotonic_s)
    assert (found.method, found.is_exact) == ("permutation_shap", False)
    assert found.error > 0
    assert clock.monotonic_s() - started < 1.0
