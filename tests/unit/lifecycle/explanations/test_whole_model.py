"""A bundle explained as a whole: a planted rule is found, and how far the rules can be trusted is said on rows that did not make them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifecycle.explanations.surrogate_rules import model_rules
from lifecycle.explanations.whole_model import LabelledRows, explain_model, own_rows
from serving.explanations.explainer import Explainer
from serving.explanations.explanation import UnexplainableModel
from serving.models.onnx import OnnxModel
from tests.e2e.running import foreign_models
from tests.unit.lifecycle.explanations.trained import small_detector
from tests.unit.serving.explanations.explained import bundle_of


def planted(rng: np.random.Generator, rows: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    table = {
        "peers": rng.integers(0, 20, rows).astype(np.float32),
        "proto": rng.choice(np.array(["tcp", "udp"], dtype=object), rows),
        "noise": rng.normal(size=rows).astype(np.float32),
    }
    return table, np.where((table["peers"] > 15) & (table["proto"] == "udp"), 0.9, 0.1)


def test_a_planted_rule_is_found_and_holds_on_rows_left_out():
    table, scores = planted(np.random.default_rng(0), 900)
    found = model_rules(table, scores, 0.3, 0.5, background="900 rows")
    assert (found.fidelity.value, found.found, found.right, found.held_out) == (1.0, 1.0, 1.0, 300)
    assert found.fidelity.low < 0.99 < found.fidelity.high
    assert found.baseline < found.fidelity.value
    (alert,) = [rule for rule in found.rules if rule.says == "alert"]
    assert {condition.column for condition in alert.conditions} == {"peers", "proto"}
    assert next(c.low for c in alert.conditions if c.column == "peers") == 15.5
    assert sum(rule.rows for rule in found.rules) == 300


def test_rules_that_are_no_better_than_one_verdict_for_all_show_it():
    """The model goes by chance: the fidelity is that of saying benign always, and nothing is found."""
    rng = np.random.default_rng(1)
    table, _ = planted(rng, 600)
    found = model_rules(table, np.where(rng.random(600) < 0.05, 0.9, 0.1), 0.3, 0.5, background="600 rows")
    assert found.fidelity.value <= found.baseline
    assert not found.found


def test_a_detector_is_explained_on_its_own_training_rows(tmp_path: Path):
    found = explain_model(small_detector(tmp_path / "detector"), repeats=2)
    assert found.is_exact
    assert found.rows.endswith("rows of the training data")
    assert found.importance.measure == "roc_auc"
    assert {one.column for one in found.importance.columns} == {"method", "failures", "seconds"}
    assert found.importance.columns[0].loss.low > 0
    assert found.rules is not None
    assert found.rules.fidelity.value > found.rules.baseline


@pytest.mark.heavy
def test_a_model_from_elsewhere_is_explained_on_rows_that_are_given(tmp_path: Path):
    path, tensors = foreign_models.two_words(tmp_path)
    bundle = bundle_of(tmp_path / "words", path.read_bytes(), tensors, output="probabilities", column=1)
    few = explain_model(bundle)
    assert few.rules is None
    assert "rules need at least" in few.why_no_rules
    rng = np.random.default_rng(0)
    rows = {name: rng.choice(tensors[name][:, 0], (200, 1)) for name in tensors}
    found = explain_model(bundle, LabelledRows(rows, None, "200 rows of mine"))
    assert found.importance.measure == "score_change"
    assert found.rules is not None
    assert (found.rules.background, found.rules.fidelity.value) == ("200 rows of mine", 1.0)
    with pytest.raises(UnexplainableModel, match="unknown operating point 'two'"):
        explain_model(bundle, point="two")


def test_labels_are_not_given_to_other_rows_where_rows_were_left_out(tmp_path: Path):
    """Reference rows whose score is no number are left out of the background; their labels stay in the file."""
    bundle = small_detector(tmp_path / "detector")
    explainer = Explainer.of(bundle, OnnxModel(bundle.model_path).run)
    assert explainer.background is not None
    assert own_rows(bundle, explainer).attack is not None
    rows = {name: tensor[1:] for name, tensor in explainer.background.tensors.items()}
    fewer = replace(explainer, background=replace(explainer.background, tensors=rows, rows=explainer.background.rows - 1))
    assert own_rows(bundle, fewer).attack is None
