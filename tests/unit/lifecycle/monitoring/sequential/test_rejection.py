"""The e-BH procedure: the definition, and what it means for the chance of any false alarm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lifecycle.monitoring.sequential.rejection import rejected, rejection_thresholds

E_VALUES = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1e4))


def by_definition(e_values, alpha):
    """Wang and Ramdas: the largest k with at least k e-values over K / (k alpha)."""
    n = len(e_values)
    counts = [k for k in range(1, n + 1) if (e_values >= n / (k * alpha)).sum() >= k]
    return e_values >= n / (max(counts) * alpha) if counts else np.zeros(n, dtype=bool)


@given(e_values=E_VALUES)
def test_it_rejects_what_the_definition_says(e_values):
    n = len(e_values)
    assert (rejected(e_values, np.full(n, 1 / n), 0.125) == by_definition(e_values, 0.125)).all()


@given(e_values=E_VALUES, seed=st.integers(0, 99))
def test_any_rejection_means_that_the_weighted_mean_reaches_one_over_alpha(e_values, seed):
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(e_values)))
    if rejected(e_values, weights, 0.05).any():
        assert e_values @ weights >= 1 / 0.05 * (1 - 1e-9)


def test_one_among_many_needs_more_than_many_together():
    quiet = np.ones(40)
    one, all_of_them = quiet.copy(), np.full(40, 25.0)
    one[3] = 700.0
    assert not rejected(one, np.full(40, 1 / 40), 0.05).any()
    one[3] = 801.0
    assert np.flatnonzero(rejected(one, np.full(40, 1 / 40), 0.05)).tolist() == [3]
    assert rejected(all_of_them, np.full(40, 1 / 40), 0.05).all()


def test_a_stream_without_weight_is_never_rejected():
    assert rejected(np.array([1e9, 1e9]), np.array([0.0, 1.0]), 0.05).tolist() == [False, True]
    assert rejection_thresholds(np.array([1.0, 1.0]), np.array([0.5, 0.5]), 0.05) == pytest.approx(40)
