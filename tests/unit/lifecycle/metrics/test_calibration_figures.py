"""Figures about probabilities agree with scikit-learn's, values on the edges of bins included."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from lifecycle.metrics.calibration import (
    brier,
    calibration_figures,
    expected_calibration_error,
    log_loss,
    reliability,
)
from tests import laws

TENTHS = st.integers(0, 20).map(lambda v: v / 20)
ROWS = st.lists(st.tuples(st.one_of(TENTHS, st.floats(0, 1)), st.booleans()), min_size=2, max_size=60)


def split(rows):
    probability, attack = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    assume(attack.any() and not attack.all())
    return probability, attack


@pytest.mark.heavy
@laws.examples(100)
@given(ROWS)
def test_they_agree_with_scikit_learn(rows):
    probability, attack = split(rows)
    assert brier(probability, attack) == pytest.approx(reference.brier_score_loss(attack, probability))
    assert log_loss(probability, attack) == pytest.approx(reference.log_loss(attack, probability))
    found, said = calibration_curve(attack, probability, n_bins=10)
    table = reliability(probability, attack)
    assert [b.attack_share.value for b in table] == pytest.approx(found.tolist())
    assert [b.mean_probability for b in table] == pytest.approx(said.tolist())
    assert sum(b.rows for b in table) == len(attack)
    by_hand = sum(b.rows * abs(b.attack_share.value - b.mean_probability) for b in table) / len(attack)
    assert expected_calibration_error(probability, attack) == pytest.approx(by_hand)


@laws.examples(50)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_a_whole_weight_is_a_row_so_many_times(rows, seed):
    probability, attack = split(rows)
    times = np.random.default_rng(seed).integers(0, 4, len(attack))
    assume(times.sum() > 0)
    p, a = np.repeat(probability, times), np.repeat(attack, times)
    weighed = calibration_figures(probability, attack, times[None].astype(float))[0]
    assert weighed.tolist() == pytest.approx([brier(p, a), log_loss(p, a), expected_calibration_error(p, a)])


def test_a_sure_answer_that_is_wrong_costs_much_but_not_everything():
    assert 30 < log_loss(np.array([0.0, 0.0]), np.array([True, True])) < 40
