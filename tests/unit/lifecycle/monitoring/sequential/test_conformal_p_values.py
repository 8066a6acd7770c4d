"""Conformal p-values on bins: uniform under exchangeability, whatever the distribution and however few rows the reference has."""

import itertools

import numpy as np
import pytest

from lifecycle.monitoring.sequential.conformal import conformal_p_values


def one_by_one(counts, bins, u):
    """The definition, a row at a time."""
    seen, found = list(counts), []
    for value, tie in zip(bins, u, strict=True):
        seen[value] += 1
        found.append((sum(seen[:value]) + tie * seen[value]) / sum(seen))
    return found, seen


@pytest.mark.parametrize("rows", [12, 300])  # compared at once, and in several steps
def test_a_block_is_the_same_as_its_rows_one_by_one(rows):
    rng = np.random.default_rng(0)
    counts, bins, u = rng.integers(0, 9, (7, 5)), rng.integers(0, 5, (rows, 7)), rng.random((rows, 7))
    p, after = conformal_p_values(counts, bins, u)
    for stream in range(7):
        expected, seen = one_by_one(counts[stream], bins[:, stream], u[:, stream])
        assert p[:, stream] == pytest.approx(expected)
        assert after[stream].tolist() == seen


def test_over_all_orders_of_a_bag_the_p_values_fill_the_unit_interval_evenly():
    """The chance of p <= x at the last row, over the orders of a bag and the tie, is x itself."""
    bag = (0, 0, 1, 2, 2, 2)
    ties = (np.arange(200) + 0.5) / 200
    last = [
        one_by_one([0, 0, 0], order, [0.0] * 5 + [tie])[0][-1] for order in set(itertools.permutations(bag)) for tie in ties
    ]
    assert np.quantile(last, np.linspace(0.05, 0.95, 19)) == pytest.approx(np.linspace(0.05, 0.95, 19), abs=0.005)


def test_a_small_reference_gives_uniform_p_values_too():
    rng = np.random.default_rng(1)
    streams, share = 4000, (0.7, 0.2, 0.08, 0.02)
    counts = rng.multinomial(20, share, size=streams)
    p, _ = conformal_p_values(counts, rng.choice(4, (30, streams), p=share), rng.random((30, streams)))
    for row in (0, 10, 29):
        assert np.quantile(p[row], [0.05, 0.25, 0.5, 0.75, 0.95]) == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95], abs=0.03)
    assert abs(np.corrcoef(p[0], p[29])[0, 1]) < 0.06
