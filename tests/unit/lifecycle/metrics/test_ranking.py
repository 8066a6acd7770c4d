"""Areas over all thresholds agree with scikit-learn's, ties and weights included."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from lifecycle.metrics.ranking import RANKED, RankedRows, ranking
from tests import laws

WEIGHTED = st.lists(
    st.tuples(st.integers(0, 8).map(lambda v: v / 8), st.booleans(), st.integers(0, 3)), min_size=2, max_size=60
)


def split(rows):
    score, attack, weight = (np.array(column) for column in zip(*rows, strict=True))
    assume(weight[attack].sum() > 0 and weight[~attack].sum() > 0)
    return score, attack, weight.astype(np.float64)


@pytest.mark.heavy
@laws.examples(100)
@given(WEIGHTED)
def test_weighted_areas_agree_with_scikit_learn(rows):
    score, attack, weight = split(rows)
    roc, pr, ap = RankedRows(score, attack).figures(weight[None])[0]
    precision, recall, _ = reference.precision_recall_curve(attack, score, sample_weight=weight)
    assert roc == pytest.approx(reference.roc_auc_score(attack, score, sample_weight=weight))
    assert ap == pytest.approx(reference.average_precision_score(attack, score, sample_weight=weight))
    assert pr == pytest.approx(reference.auc(recall, precision))


@laws.examples(50)
@given(WEIGHTED)
def test_a_whole_weight_is_a_row_so_many_times(rows):
    score, attack, weight = split(rows)
    times = weight.astype(int)
    repeated = ranking(np.repeat(score, times), np.repeat(attack, times))
    weighed = RankedRows(score, attack).figures(weight[None])[0]
    assert weighed.tolist() == pytest.approx([repeated[name] for name in RANKED])


@laws.examples(50)
@given(WEIGHTED)
def test_the_curve_agrees_with_scikit_learn(rows):
    score, attack, _ = split(rows)
    curve = RankedRows(score, attack).curve()
    fpr, tpr, thresholds = reference.roc_curve(attack, score, drop_intermediate=False)
    assert curve.thresholds.tolist() == thresholds[1:].tolist()
    assert curve.recall.tolist() == pytest.approx(tpr[1:].tolist())
    assert curve.false_alarm_rate.tolist() == pytest.approx(fpr[1:].tolist())


def test_many_sets_of_weights_are_judged_as_one_by_one():
    rng = np.random.default_rng(0)
    score, attack, weights = rng.random(50).round(1), rng.random(50) < 0.4, rng.integers(1, 4, (7, 50)).astype(float)
    rows = RankedRows(score, attack)
    np.testing.assert_allclose(rows.figures(weights), np.vstack([rows.figures(w[None]) for w in weights]), rtol=1e-12)


def test_scores_told_apart_in_part_give_the_same_areas_and_exact_counts():
    """Unweighed to the bit of rounding, weighed within a thousandth; counts at the thresholds that are kept are exact."""
    rng = np.random.default_rng(1)
    attack = rng.random(5000) < 0.3
    score = (rng.normal(size=5000) + attack).astype(np.float32)
    whole, part = RankedRows(score, attack), RankedRows(score, attack, most=200, keep=(0.7, 99.0))
    once, weights = np.ones((1, 5000)), rng.integers(0, 4, (5, 5000)).astype(float)
    np.testing.assert_allclose(part.figures(once), whole.figures(once), rtol=1e-12)
    np.testing.assert_allclose(part.figures(weights), whole.figures(weights), atol=1e-3)
    assert part.totals(weights)[0].shape[1] <= 202
    for found, expected in zip(part.totals(weights), whole.totals(weights), strict=True):
        np.testing.assert_array_equal(found[:, part.place_of(0.7)], expected[:, whole.place_of(0.7)])
    assert part.place_of(99.0) == -1
