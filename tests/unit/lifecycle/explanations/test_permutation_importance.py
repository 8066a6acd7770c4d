"""Which columns a model needs, with intervals that cover what they should."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lifecycle.explanations.permutation_importance import PermutationImportance, permutation_importance
from serving.explanations.columns import InputColumns
from serving.models.manifest import Manifest, TensorSpec

SPECS = (TensorSpec(name="word", datatype="BYTES", shape=(-1, 1)), TensorSpec(name="x", datatype="FP32", shape=(-1, 2)))
MANIFEST = Manifest(name="m", version="1", inputs=SPECS, outputs=(), files={})


def scores(tensors: dict[str, np.ndarray], rows: int) -> np.ndarray:
    found = tensors["x"][:, 0].astype(np.float64) + (tensors["word"][:, 0] == "evil")
    assert found.shape == (rows,)
    return found


def drawn(rng: np.random.Generator, rows: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    tensors = {
        "x": rng.normal(size=(rows, 2)).astype(np.float32),
        "word": rng.choice(np.array(["evil", "good"], dtype=object), (rows, 1)),
    }
    return tensors, scores(tensors, rows) + rng.normal(size=rows) > 0.8


def importance(tensors, attack, **options) -> PermutationImportance:
    return permutation_importance(InputColumns.of(MANIFEST, tensors), tensors, scores, attack, **options)


def test_columns_are_ranked_by_what_the_ranking_loses_without_them():
    tensors, attack = drawn(np.random.default_rng(0), 600)
    found = importance(tensors, attack)
    assert [one.column for one in found.columns] == ["x[0]", "word", "x[1]"]
    assert found.whole == pytest.approx(roc_auc_score(attack, scores(tensors, 600)), abs=1e-12)
    assert (found.columns[2].loss.value, found.columns[2].loss.low, found.columns[2].loss.high) == (0.0, 0.0, 0.0)
    assert found.columns[0].loss.low > found.columns[2].loss.high
    assert (found.measure, found.rows, found.clusters) == ("roc_auc", 600, 600)


def test_the_loss_is_the_difference_of_two_aucs():
    tensors, attack = drawn(np.random.default_rng(1), 200)
    found = importance(tensors, attack, repeats=1, seed=3)
    rng = np.random.default_rng(3)
    for column, (name, place) in enumerate((("word", 0), ("x", 0), ("x", 1))):
        shuffled = {k: v.copy() for k, v in tensors.items()}
        shuffled[name][:, place] = tensors[name][rng.permutation(200), place]
        loss = roc_auc_score(attack, scores(tensors, 200)) - roc_auc_score(attack, scores(shuffled, 200))
        names = ("word", "x[0]", "x[1]")
        assert next(c.loss.value for c in found.columns if c.column == names[column]) == pytest.approx(loss, abs=1e-12)


@pytest.mark.heavy
def test_intervals_cover_the_true_loss():
    """The truth from very many rows; of 150 draws of 150 rows about 95 % of the intervals hold it."""
    rng = np.random.default_rng(5)
    big, labels = drawn(rng, 40_000)
    truth = {one.column: one.loss.value for one in importance(big, labels, repeats=1).columns}
    hits = []
    for draw in range(150):
        tensors, attack = drawn(rng, 150)
        found = {one.column: one for one in importance(tensors, attack, seed=draw).columns}
        hits.append([found[name].loss.low <= truth[name] <= found[name].loss.high for name in ("x[0]", "word")])
    assert (np.mean(hits, axis=0) > 0.88).all()


def test_rows_of_one_entity_do_not_count_as_many():
    tensors, attack = drawn(np.random.default_rng(2), 150)
    four = {name: np.repeat(tensor, 4, axis=0) for name, tensor in tensors.items()}
    by_entity = importance(four, np.repeat(attack, 4), entity=np.repeat(np.arange(150), 4), repeats=20).columns[0]
    by_row = importance(four, np.repeat(attack, 4), repeats=20).columns[0]
    once = importance(tensors, attack, repeats=20).columns[0]
    assert (by_entity.loss.high - by_entity.loss.low) > 1.4 * (by_row.loss.high - by_row.loss.low)
    assert (by_entity.loss.high - by_entity.loss.low) == pytest.approx(once.loss.high - once.loss.low, rel=0.4)


def test_without_labels_it_is_the_change_of_the_score():
    tensors, _ = drawn(np.random.default_rng(4), 300)
    found = importance(tensors, None)
    assert (found.measure, found.whole) == ("score_change", None)
    assert [one.column for one in found.columns] == ["x[0]", "word", "x[1]"]
    assert {one.loss for one in found.columns} == {None}
    assert (found.columns[2].change.value, found.columns[2].change.high) == (0.0, 0.0)
    assert found.columns[0].change.low > found.columns[1].change.high > 0
    assert importance(tensors, np.zeros(300, dtype=bool)).measure == "score_change"
