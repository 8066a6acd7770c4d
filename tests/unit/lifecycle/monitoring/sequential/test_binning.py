"""Bins: a value that repeats has its own, what training had not has its own, and 0.1 is 0.1 however it came."""

import math

import numpy as np
import pytest

from lifecycle.monitoring.sequential.binning import NumberBins, TextBins
from lifecycle.monitoring.sequential.effects import (
    gap_noise,
    largest_gap,
    psi,
    psi_noise,
    total_variation,
    variation_noise,
)


def test_a_spike_and_both_ends_have_bins_of_their_own():
    bins = NumberBins.of([0, 0, 0, 1, 5, 9])
    values = np.array([-1, 0, 0.5, 1, 3, 5, 7, 9, 10, math.nan])
    assert bins.bins_of(values).tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 6]
    assert bins.count == 7


def test_a_number_is_in_the_same_bin_as_fp32_and_as_fp64():
    bins = NumberBins.of([0.1, 0.1, 0.3])
    assert bins.bins_of(np.array([0.1, float(np.float32(0.1))])).tolist() == [1, 1]


def test_a_column_that_is_suddenly_text_is_missing_where_it_is_no_number():
    bins = NumberBins.of([0, 1, 2])
    assert bins.bins_of(np.array(["1", "tcp", None], dtype=object)).tolist() == [*bins.bins_of(np.array([1.0])), 5, 5]


def test_text_has_the_frequent_values_others_and_missing():
    bins = TextBins.of({"udp": 5, "tcp": 90, "icmp": 5})
    assert bins.values == ("tcp", "icmp", "udp")
    assert bins.bins_of(np.array(["udp", "tcp", "gre", None], dtype=object)).tolist() == [2, 0, 3, 4]


def test_codes_that_come_as_numbers_are_read_as_their_text():
    assert TextBins.of({"443": 9, "1234567": 3}).bins_of(np.array([443.0, 1234567.0, 22.0])).tolist() == [0, 1, 2]


def test_numbers_beyond_fp32_are_beyond_all_that_training_had():
    bins = NumberBins.of([0, 1e300])
    assert bins.bins_of(np.array([-1e300, 5.0, 1e300, math.inf])).tolist() == [0, *bins.bins_of(np.array([5.0, 1e300, 1e300]))]


def test_effects_of_a_known_change():
    reference, current = np.array([[50.0, 50.0, 0.0]]), np.array([[25.0, 25.0, 50.0]])
    assert total_variation(reference, current)[0] == pytest.approx(0.5)
    assert largest_gap(reference, current)[0] == pytest.approx(0.5)
    a, b = np.array([50.5, 50.5, 0.5]) / 101.5, np.array([25.5, 25.5, 50.5]) / 101.5
    assert psi(reference, current)[0] == pytest.approx(((a - b) * np.log(a / b)).sum())
    assert psi(reference, reference)[0] == pytest.approx(0)
    assert (psi(reference, 0 * current)[0] >= 0, total_variation(reference, reference)[0]) == (True, 0)


@pytest.mark.parametrize("bins", [2, 20, 52], ids=lambda bins: f"{bins} bins")
@pytest.mark.parametrize("rows", [100, 500])
@pytest.mark.parametrize("is_even", [True, False], ids=["even", "few frequent, many rare"])
def test_what_chance_alone_gives_is_about_what_is_taken_off(bins, rows, is_even):
    rng = np.random.default_rng(bins * rows)
    share = np.full(bins, 1 / bins) if is_even else 0.7 ** np.arange(bins) / (0.7 ** np.arange(bins)).sum()
    reference = rng.multinomial(1000, share, size=400).astype(float)
    current = rng.multinomial(rows, share, size=400).astype(float)
    for effect, noise in ((psi, psi_noise), (total_variation, variation_noise), (largest_gap, gap_noise)):
        left = effect(reference, current).mean() - noise(reference, current).mean()
        assert abs(left) < 0.05, effect.__name__
