"""Every kind of explanation, as a client gets it, of models made elsewhere: without columns, with words, with no trees, unsupervised."""

import json

import numpy as np
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import IsolationForest
from sklearn.neural_network import MLPClassifier

from serving.errors import BadRequest
from serving.explanations.answering import BundleExplainer
from serving.explanations.surrogate import LEAST_ROWS
from serving.models.onnx import OnnxModel
from serving.models.verdicts import VERDICTS, scores_of, verdict_codes
from serving.ports import JudgedRows
from tests.e2e.running import foreign_models
from tests.unit.serving.explanations.explained import POINT, bundle_of, exported

pytestmark = pytest.mark.heavy

METHODS = ("shap", "rules", "counterfactual")


def matrix_of(rows=60):
    return np.random.default_rng(3).normal(size=(rows, 5)).astype(np.float32)


def pipeline(folder):
    path, tensors = foreign_models.pipeline(folder)
    return bundle_of(folder / "pipeline", path.read_bytes(), tensors, output="output_probability", column=0), tensors


def two_words(folder):
    path, tensors = foreign_models.two_words(folder)
    return bundle_of(folder / "words", path.read_bytes(), tensors, output="probabilities", column=1), tensors


def network(folder):
    matrix = matrix_of()
    model = MLPClassifier((4,), max_iter=40, solver="lbfgs", random_state=0).fit(matrix, matrix[:, 0] > 0)
    return bundle_of(folder / "mlp", exported(model, 5), {"X": matrix}, output="probabilities", column=1), {"X": matrix[:3]}


def forest(folder):
    matrix = matrix_of()
    model = IsolationForest(n_estimators=5, random_state=0).fit(matrix)
    opsets = {"": 17, "ai.onnx.ml": 3}
    made = to_onnx(model, initial_types=[("X", FloatTensorType([None, 5]))], target_opset=opsets).SerializeToString()
    return bundle_of(folder / "forest", made, {"X": matrix}, output="scores"), {"X": matrix[:3]}


@pytest.fixture(scope="module", params=[pipeline, two_words, network, forest], ids=lambda make: make.__name__)
def explained(request, tmp_path_factory):
    bundle, tensors = request.param(tmp_path_factory.mktemp("foreign"))
    model, spec = OnnxModel(bundle.model_path), bundle.manifest.score
    scores = scores_of(model.run(tensors, [spec.output]), spec, len(next(iter(tensors.values()))))
    verdicts = [VERDICTS[code] for code in verdict_codes(scores, POINT)]
    return BundleExplainer(bundle, model), JudgedRows(tensors, scores, verdicts, "one", POINT.investigate, POINT.threshold)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_explained_or_said_why_not(explained, method):
    explainer, rows = explained
    if method == "rules" and explainer._explainer.background.rows < LEAST_ROWS:
        with pytest.raises(BadRequest, match=f"at least {LEAST_ROWS} rows"):
            explainer.explain(method, rows, 5.0)
        return
    found = [json.loads(line) for line in explainer.explain(method, rows, 5.0)]
    assert [body["verdict"] for body in found] == list(rows.verdicts)
    for body, score in zip(found, rows.scores.tolist(), strict=True):
        assert body["score"] == pytest.approx(score)
        if method == "shap":
            assert body["is_exact"] or body["error"] > 0
            assert len(body["attributions"]) > 1
            assert all(reason["sentence"].endswith(".") for reason in body["reasons"])
        elif method == "rules":
            assert 0 <= body["fidelity"] <= 1
        else:
            assert all(one["sentence"].startswith(body["wanted"].capitalize()) for one in body["counterfactuals"])
