"""The values are those of the public reference, shap.TreeExplainer, on models made here and elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier

from lifecycle.training.export import tensors_of, to_onnx
from lifecycle.training.fit import encoding_of, fit
from tests.unit.lifecycle.declared import detector, rows
from tests.unit.serving.explanations.explained import bundle_of, explainer_of, exported

WIDTH = 6


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(300, WIDTH)).astype(np.float32)
    matrix[:, 3] = np.round(matrix[:, 3])
    return matrix, (matrix[:, 0] * matrix[:, 1] + matrix[:, 3] + rng.normal(size=300) / 3 > 0).astype(int)


def reference(model: Any, matrix: np.ndarray) -> tuple[np.ndarray, float]:
    import shap  # brings numba, a second that only these tests need

    explainer = shap.TreeExplainer(model)
    values = explainer.shap_values(matrix)
    return values[..., -1] if values.ndim == 3 else values, float(np.atleast_1d(explainer.expected_value)[-1])


@pytest.mark.heavy
@pytest.mark.parametrize(("model", "unit"), [
    pytest.param(GradientBoostingClassifier(n_estimators=12, max_depth=4, random_state=0), "log_odds", id="gradient boosting"),
    pytest.param(HistGradientBoostingClassifier(max_iter=12, random_state=0), "log_odds", id="gradient boosting by histograms"),
    pytest.param(RandomForestClassifier(12, max_depth=6, bootstrap=False, max_features=2, random_state=0), "score", id="a forest"),
    pytest.param(RandomForestRegressor(12, max_depth=6, bootstrap=False, max_features=2, random_state=0), "score", id="of numbers"),
    pytest.param(DecisionTreeClassifier(max_depth=7, random_state=0), "score", id="one tree"),
])  # fmt: skip
def test_models_made_elsewhere_whose_graph_has_no_counts(
    made: tuple[np.ndarray, np.ndarray], tmp_path: Path, model: Any, unit: str
):
    """The bundle's rows are those of the training, so counting on them gives the counts that shap reads from the model itself."""
    matrix, labels = made
    model.fit(matrix, labels)
    output, column = ("probabilities", 1) if hasattr(model, "classes_") else ("variable", None)
    explainer = explainer_of(bundle_of(tmp_path / "made", exported(model, WIDTH), {"X": matrix}, output=output, column=column))
    found = explainer.explain({"X": matrix[:40]}, budget_s=1)
    values, base = reference(model, matrix[:40])
    assert {(a.method, a.unit, a.is_exact, a.error) for a in found} == {("tree_shap", unit, True, 0.0)}
    assert "300 golden rows" in found[0].background
    np.testing.assert_allclose([a.values for a in found], values, atol=1e-6)
    assert found[0].base == pytest.approx(base, abs=1e-6)
    assert found[0].columns == tuple(f"X[{i}]" for i in range(WIDTH))


@pytest.mark.heavy
def test_our_detectors_with_the_counts_that_the_graph_holds(tmp_path: Path):
    """Two boosters averaged, a text column by codes; LightGBM itself computes what shap answers."""
    declared = detector(model={"trees": 25, "members": 2, "parameters": {"min_data_in_leaf": 3, "num_leaves": 40}})
    frame = rows(1500)
    encoding = encoding_of(frame, ("method", "failures", "seconds"))
    fitted = fit(declared.model, encoding.matrix(frame), (frame["verdict"] == "attack").to_numpy(), None, seed=3)
    model, tensors = to_onnx(fitted, encoding), tensors_of(encoding, frame.head(60))
    explainer = explainer_of(bundle_of(tmp_path / "ours", model, tensors, output="probabilities", column=1))
    found = explainer.explain(tensors, budget_s=1)
    matrix = encoding.matrix(frame.head(60))
    contributions = np.mean([b.predict(matrix, pred_contrib=True) for b in fitted.boosters], axis=0)
    np.testing.assert_allclose([a.values for a in found], contributions[:, :-1], atol=1e-6)
    assert found[0].base == pytest.approx(contributions[0, -1], abs=1e-6)
    values, _ = reference(fitted.boosters[0], matrix)
    np.testing.assert_allclose(values, fitted.boosters[0].predict(matrix, pred_contrib=True)[:, :-1], atol=1e-6)
    assert {(a.unit, a.background) for a in found} == {("log_odds", "the training rows that the trees count in each node")}
