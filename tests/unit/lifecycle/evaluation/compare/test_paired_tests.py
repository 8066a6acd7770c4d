"""Paired tests agree with their definitions, worked slowly, and with scikit-learn's areas."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from lifecycle.evaluation.compare.paired_tests import delong, delong_difference, drawn_difference, holm, mcnemar
from tests import laws

ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), min_size=4, max_size=40)


def columns(rows):
    first, second, attack = (np.array(column) for column in zip(*rows, strict=True))
    assume(attack.sum() >= 2 and (~attack).sum() >= 2)
    return first / 6, second / 6, attack


def slow_delong(scores, attack):
    """DeLong, DeLong & Clarke-Pearson (1988), equations 3 to 5: every attack against every benign row."""
    kernels = [(s[attack][:, None] > s[~attack]) + 0.5 * (s[attack][:, None] == s[~attack]) for s in scores]
    by_attack, by_benign = [k.mean(axis=1) for k in kernels], [k.mean(axis=0) for k in kernels]
    return np.cov(by_attack) / attack.sum() + np.cov(by_benign) / (~attack).sum()


@pytest.mark.heavy
@laws.examples(100)
@given(ROWS)
def test_delong_agrees_with_its_definition_and_the_areas_with_scikit_learn(rows):
    first, second, attack = columns(rows)
    areas, covariance = delong((first, second), attack)
    assert areas.tolist() == pytest.approx([reference.roc_auc_score(attack, s) for s in (first, second)])
    np.testing.assert_allclose(covariance, slow_delong((first, second), attack), atol=1e-12)


def test_two_models_that_are_alike_do_not_differ():
    score, attack = np.linspace(0, 1, 20), np.arange(20) > 9
    interval, p = delong_difference(score, score, attack)
    assert (interval.value, p) == (0.0, 1.0)
    assert delong_difference(score, -score, attack)[1] < 0.001
    assert delong_difference(score[:2], score[:2], np.array([True, False]))[1] is None


@pytest.mark.heavy
def test_under_no_difference_delongs_p_is_small_as_often_as_it_says():
    rng = np.random.default_rng(6)
    attack = np.arange(120) < 60
    truth = attack + rng.normal(size=(300, 120))
    found = [delong_difference(t + rng.normal(size=120), t + rng.normal(size=120), attack)[1] < 0.05 for t in truth]
    assert 0.02 <= np.mean(found) <= 0.09


@pytest.mark.parametrize(("b", "c"), list(product((0, 1, 5, 12), repeat=2)))
def test_mcnemars_test_counts_every_way_the_pairs_could_fall(b, c):
    first = np.array([True] * b + [False] * c + [True, False], dtype=bool)
    second = np.array([False] * b + [True] * c + [True, False], dtype=bool)
    got = mcnemar(first, second)
    n = b + c
    tail = sum(comb(n, k) for k in range(min(b, c) + 1)) / 2**n
    assert (got.first_right, got.second_right) == (b, c)
    assert got.p == pytest.approx(min(1.0, 2 * tail))


def test_few_entities_prove_nothing_however_clear_their_draws():
    always = np.full(1000, 0.3)
    assert drawn_difference(0.3, always, 1)[1] is None
    assert drawn_difference(0.3, always, 2)[1] == 0.5
    assert drawn_difference(0.3, always, 100)[1] < 0.01
    assert drawn_difference(0.0, np.zeros(100), 100)[1] == 1.0
    assert drawn_difference(None, always, 100)[1] is None


def test_few_draws_resolve_a_clear_difference_as_many_would():
    """Else nothing could be found after a correction for twenty figures."""
    drawn = np.random.default_rng(0).normal(0.5, 0.1, 200)
    assert drawn_difference(0.5, drawn, 1000)[1] == pytest.approx(2 * 2.87e-7, rel=0.9)
    close = np.random.default_rng(0).normal(0.2, 0.1, 200)
    assert drawn_difference(0.2, close, 1000)[1] == pytest.approx(2 * 0.0228, rel=0.5)


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
