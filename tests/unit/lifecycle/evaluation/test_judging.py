"""Judging a bundle: as it is served, and without a look at the test rows when it is made."""

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.errors import EvaluationError
from lifecycle.evaluation.evaluate import evaluate
from lifecycle.evaluation.scoring import score_rows
from lifecycle.training.train import prepare, train, write_bundle
from serving.models.build import build_bundle
from serving.models.onnx import OnnxModel
from serving.models.verdicts import CalibrationTable
from tests.unit.lifecycle.declared import detector, rows


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    data = check_data(detector(), rows(), where="x")
    return write_bundle(train(prepare(detector(), data, None, with_test=False)), tmp_path_factory.mktemp("b") / "bundle")


def test_rows_are_scored_as_they_are_served(bundle):
    fresh = check_data(detector(), rows(200, seed=9), where="x")
    scored = score_rows(bundle, detector(), fresh, fresh.frame)
    tensors = {
        "method": fresh.frame["method"].to_numpy(dtype=object).reshape(-1, 1),
        "numeric": fresh.frame[["failures", "seconds"]].to_numpy(dtype=np.float32),
    }
    served = OnnxModel(bundle.model_path).run(tensors)["probabilities"][:, 1]
    np.testing.assert_array_equal(scored.score, served)
    table = CalibrationTable.of(bundle.manifest.calibration)
    np.testing.assert_array_equal(scored.probability, table.merged[table.look_up(served)])
    assert scored.segments["method"].tolist() == fresh.frame["method"].tolist()


def test_rows_without_the_columns_of_a_model_are_refused(bundle):
    fresh = check_data(detector(), rows(20), where="x")
    with pytest.raises(EvaluationError, match=r"needs the columns \['seconds'\]"):
        score_rows(bundle, detector(), fresh, fresh.frame.drop(columns="seconds"))


def test_a_model_that_takes_tensors_or_gives_no_score_is_refused(bundle, tmp_path):
    model, golden = (
        bundle.model_path.read_bytes(),
        {"method": np.array([["a"]], dtype=object), "numeric": np.zeros((1, 2), np.float32)},
    )
    fresh = check_data(detector(), rows(20), where="x")
    plain = build_bundle(tmp_path / "plain", model=model, golden_inputs=golden, name="plain", version="1")
    with pytest.raises(EvaluationError, match="names no score"):
        score_rows(plain, detector(), fresh, fresh.frame)
    whole = build_bundle(
        tmp_path / "whole", model=model, golden_inputs=golden, name="whole", version="1", score=bundle.manifest.score,
        operating_points=bundle.manifest.operating_points, default_operating_point="siem_alerting",
    )  # fmt: skip
    with pytest.raises(EvaluationError, match="takes whole tensors"):
        score_rows(whole, detector(), fresh, fresh.frame)


@pytest.mark.heavy
def test_the_test_rows_change_the_figures_and_never_the_bundle():
    """Whatever is in the test file: other rows, labels the other way round, or no file at all."""
    data, declared = check_data(detector(), rows(), where="x"), detector()
    turned = rows(300, seed=8).assign(verdict=lambda f: np.where(f["verdict"] == "attack", "fine", "attack"))
    tests = [check_data(declared, frame, where="test") for frame in (rows(300, seed=8), turned, rows(150, seed=77))]
    judged = [evaluate(declared, data, test, None, seeds=1).seeds[0] for test in tests]
    without = train(prepare(declared, data, None, with_test=False), seed=judged[0].seed)
    assert {s.digest for s in judged} == {_digest(without)}
    recalls = [s.units[0].points[0].rates.recall.value for s in judged]
    assert len(set(recalls)) == 3, "the rows were judged"


def _digest(trained):
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as scratch:
        return write_bundle(trained, Path(scratch) / "bundle").digest
