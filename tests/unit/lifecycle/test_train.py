"""From declaration and data to a bundle: reproducible, and the graph answers as the model does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.errors import DetectorError, ExportError
from lifecycle.training.export import check_parity, tensors_of, to_onnx
from lifecycle.training.fit import contrast, encoding_of, fit, row_weights
from lifecycle.training.train import add_to_store, prepare, train, write_bundle
from serving.models.onnx import OnnxModel
from serving.models.store import BundleStore
from tests.unit.lifecycle.declared import detector, rows

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[3]


def trained(seed=1, **changes):
    declared = detector(**changes)
    return train(prepare(declared, check_data(declared, rows(), where="x"), None, with_test=True), seed=seed)


@pytest.fixture(scope="module")
def fitted():
    declared, frame = detector(model={"trees": 40, "members": 2, "parameters": {"min_data_in_leaf": 3}}), rows(3000)
    encoding = encoding_of(frame, ("method", "failures", "seconds"))
    return encoding, fit(declared.model, encoding.matrix(frame), (frame["verdict"] == "attack").to_numpy(), None, seed=3), frame


def test_the_graph_answers_as_the_model_does(fitted):
    encoding, model, frame = fitted
    session = OnnxModel(to_onnx(model, encoding))
    assert check_parity(session, model, encoding, frame) < 2e-6
    never_seen = frame.head(50).assign(method="carrier pigeon")
    assert check_parity(session, model, encoding, never_seen) < 2e-6
    got = session.run(tensors_of(encoding, frame))
    assert got["probabilities"].shape == (len(frame), 2)
    assert (got["label"] == (got["probabilities"][:, 1] >= 0.5)).all()


def test_rows_at_a_split_go_the_same_way(fitted):
    """Every threshold of every tree, and the float32 on either side of it."""
    encoding, model, frame = fitted
    cuts = (
        model.boosters[0].trees_to_dataframe().query("split_feature == 'Column_2'")["threshold"].to_numpy().astype(np.float32)
    )
    values = np.concatenate([cuts, np.nextafter(cuts, np.float32(np.inf)), np.nextafter(cuts, np.float32(-np.inf))])
    edge = frame.sample(len(values), replace=True, random_state=0).assign(seconds=values.astype(np.float64))
    assert check_parity(OnnxModel(to_onnx(model, encoding)), model, encoding, edge) < 2e-6


def test_a_graph_that_differs_is_refused(fitted):
    encoding, model, frame = fitted
    other = fit(detector().model, encoding.matrix(frame), (frame["verdict"] == "attack").to_numpy(), None, seed=4)
    with pytest.raises(ExportError, match="must agree within"):
        check_parity(OnnxModel(to_onnx(other, encoding)), model, encoding, frame)


def test_a_bundle_says_what_it_needs_and_gives(tmp_path):
    bundle = write_bundle(trained(), tmp_path / "b")
    manifest = bundle.manifest
    assert [a.tensor for a in manifest.assembly] == ["method", "numeric"]
    assert [f.datatype for f in manifest.request_fields] == ["BYTES", "INT64", "FP64"]
    assert set(manifest.operating_points) == {"breach_response", "siem_alerting", "executive_dashboard"}
    assert manifest.calibration is not None
    assert manifest.lineage.seed == 1
    assert {"reference/sample.json", "reference/summary.json", "example.json"} <= set(manifest.files)


def test_thresholds_of_left_out_types_are_promised_by_type(tmp_path):
    frame = rows(600)
    frame["kind"] = np.where(frame["verdict"] == "attack", np.array(list("abcd"))[np.arange(600) % 4], "normal")
    declared = detector(
        source__columns__kind="string",
        label={"column": "verdict", "positive": {"equals": ["attack"]}, "type_column": "kind"},
        split={"by": "types", "folds": 2, "benign_kinds": 6},
    )
    made = train(prepare(declared, check_data(declared, frame, where="x"), None, with_test=False), seed=1)
    points = write_bundle(made, tmp_path / "b").manifest.operating_points
    assert {p.holds for p in points.values()} == {None}
    assert "from 4 attack types: it takes at least 180" in points["breach_response"].shortfall
    assert "from 4 attack types and 6 kinds of benign rows" in points["executive_dashboard"].shortfall


def test_another_seed_is_another_bundle(tmp_path):
    assert write_bundle(trained(1), tmp_path / "a").digest != write_bundle(trained(2), tmp_path / "b").digest


def test_training_again_keeps_the_version(tmp_path):
    store = BundleStore(tmp_path)
    versions = [add_to_store(trained(seed), store).manifest.version for seed in (1, 1, 2)]
    assert versions == ["1", "1", "2"]


def test_parameters_that_the_library_refuses_are_said():
    with pytest.raises(DetectorError, match=r"model.parameters"):
        trained(model__parameters={"num_leaves": -5})


def test_types_weigh_the_same():
    kind = np.array(["a"] * 90 + ["b"] * 10 + ["-"] * 100, dtype=object)
    attack = kind != "-"
    weights = row_weights(detector(model={"balance": "types"}).model, attack, kind)
    assert weights[:90].sum() == pytest.approx(weights[90:100].sum()) == pytest.approx(50)


def test_made_up_rows_keep_columns_and_lose_their_ties():
    rng = np.random.default_rng(0)
    benign = np.repeat(rng.normal(size=(500, 1)), 2, axis=1).astype(np.float32)
    made_up = contrast(benign, 500, rng)
    assert set(made_up[:, 0]) <= set(benign[:, 0])
    assert abs(np.corrcoef(made_up.T)[0, 1]) < 0.2


SCRIPT = """
from pathlib import Path
import sys
from tests.unit.lifecycle.test_train import trained
from lifecycle.training.train import write_bundle
print(write_bundle(trained(), Path(sys.argv[1]) / "b").digest)
"""


def test_the_same_seed_and_data_give_the_same_digest_in_another_process(tmp_path):
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}  # here strings hash otherwise
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == write_bundle(trained(), tmp_path / "here").digest


@pytest.mark.parametrize("balance", ["none", "classes", "types"])
def test_a_row_that_stands_for_several_weighs_as_if_they_were_there(balance):
    spec = detector(model={"balance": balance, "balance_cap": 1000}).model
    attack = np.array([True, True, True, False, False])
    kind = np.array(["a", "a", "b", "x", "x"], dtype=object)
    given = np.array([3.0, 1.0, 2.0, 4.0, 1.0])
    times = given.astype(int)
    repeated = row_weights(spec, np.repeat(attack, times), np.repeat(kind, times))
    first = np.cumsum(times) - times
    np.testing.assert_allclose(row_weights(spec, attack, kind, given=given), np.add.reduceat(repeated, first))
