"""A detector's rules: refused where they do not hold, measured by themselves, in the bundle with what was measured."""

import numpy as np
import pytest
from pydantic import ValidationError

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.errors import DetectorError
from lifecycle.training.rules import measure_rules, rule_files
from lifecycle.training.train import prepare, train, write_bundle
from serving.models.rules_model import rules_of
from tests.unit.lifecycle.declared import detector, rows

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
