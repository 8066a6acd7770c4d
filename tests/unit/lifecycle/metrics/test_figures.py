"""Figures agree with scikit-learn's, and are undefined rather than zero where nothing was counted."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from lifecycle.metrics import Rates, ranking, rates, wilson
from tests import laws

ROWS = st.lists(st.tuples(st.integers(0, 12).map(lambda v: v / 12), st.booleans()), min_size=2, max_size=80)


@pytest.mark.heavy
@laws.examples(100)
@given(ROWS)
def test_ranking_agrees_with_scikit_learn(rows):
    score, attack = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    assume(attack.any() and not attack.all())
    precision, recall, _ = reference.precision_recall_curve(attack, score)
    got = ranking(score, attack)
    assert got["roc_auc"] == pytest.approx(reference.roc_auc_score(attack, score))
    assert got["average_precision"] == pytest.approx(reference.average_precision_score(attack, score))
    assert got["pr_auc"] == pytest.approx(reference.auc(recall, precision))


@pytest.mark.heavy
@laws.examples(100)
@given(ROWS)
def test_rates_agree_with_scikit_learn(rows):
    alert, attack = np.array([r[0] > 0.5 for r in rows]), np.array([r[1] for r in rows])
    assume(attack.any() and not attack.all() and alert.any())
    got = rates(alert, attack)
    assert got.precision.value == pytest.approx(reference.precision_score(attack, alert))
    assert got.recall.value == pytest.approx(reference.recall_score(attack, alert))
    assert got.f1 == pytest.approx(reference.f1_score(attack, alert))
    assert got.attack_share == pytest.approx(attack.mean())


def test_nothing_counted_is_not_zero():
    empty = Rates(0, 0, 0, 5)
    assert empty.recall.value is None
    assert empty.precision.value is None
    assert empty.f1 is None
    assert ranking(np.array([0.1, 0.2]), np.array([False, False]))["roc_auc"] is None


@pytest.mark.heavy
@given(st.integers(0, 50), st.integers(1, 50))
def test_an_interval_holds_its_share(count, extra):
    got = wilson(count, count + extra)
    assert 0 <= got.low <= got.value <= got.high <= 1


def test_wilson_of_a_known_case():
    got = wilson(10, 100)  # Wilson (1927)'s formula, worked by hand
    assert (round(got.low, 4), round(got.high, 4)) == (0.0552, 0.1744)
