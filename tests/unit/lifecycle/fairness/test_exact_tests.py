"""The tests of two rates: Fisher's where rows are independent, permutations of entities where they are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, fisher_exact

from lifecycle.evaluation.fairness.clusters import ClusterCounts
from lifecycle.evaluation.fairness.exact_tests import ENOUGH, adjusted, two_rates


def test_without_entities_it_is_fishers_exact_test() -> None:
    k = np.array([1.0] * 6 + [0.0] * 44 + [1.0] * 10 + [0.0] * 440)
    p = two_rates(ClusterCounts(np.ones(500), k), np.arange(500) < 50, np.random.default_rng(0))
    assert p == pytest.approx(fisher_exact([[6, 44], [10, 440]]).pvalue)


def entities(rng: np.random.Generator, inside_rate: float, outside_rate: float) -> tuple[ClusterCounts, np.ndarray]:
    """60 of 400 entities inside; each alerts on all of its rows or on none, and those inside have three times the traffic."""
    inside = np.arange(400) < 60
    n = (rng.geometric(0.2, 400) * np.where(inside, 3, 1)).astype(float)
    bad = rng.random(400) < np.where(inside, inside_rate, outside_rate)
    return ClusterCounts(n, n * bad), inside


@pytest.mark.heavy
def test_alike_rows_do_not_make_a_finding() -> None:
    rng = np.random.default_rng(11)
    ours = fisher = 0
    for _ in range(200):
        clusters, inside = entities(rng, 0.05, 0.05)
        ours += two_rates(clusters, inside, rng, draws=499) <= 0.05
        sides = [[clusters.k[s].sum(), (clusters.n - clusters.k)[s].sum()] for s in (inside, ~inside)]
        fisher += fisher_exact(np.array(sides, dtype=int)).pvalue <= 0.05
    assert ours / 200 <= 0.08
    assert fisher / 200 > 0.3, "otherwise this test shows nothing"


@pytest.mark.heavy
def test_a_difference_of_entities_is_found() -> None:
    rng = np.random.default_rng(12)
    assert sum(two_rates(*entities(rng, 0.35, 0.05), rng, draws=499) <= 0.05 for _ in range(40)) >= 30


def test_no_p_value_is_zero_and_clear_cases_stop_early() -> None:
    rng = np.random.default_rng(13)
    clusters = ClusterCounts(np.full(40, 5.0), np.where(np.arange(40) < 20, 5.0, 0.0))
    assert two_rates(clusters, np.arange(40) < 20, rng, draws=199) == 1 / 200
    same = ClusterCounts(np.full(40, 5.0), np.tile([0.0, 1.0], 20))
    assert two_rates(same, np.arange(40) < 20, rng, draws=100_000_000) >= ENOUGH / 1000


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections(p_values: list[float]) -> None:
    holm, bh = adjusted(p_values), adjusted(p_values, "benjamini-hochberg")
    assert bh == pytest.approx(list(false_discovery_control(p_values)))
    for p, ours in zip(p_values, holm, strict=True):
        assert min(p, 1.0) <= ours <= min(1.0, p * len(p_values) + 1e-12)
    for a, b, x, y in ((a, b, x, y) for a, x in zip(p_values, holm, strict=True) for b, y in zip(p_values, holm, strict=True)):
        assert a > b or x <= y, "a smaller p-value stays the smaller one"
    by_hand = sorted(p_values)
    running, expected = 0.0, []
    for place, p in enumerate(by_hand):
        running = max(running, min(1.0, p * (len(by_hand) - place)))
        expected.append(running)
    assert sorted(holm) == pytest.approx(expected)
