"""Figures and tests of two samples against scipy, scikit-learn and hand figures."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from lifecycle.monitoring.statistics.count_tests import category_figures, chi_square_p, hypergeometric_p
from lifecycle.monitoring.statistics.dependence import correlation_change
from lifecycle.monitoring.statistics.distances import (
    counts_between,
    ks_distance,
    psi,
    quantile_edges,
    total_variation,
    wasserstein,
)
from lifecycle.monitoring.statistics.domain_classifier import domain_auc, rank_auc
from lifecycle.monitoring.statistics.labelled import concept_change, coverage_drop
from lifecycle.monitoring.statistics.mmd import mmd
from lifecycle.monitoring.statistics.multiplicity import benjamini_hochberg, bonferroni
from lifecycle.monitoring.statistics.number_tests import _exceedance_p, _rows_before, ks_p, number_tests, tail_excess
from lifecycle.monitoring.statistics.pooled import PooledSamples
from lifecycle.monitoring.statistics.rank_columns import normal_scores, numeric_table

values = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=60).map(np.array)


@given(values, values)
def test_distances_are_those_of_scipy(a, b):
    pooled = PooledSamples.of(a, b)
    assert ks_distance(pooled) == pytest.approx(stats.ks_2samp(a, b).statistic)
    spread = a.std()
    expected = stats.wasserstein_distance(a, b)
    assert wasserstein(pooled) == pytest.approx(expected / spread if spread else (np.inf if expected else 0.0))


def test_psi_by_hand():
    """0.5/0.5 against 0.25/0.75: (0.25-0.5) ln(0.25/0.5) + (0.75-0.5) ln(0.75/0.5), with half a row added to each bin."""
    found = psi(np.array([50_000, 50_000]), np.array([25_000, 75_000]))
    assert found == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5), abs=1e-4)
    assert psi(np.array([10, 20]), np.array([100, 200])) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("reference", "edges"), [
    pytest.param(np.repeat(1.0, 100), [1.0], id="a constant has one edge"),
    pytest.param(np.zeros(100), [0.0], id="so have zeros"),
    pytest.param(np.arange(1.0, 11.0), [1, 2, 3, 4, 5, 6, 7, 8, 9], id="tenths"),
    pytest.param(np.repeat([1.0, 2.0], [95, 5]), [1.0], id="an edge that several quantiles share is there once"),
])  # fmt: skip
def test_edges_are_quantiles_each_once(reference, edges):
    assert quantile_edges(reference).tolist() == edges


def test_a_spike_at_zero_has_a_bin_of_its_own():
    rng = np.random.default_rng(0)
    reference = np.where(rng.random(5000) < 0.8, 0.0, rng.gamma(2, 10, 5000))
    moved = np.where(rng.random(5000) < 0.8, 1e-9, rng.gamma(2, 10, 5000))
    edges = quantile_edges(reference)
    assert 0.0 in edges
    old, new = counts_between(PooledSamples.of(reference, moved), edges)
    place = int(np.searchsorted(edges, 0.0))
    assert old[place] == (reference == 0).sum()
    assert new[place] == 0
    assert psi(old, new) > 1


def test_total_variation_is_half_the_absolute_difference():
    assert total_variation(np.array([5, 5]), np.array([2, 8])) == pytest.approx(0.3)


def test_chi_square_is_that_of_scipy_where_nothing_is_rare():
    old, new = np.array([50, 80, 70]), np.array([60, 100, 40])
    assert chi_square_p(old, new) == pytest.approx(stats.chi2_contingency([old, new], correction=False).pvalue)
    assert chi_square_p(np.array([100]), np.array([90])) == 1.0


def test_new_and_vanished_values_are_named():
    found = category_figures(
        np.array(["a"] * 900 + ["b"] * 100, dtype=object), np.array(["a"] * 900 + ["c"] * 100, dtype=object)
    )
    assert found.new == (("c", 100),)
    assert found.vanished == (("b", 100),)
    assert found.total_variation == pytest.approx(0.1)
    assert found.p < 1e-10


def test_the_exact_p_is_at_least_that_of_fisher_and_no_more_than_twice():
    table = [[3, 7], [9, 1]]
    fisher = stats.fisher_exact(table).pvalue
    assert fisher <= hypergeometric_p(3, 12, 10, 20) <= 2 * fisher + 1e-12


def test_ks_p_is_that_of_scipy_in_the_limit():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=3000), rng.normal(0.05, size=3000)
    assert ks_p(PooledSamples.of(a, b)) == pytest.approx(stats.ks_2samp(a, b, method="asymp").pvalue, rel=0.05)


@pytest.mark.parametrize(("name", "change"), [
    ("location", lambda rng, x: x + 0.15), ("scale", lambda rng, x: x * 1.15),
    ("tails", lambda rng, x: np.where(rng.random(len(x)) < 0.01, x + 8, x)),
])  # fmt: skip
def test_each_test_finds_its_own_change(name, change):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=3000), change(rng, rng.normal(size=3000))
    assert number_tests(PooledSamples.of(a, b))[name] < 1e-3


@pytest.mark.parametrize("rank", [1, 3])
def test_the_p_of_rows_beyond_is_the_share_of_splits_that_have_as_many(rank):
    """All ways to deal 9 distinct rows into samples of 5 and 4: the p of each number of rows beyond is how often there are as many."""
    splits = [np.isin(np.arange(9), chosen) for chosen in itertools.combinations(range(9), 4)]
    beyond = np.array([_rows_before(of.astype(int), 1 - of.astype(int), rank) for of in splits])
    for number in range(1, 5):
        assert _exceedance_p(number, rank, 4, 9) == pytest.approx(np.mean(beyond >= number))


def test_a_few_rows_far_out_are_found_in_either_sample_at_either_end():
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=(2, 1500))
    far = np.concatenate([current[15:], rng.normal(6, 1, 15)])
    for old, new in ((reference, far), (far, reference), (-reference, -far), (-far, -reference)):
        assert number_tests(PooledSamples.of(old, new))["tails"] < 1e-3
    astray = np.append(reference[1:], 50.0)  # one stray row of the reference hides none of them
    assert number_tests(PooledSamples.of(astray, far))["tails"] < 1e-2


@pytest.mark.heavy
def test_p_values_of_unchanged_samples_are_no_smaller_than_chance():
    """Of each test: the share at most 0.05, over 400 draws of rounded data with many ties; 0.05 + 3 standard deviations is 0.083."""
    rng = np.random.default_rng(3)
    found = [number_tests(PooledSamples.of(*np.round(rng.gamma(1, 2, (2, 500)), 0))) for _ in range(400)]
    assert {name for p in found for name in p} >= {"ks", "location", "scale", "bins", "tails"}
    for name in ("ks", "location", "scale", "bins", "tails"):
        assert np.mean([p[name] <= 0.05 for p in found]) <= 0.083, name


def test_the_share_beyond_the_ends_of_the_reference():
    reference = np.arange(10_000.0)
    current = np.concatenate([np.arange(9_900.0), np.full(100, 1e6)])
    assert tail_excess(PooledSamples.of(reference, current)) == pytest.approx(0.009)


def test_a_sample_that_is_empty_or_holds_nan_is_refused():
    with pytest.raises(ValueError, match="empty"):
        PooledSamples.of(np.zeros(0), np.ones(3))
    with pytest.raises(ValueError, match="NaN"):
        PooledSamples.of(np.ones(3), np.array([1.0, np.nan]))


def test_auc_is_that_of_scikit_learn_and_its_p_that_of_scipy():
    rng = np.random.default_rng(4)
    scores, is_current = np.round(rng.normal(size=400), 1), rng.random(400) < 0.4
    auc, p = rank_auc(scores, is_current)
    assert auc == pytest.approx(roc_auc_score(is_current, scores))
    test = stats.mannwhitneyu
    one_sided = test(scores[is_current], scores[~is_current], alternative="greater", use_continuity=False, method="asymptotic")
    assert p == pytest.approx(one_sided.pvalue, rel=1e-6)


def correlated(rng, n, r):
    x = rng.normal(size=(n, 6))
    x[:, 1] = r * x[:, 0] + np.sqrt(1 - r * r) * x[:, 1]
    return x


def test_a_change_of_dependence_alone_is_found_and_its_pair_named():
    rng = np.random.default_rng(5)
    old, new = correlated(rng, 2000, 0.0), correlated(rng, 2000, 0.4)
    change = correlation_change(normal_scores(old), normal_scores(new))
    assert (change.first, change.second) == (0, 1)
    assert change.change == pytest.approx(0.4, abs=0.1)
    assert change.p < 1e-6
    assert mmd(old, new, rng).p < 0.05
    assert correlation_change(normal_scores(old), normal_scores(correlated(rng, 2000, 0.0))).p > 0.01
    assert correlation_change(np.zeros((100, 2)), np.zeros((100, 2))) is None


def test_a_classifier_tells_different_samples_apart_and_says_by_what():
    rng = np.random.default_rng(6)
    old, new = rng.normal(size=(1500, 5)), rng.normal(size=(1500, 5))
    assert domain_auc(old, rng.normal(size=(1500, 5)), rng).p > 0.01
    new[:, 3] += 1
    found = domain_auc(old, new, rng)
    assert found.auc > 0.7
    assert int(np.argmax(found.importance)) == 3
    assert found.p < 1e-10


def test_mmd_is_zero_by_chance_and_grows_with_the_shift():
    rng = np.random.default_rng(7)
    old = rng.normal(size=(800, 4))
    same, near, far = (mmd(old, rng.normal(shift, size=(800, 4)), rng) for shift in (0, 0.3, 1.0))
    assert same.p > 0.01
    assert near.p == far.p == pytest.approx(1 / 500)
    assert same.mmd < near.mmd < far.mmd


def test_benjamini_hochberg_is_that_of_scipy():
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.5, 1.0])
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    assert bonferroni([0.02, 0.5]) == pytest.approx(0.04)


def test_attacks_at_equal_score_are_compared_within_equal_scores():
    rng = np.random.default_rng(8)
    old, new = rng.random(4000), rng.random(4000) ** 2  # the scores themselves have shifted
    same = concept_change(old, rng.random(4000) < old, new, rng.random(4000) < new)
    assert same.p > 0.01
    assert abs(same.difference) < 0.03
    fewer = concept_change(old, rng.random(4000) < old, new, rng.random(4000) < new * 0.7)
    assert fewer.difference < -0.05
    assert fewer.p < 1e-6


def test_coverage_is_judged_by_the_binomial_law():
    covered = np.repeat([True, False], [880, 120])
    assert coverage_drop(covered, 0.1).p == pytest.approx(stats.binomtest(120, 1000, 0.1, alternative="greater").pvalue)
    assert coverage_drop(covered, 0.1).drop == pytest.approx(0.02)


def test_text_becomes_places_and_a_column_that_changed_its_kind_is_text():
    old, new = numeric_table(
        {"a": np.array(["x", "x", "y", None], dtype=object), "b": np.array([1.0, 2.0, np.nan, 2.0])},
        {"a": np.array(["z", "x"], dtype=object), "b": np.array(["2", "s"], dtype=object)},
    )
    assert old[:, 0].tolist()[:3] == [0.0, 0.0, 1.0]
    assert np.isnan(old[3, 0])
    assert old[1, 1] == new[0, 1] == old[3, 1], "the same value in both"
    assert np.isnan(old[2, 1])
