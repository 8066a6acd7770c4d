"""The forest sets unusual rows apart as scikit-learn's does, and its graph answers as the forest does."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import IsolationForest as TheirForest
from sklearn.metrics import roc_auc_score

from lifecycle.errors import DetectorError
from lifecycle.training.behaviour.autoencoder import autoencoder_to_onnx, fit_autoencoder
from lifecycle.training.behaviour.declaration import BUILT_IN, read_behaviour
from lifecycle.training.behaviour.isolation_forest import average_path, fit_forest, to_onnx
from serving.models.onnx import OnnxModel


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    usual = rng.normal(size=(900, 5)) @ rng.normal(size=(5, 5))
    unusual = rng.uniform(-12, 12, size=(30, 5))
    return np.vstack([usual, unusual]).astype(np.float32), np.repeat([False, True], [900, 30])


@pytest.mark.heavy
def test_ranks_rows_as_scikit_learn_does(rows):
    values, is_unusual = rows
    mine = fit_forest(values, trees=200, sample=256, seed=1).scores(values)
    theirs = -TheirForest(n_estimators=200, max_samples=256, random_state=1).fit(values).score_samples(values)
    assert spearmanr(mine, theirs).statistic > 0.97
    assert abs(mine - theirs).mean() < 0.02
    assert abs(roc_auc_score(is_unusual, mine) - roc_auc_score(is_unusual, theirs)) < 0.02


@pytest.mark.heavy
def test_the_graph_answers_as_the_forest(rows):
    values, _ = rows
    forest = fit_forest(values, trees=50, sample=128, seed=3)
    found = OnnxModel(to_onnx(forest)).run({"features": values})["anomaly"]
    assert np.abs(found - forest.scores(values)).max() < 1e-5
    assert to_onnx(forest) == to_onnx(fit_forest(values, trees=50, sample=128, seed=3))


def test_the_graph_answers_as_the_autoencoder(rows):
    values, is_unusual = rows
    model = fit_autoencoder(values, hidden=3)
    found = OnnxModel(autoencoder_to_onnx(model)).run({"features": values})["anomaly"]
    assert np.abs(found - model.scores(values)).max() < 1e-4
    assert roc_auc_score(is_unusual, found) > 0.8


def test_rows_that_are_all_alike_are_equally_usual():
    alike = np.ones((100, 3), dtype=np.float32)
    assert len(set(fit_forest(alike, trees=10, sample=64, seed=0).scores(alike).tolist())) == 1


@pytest.mark.parametrize(("n", "path"), [(1, 0.0), (2, 1.0), (256, 10.2448)])
def test_average_path(n, path):
    assert average_path(n) == pytest.approx(path, abs=1e-3)


def test_every_built_in_file_is_valid():
    assert [read_behaviour(str(path)).name for path in BUILT_IN.glob("*.yaml")] == ["hosts"]


def test_a_file_of_another_kind_is_left_to_others():
    assert read_behaviour("flows") is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("entity: host", "entity: nobody", "entity names column 'nobody'"),
        ("window_s: 3600", "window_s: 0", "window_s"),
        ("  beacon:", "  bacon:", r"name \['bacon'\]"),
        ("history_days: 7", "histroy: 7", "histroy"),
    ],
)
def test_a_wrong_declaration_says_where(tmp_path, old, new, words):
    text = (BUILT_IN / "hosts.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "own.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DetectorError, match=words):
        read_behaviour(str(tmp_path / "own.yaml"))
