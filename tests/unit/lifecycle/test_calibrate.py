"""Probabilities are bounded, ordered, and right on average."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from lifecycle.training.calibrate import venn_abers
from tests import laws


def brute_force(scores, attack, at):
    bounds = []
    for label in (0, 1):
        s, y = np.append(scores, at).astype(np.float64), np.append(attack, label)
        bounds.append(IsotonicRegression().fit(s, y).predict([float(at)])[0])
    return bounds


@pytest.mark.heavy
@laws.examples(40)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=4, max_size=40))
def test_agrees_with_the_definition(rows):
    scores = np.array([r[0] for r in rows], dtype=np.float32) / 8
    attack = np.array([r[1] for r in rows])
    got = venn_abers(scores, attack)
    for at in np.unique(scores):
        level = np.searchsorted(got.scores, at, side="right") - 1
        low, high = brute_force(scores, attack.astype(float), at)
        assert abs(got.low[level] - low) < 1e-9
        assert abs(got.high[level] - high) < 1e-9


def test_is_right_on_average_and_small():
    rng = np.random.default_rng(0)
    chance = rng.random(40_000)
    attack = rng.random(40_000) < chance
    got = venn_abers((chance**3).astype(np.float32), attack)
    fresh = rng.random(40_000)
    level = np.searchsorted(got.scores, fresh**3, side="right") - 1
    low, high = np.array(got.low)[level], np.array(got.high)[level]
    assert np.all(low <= high)
    assert abs(((low + high) / 2 - fresh).mean()) < 0.01
    assert len(got.scores) <= 400


def test_one_class_only_does_not_break_it():
    got = venn_abers(np.array([0.1, 0.2, 0.3], dtype=np.float32), np.zeros(3, dtype=bool))
    assert got.low[0] == 0
