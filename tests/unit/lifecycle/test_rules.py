"""A detector's rules: refused where they do not hold, measured by themselves, in the bundle with what was measured."""

import numpy as np
import pytest
from pydantic import ValidationError

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.errors import DetectorError
from lifecycle.training.rules import measure_rules, rule_files
from lifecycle.training.train import model_scores, prepare, train, write_bundle
from serving.messages import DTYPES
from serving.models.assembly import as_runtime_strings, assemble, plan_assembly
from serving.models.errors import BundleError
from serving.models.onnx import OnnxModel
from serving.models.rules_model import rules_of
from tests.unit.lifecycle.declared import detector, rows
from tests.unit.serving.scoring.variants import threat

RULES = {
    "thresholds": [
        {"id": "failing", "when": "failures > 3", "severity": "high"},
        {"id": "quick", "when": 'seconds < 1.0 && method != "password"', "severity": "medium"},
    ]
}


def test_rules_are_measured_alone():
    declared = detector(rules=RULES)
    frame = rows(200)
    attack = (frame["failures"] > 3).to_numpy()
    attack[:10] = ~attack[:10]
    found = measure_rules(declared, frame, attack, np.ones(200, dtype=bool))
    alert = (frame["failures"] > 3).to_numpy()
    assert found["rows"] == 200
    assert found["alert_precision"] == round((attack & alert).sum() / alert.sum(), 4)
    assert found["alert_recall"] == round((attack & alert).sum() / attack.sum(), 4)


def test_of_no_attacks_no_recall_is_told():
    frame = rows(20)
    assert (
        measure_rules(detector(rules=RULES), frame, np.zeros(20, dtype=bool), np.ones(20, dtype=bool))["alert_recall"] is None
    )


def test_a_bundle_has_the_rules_and_what_they_do(tmp_path):
    declared = detector(rules=RULES)
    made = train(prepare(declared, check_data(declared, rows(), where="x"), None, with_test=True), seed=1)
    bundle = write_bundle(made, tmp_path / "bundle")
    rules = rules_of(bundle)
    assert rules is not None
    assert rules.size == 2
    assert bundle.manifest.lineage.metrics["rules"]["on"] == "test"


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        pytest.param({"thresholds": [{"id": "a", "when": "failures", "severity": "high"}]}, DetectorError, id="no claim"),
        pytest.param({"thresholds": [{"id": "a", "when": "nobody > 1", "severity": "high"}]}, DetectorError, id="no column"),
    ],
)
def test_rules_that_do_not_hold(rules, error):
    with pytest.raises(error, match="rules"):
        measure_rules(detector(rules=rules), rows(10), np.zeros(10, dtype=bool), np.ones(10, dtype=bool))


def test_a_severity_nobody_knows():
    with pytest.raises((ValidationError, DetectorError), match="severity"):
        detector(rules={"thresholds": [{"id": "a", "when": "failures > 1", "severity": "grave"}]})


@pytest.mark.parametrize("name", ["flows", "nsl-kdd"])
def test_the_built_in_detectors_have_rules_for_when_the_model_cannot(name):
    assert rule_files(read_detector(name))


FEATURES = {**RULES, "use": "feature"}


def test_rules_are_columns_of_the_model(tmp_path):
    declared = detector(rules=FEATURES)
    prepared = prepare(declared, check_data(declared, rows(), where="x"), None, with_test=True)
    frame = prepared.frame
    assert prepared.columns[-2:] == ("rules_matched", "rules_severity")
    failing, quick = frame["failures"] > 3, (frame["seconds"] < 1.0) & (frame["method"] != "password")
    assert (frame["rules_matched"] == failing.astype(int) + quick.astype(int)).all()
    assert (frame["rules_severity"] == np.where(failing, 4, np.where(quick, 3, 0))).all()
    bundle = write_bundle(train(prepared, seed=1), tmp_path / "bundle")
    assert bundle.manifest.rules.use == "feature"
    assert {"rules_matched", "rules_severity"} <= {c for part in bundle.manifest.assembly for c in part.columns}
    assert "rules_matched" not in {f.name for f in bundle.manifest.request_fields}


def test_the_served_model_gets_the_columns_that_it_was_trained_on(tmp_path):
    declared = detector(rules=FEATURES)
    prepared = prepare(declared, check_data(declared, rows(), where="x"), None, with_test=True)
    made = train(prepared, seed=1)
    bundle = write_bundle(made, tmp_path / "bundle")
    model, served = OnnxModel(bundle.model_path), rules_of(bundle)
    part = prepared.frame.iloc[:300]
    sent = {
        field.name: part[field.name].map(lambda text: text.encode()).to_numpy(dtype=object)
        if field.datatype == "BYTES"
        else part[field.name].to_numpy(dtype=DTYPES[field.datatype])
        for field in bundle.manifest.request_fields
    }
    fields = {**sent, **served.features(sent, len(part))}
    tensors = {
        n: as_runtime_strings(t) if t.dtype == object else t
        for n, t in assemble(plan_assembly(bundle.manifest), fields, 300).items()
    }
    got = model.run(tensors, ["probabilities"])["probabilities"][:, 1]
    assert (got == model_scores(model, made.encoding, part)).all()


def test_a_request_field_may_not_have_the_name_of_a_rules_column(tmp_path):
    with pytest.raises(BundleError, match="made by rules"):
        threat(tmp_path / "b", "1", request_fields=[{"name": "rules_matched", "datatype": "FP32"}], assembly=[])
