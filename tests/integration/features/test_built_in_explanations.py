"""Both built-in detectors, fitted as they are declared: explanations from the graph are those of shap.TreeExplainer on the model itself."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifecycle.datasets.data import Dataset, check_data, find_file, read_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.training.export import tensors_of, to_onnx
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.fit import encoding_of, fit
from lifecycle.training.train import prepare
from tests.unit.serving.explanations.explained import bundle_of, explainer_of

pytestmark = pytest.mark.integration
ROWS = 6000
EXPLAINED = 300


def flows() -> tuple[Detector, Dataset]:
    detector = read_detector("flows")
    return detector, replace(check_data(detector, generate_flows(1, hosts=120), where="generated"), is_generated=True)


def kdd() -> tuple[Detector, Dataset]:
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if not folder:
        pytest.skip("needs real data: set VEDETTE_DATA_DIR to the folder with nsl-kdd/")
    detector = read_detector("nsl-kdd")
    return detector, read_data(detector, find_file(detector, Path(folder) / "nsl-kdd"))


@pytest.mark.parametrize("load", [pytest.param(flows, id="flows"), pytest.param(kdd, id="nsl-kdd")])
def test_a_built_in_detector_is_explained_as_shap_explains_it(tmp_path: Path, load):
    detector, data = load()
    prepared = prepare(detector, data, FeastStore(tmp_path / "feast"), with_test=True)
    part = np.flatnonzero(prepared.parts.train)[:: max(int(prepared.parts.train.sum()) // ROWS, 1)]
    frame, kind = prepared.frame.iloc[part], data.kind
    encoding = encoding_of(frame, prepared.columns)
    fitted = fit(detector.model, encoding.matrix(frame), data.attack[part], None if kind is None else kind[part], seed=1)
    tensors = tensors_of(encoding, frame.head(EXPLAINED))
    explainer = explainer_of(
        bundle_of(tmp_path / "bundle", to_onnx(fitted, encoding), tensors, output="probabilities", column=1)
    )
    found = explainer.explain(tensors, budget_s=1)
    assert {(a.method, a.is_exact) for a in found} == {("tree_shap", True)}
    matrix = encoding.matrix(frame.head(EXPLAINED))
    import shap  # takes a second

    by_shap = [shap.TreeExplainer(booster) for booster in fitted.boosters]
    expected = np.mean([one.shap_values(matrix) for one in by_shap], axis=0)
    np.testing.assert_allclose([a.values for a in found], expected, atol=1e-6)
    assert found[0].base == pytest.approx(np.mean([one.expected_value for one in by_shap]), abs=1e-6)
    margins = fitted.margins(matrix)
    np.testing.assert_allclose([a.base + a.values.sum() for a in found], margins, atol=1e-5)
