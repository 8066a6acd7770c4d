"""`vedette bundle explain`, as it is typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from tests.e2e.running import foreign_models
from tests.unit.lifecycle.explanations.trained import small_detector
from tests.unit.serving.explanations.explained import bundle_of


def run(*words: object):
    return CliRunner().invoke(app, ["bundle", "explain", *map(str, words)])


@pytest.mark.heavy
def test_importance_and_rules_for_people_and_for_programs(tmp_path: Path):
    small_detector(tmp_path / "logins")
    shown = run(tmp_path / "logins")
    assert shown.exit_code == 0
    assert "exactly, by its trees" in shown.stdout
    assert "loss of ROC-AUC" in shown.stdout
    assert "rules and model agree on" in shown.stdout
    body = json.loads(run(tmp_path / "logins", "--repeats", 1, "--json").stdout)
    assert {c["column"] for c in body["importance"]["columns"]} == {"method", "failures", "seconds"}
    assert body["rules"]["held_out"] == sum(rule["rows"] for rule in body["rules"]["rules"])
    assert body["operating_point"] in {"breach_response", "siem_alerting", "executive_dashboard"}


def test_a_model_from_elsewhere_says_what_there_is_not(tmp_path: Path):
    path, tensors = foreign_models.pipeline(tmp_path)
    bundle_of(tmp_path / "pipeline", path.read_bytes(), tensors, output="output_probability", column=0)
    shown = run(tmp_path / "pipeline")
    assert shown.exit_code == 0
    assert "by sampling: the graph has no trees" in shown.stdout
    assert "change of the score" in shown.stdout
    assert "no rules: rules need at least 30 rows" in shown.stdout


def test_a_point_that_is_not_there_is_one_clear_message(tmp_path: Path):
    path, tensors = foreign_models.two_words(tmp_path)
    bundle_of(tmp_path / "words", path.read_bytes(), tensors, output="probabilities", column=1)
    refused = run(tmp_path / "words", "--point", "other")
    assert refused.exit_code == 1
    assert "unknown operating point 'other'" in str(refused.exception)
