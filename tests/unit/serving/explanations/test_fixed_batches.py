"""Graphs that take one row a run, and bundles that cannot be explained: what is asked of them is answered at once."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from serving.errors import BadRequest
from serving.explanations.answering import BundleExplainer
from serving.explanations.batches import RowBatch
from serving.explanations.explainer import BASE_S
from serving.models.bundle import Bundle
from serving.models.graph import read_graph
from serving.models.onnx import OnnxModel
from serving.ports import JudgedRows
from tests.fakes.clock import ManualClock
from tests.unit.serving.explanations.explained import bundle_of, explainer_of

VALUES = np.random.default_rng(4).random((60, 3)).astype(np.float32)


def graph(batch: int | str, root: bool = False) -> bytes:
    """The mean of three numbers; or of their roots, which is no number for negative ones."""
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("ReduceMean", ["r" if root else "x"], ["score"], axes=[1], keepdims=1)]
    made = helper.make_graph(
        [*([helper.make_node("Sqrt", ["x"], ["r"])] if root else []), *nodes], "mean",
        [value("x", TensorProto.FLOAT, [batch, 3])], [value("score", TensorProto.FLOAT, [batch, 1])],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def one_by_one(folder: Path, model: bytes, values: np.ndarray = VALUES) -> Bundle:
    cases = tuple({"x": values[at : at + 1]} for at in range(len(values)))
    return bundle_of(folder, model, cases, output="score")


def judged(values: np.ndarray) -> JudgedRows:
    n = len(values)
    return JudgedRows({"x": values}, values.mean(axis=1), ["benign"] * n, "one", 0.3, 0.5)


@pytest.mark.parametrize("method", ["shap", "rules", "counterfactual"])
def test_a_graph_of_one_row_a_run_is_explained_like_one_of_any_number(tmp_path: Path, method: str):
    rows = judged(np.array([[0.1, 0.2, 0.3]], np.float32))
    fixed, free = one_by_one(tmp_path / "fixed", graph(1)), one_by_one(tmp_path / "free", graph("n"))
    found, expected = (
        json.loads(BundleExplainer(b, OnnxModel(b.model_path), clock=ManualClock().monotonic_s).explain(method, rows, 1.0)[0])
        for b in (fixed, free)
    )
    assert found.pop("attributions", {}) == pytest.approx(expected.pop("attributions", {}))
    assert found.keys() == expected.keys()
    assert found["method"] == expected["method"]
    if method == "counterfactual":
        assert found["counterfactuals"] == expected["counterfactuals"] != []


@pytest.mark.parametrize(("first", "is_exact_by"), [(StandardScaler(), "tree_shap"), (Normalizer(), "kernel_shap")])
def test_trees_of_one_row_a_run_are_explained(tmp_path: Path, first, is_exact_by: str):
    model = make_pipeline(first, GradientBoostingRegressor(n_estimators=4, random_state=0)).fit(VALUES, VALUES[:, 0])
    made = to_onnx(model, initial_types=[("x", FloatTensorType([1, 3]))], target_opset=17).SerializeToString()
    bundle = bundle_of(tmp_path / "trees", made, tuple({"x": VALUES[i : i + 1]} for i in range(60)), output="variable")
    explainer = explainer_of(bundle)
    assert explainer.batch.size == 1
    (found,) = explainer.explain({"x": VALUES[:1]}, budget_s=1, clock=ManualClock().monotonic_s)
    assert (found.method, found.is_exact) == (is_exact_by, True)
    assert found.base + found.values.sum() == pytest.approx(explainer.scores({"x": VALUES[:1]}, 1)[0], abs=1e-5)


def test_the_reference_rows_of_a_slow_graph_are_run_as_long_as_there_is_time(tmp_path: Path):
    bundle, clock = one_by_one(tmp_path / "slow", graph(1)), ManualClock()
    model = OnnxModel(bundle.model_path)

    def slowly(tensors, outputs):
        clock.advance(0.1)
        return model.run(tensors, outputs)

    explainer = explainer_of(bundle, run=slowly, clock=clock.monotonic_s)
    rows = len(explainer.base_scores)
    assert explainer.background.rows == rows
    assert 2 < rows <= BASE_S / 0.1 + 2
    assert explainer.background.name.startswith(f"{rows} of the bundle's 60 golden rows")
    np.testing.assert_allclose(explainer.base_scores, explainer.background.tensors["x"].mean(axis=1), rtol=1e-6)
    assert explainer.row_s == pytest.approx(0.1)


@pytest.mark.parametrize(("batch", "rows", "sizes"), [(0, 5, [5]), (1, 3, [1, 1, 1]), (4, 6, [4, 2]), (4, 4, [4]), (1, 0, [])])
def test_rows_are_run_in_parts_and_the_last_is_filled_up(batch: int, rows: int, sizes: list[int]):
    tensors = {"x": np.arange(rows), "w": np.arange(7)}
    parts = list(RowBatch(batch, frozenset({"w"})).parts(tensors, rows))
    assert [n for _, n in parts] == sizes
    assert np.concatenate([np.empty(0, int), *(part["x"][:n] for part, n in parts)]).tolist() == list(range(rows))
    assert all(len(part["x"]) == (batch or rows) and len(part["w"]) == 7 for part, _ in parts)


def test_weights_beside_a_single_row_are_held(tmp_path: Path):
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["score"])], "held",
        [value("x", TensorProto.FLOAT, [1, 3]), value("w", TensorProto.FLOAT, [3])],
        [value("score", TensorProto.FLOAT, [1, 3])],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "held.onnx"
    path.write_bytes(model.SerializeToString())
    assert RowBatch.of(read_graph(path), ["x", "w"]) == RowBatch(1, frozenset({"w"}))


def test_why_a_bundle_cannot_be_explained_is_found_out_once(tmp_path: Path):
    bundle = one_by_one(tmp_path / "roots", graph("n", root=True), -VALUES[:2])
    session, asked = OnnxModel(bundle.model_path), []

    class Counted:
        def run(self, tensors, outputs):
            asked.append(outputs)
            return session.run(tensors, outputs)

    explainer, said = BundleExplainer(bundle, Counted()), set()
    for method in ("shap", "rules", "shap"):
        with pytest.raises(BadRequest, match="is not a number") as refused:
            explainer.explain(method, judged(VALUES[:1]), 1.0)
        said.add(str(refused.value).replace("'rules'", "'shap'"))
    assert (len(said), len(asked)) == (1, 1)


def test_no_further_row_of_a_slow_model_is_searched_when_the_time_is_over(tmp_path: Path):
    bundle, clock = one_by_one(tmp_path / "slow", graph("n")), ManualClock()
    session, searched = OnnxModel(bundle.model_path), []

    class Slow:
        def run(self, tensors, outputs):
            clock.advance(1.0)
            searched.append(len(tensors["x"]))
            return session.run(tensors, outputs)

    explainer = BundleExplainer(bundle, Slow(), clock=clock.monotonic_s)
    with pytest.raises(BadRequest, match=r"the time was enough for only \d of 60 rows; send fewer rows"):
        explainer.explain("counterfactual", judged(VALUES), 0.5)
    assert len(searched) < 10
