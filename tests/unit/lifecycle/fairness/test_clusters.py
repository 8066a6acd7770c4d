"""Intervals that allow for alike rows: equal to the exact ones where rows are independent, wide enough where they are not."""

import numpy as np
import pytest
from scipy.stats import binomtest

from lifecycle.evaluation.fairness.clusters import ClusterCounts, difference_interval, rate_interval, ratio_interval
from lifecycle.metrics import Interval


def rows(events: int, total: int) -> ClusterCounts:
    return ClusterCounts(np.ones(total), (np.arange(total) < events).astype(float))


@pytest.mark.parametrize(("events", "total"), [(0, 30), (3, 100), (40, 80), (25, 25)])
def test_without_entities_it_is_clopper_pearsons_interval(events: int, total: int) -> None:
    got, exact = rate_interval(rows(events, total)), binomtest(events, total).proportion_ci(method="exact")
    assert (got.low, got.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_rows_that_are_all_alike_count_as_one_each_entity() -> None:
    alike = ClusterCounts(np.full(40, 50.0), np.where(np.arange(40) < 4, 50.0, 0.0))
    assert alike.effective() == pytest.approx(39, abs=1), "40 entities, 2,000 rows"
    entities = rate_interval(rows(4, 40))
    got = rate_interval(alike)
    assert got.low is not None
    assert got.high is not None
    assert entities.low is not None
    assert entities.high is not None
    assert got.low == pytest.approx(entities.low, abs=0.01)
    assert got.high == pytest.approx(entities.high, abs=0.02)


def test_the_interval_holds_where_rows_of_an_entity_are_alike() -> None:
    rng = np.random.default_rng(5)
    held = naive = 0
    for _ in range(300):
        n = rng.geometric(0.05, 120).astype(float)
        k = rng.binomial(n.astype(int), rng.beta(0.5, 9.5, 120)).astype(float)
        got, plain = rate_interval(ClusterCounts(n, k)), rate_interval(rows(int(k.sum()), int(n.sum())))
        held += got.low <= 0.05 <= got.high
        naive += plain.low <= 0.05 <= plain.high
    assert held / 300 >= 0.93
    assert naive / 300 < 0.85, "otherwise this test shows nothing"


def test_differences_and_ratios_hold_what_they_are_of() -> None:
    rng, one, other = np.random.default_rng(6), 0.04, 0.02
    held = [0, 0]
    for _ in range(300):
        a, b = (rate_interval(rows(int(rng.binomial(n, p)), n)) for n, p in ((400, one), (4000, other)))
        difference, ratio = difference_interval(a, b), ratio_interval(a, b)
        held[0] += difference.low <= one - other <= difference.high
        held[1] += ratio.low <= one / other <= (ratio.high or np.inf)
    assert min(held) / 300 >= 0.93


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param((0, 50), (5, 500), (0.0, 0.0), id="none of them: ratio 0"),
        pytest.param((5, 50), (0, 500), (None, None), id="over nothing there is no ratio, and it has no upper bound"),
        pytest.param((0, 50), (0, 500), (None, None), id="none of none"),
    ],
)
def test_ratios_at_the_border(
    one: tuple[int, int], other: tuple[int, int], expected: tuple[float | None, float | None]
) -> None:
    got = ratio_interval(rate_interval(rows(*one)), rate_interval(rows(*other)))
    assert got.value == expected[0]
    assert got.low is not None
    if expected[1] is None:
        assert got.high is None


def test_nothing_counted_is_unknown_and_not_zero() -> None:
    nothing = rate_interval(ClusterCounts(np.zeros(0), np.zeros(0)))
    assert nothing == Interval(None, None, None)
    assert difference_interval(nothing, rate_interval(rows(1, 2))) == Interval(None, None, None)
