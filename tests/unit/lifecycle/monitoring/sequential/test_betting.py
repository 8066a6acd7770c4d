"""Betting on p-values: no bet is more than fair, capital that is put in is never more than there is, and a change is found."""

import numpy as np
import pytest

from lifecycle.monitoring.sequential.betting import (
    BETS,
    CELLS,
    WIDTHS,
    Capital,
    cells_of,
    starting_shares,
)

pytestmark = pytest.mark.heavy


def expected_growth(capital):
    """What a block of one uniform p-value makes of the capital on average: over the cells, by their widths."""
    streams = len(capital.blocks)
    return sum(w * capital.after(np.full((1, streams), c)).e_values for c, w in enumerate(WIDTHS))


def after_blocks(capital, rng, blocks, p_values=lambda rng, shape: rng.random(shape)):
    for _ in range(blocks):
        capital = capital.after(cells_of(p_values(rng, (25, len(capital.blocks)))))
    return capital


def test_the_capital_of_a_level_is_a_martingale_at_every_block():
    rng, capital = np.random.default_rng(0), Capital.start(50)
    assert capital.e_values == pytest.approx(1)
    for _ in range(5):
        capital = after_blocks(capital, rng, 4, lambda rng, shape: rng.beta(1, 1.3, shape))
        assert expected_growth(capital) == pytest.approx(capital.e_values, rel=1e-9)


def test_an_e_detector_grows_by_one_a_block_on_average():
    rng, capital = np.random.default_rng(0), Capital.start(50, "run_length")
    assert capital.e_values == pytest.approx(0)
    for _ in range(5):
        capital = after_blocks(capital, rng, 4)
        assert expected_growth(capital) == pytest.approx(capital.e_values + 1, rel=1e-9)


def test_the_shares_of_all_blocks_are_the_whole_capital():
    """The sum to k, and the integral of the rest: 1 / log(k)."""
    k = 1_000_000
    rest = 1 / np.log(k + 1.5) / 2.1097428012368919
    assert starting_shares(np.arange(k)).sum() + rest == pytest.approx(1, abs=1e-6)


def test_cells_cover_the_unit_interval():
    assert cells_of(np.array([0.0, 0.004, 0.5, 0.9999, 1.0])).tolist() == [0, 0, 9, len(WIDTHS) - 1, len(WIDTHS) - 1]
    assert (CELLS[0], CELLS[-1], WIDTHS.sum()) == (0, 1, pytest.approx(1))


@pytest.mark.parametrize(
    ("change", "most_blocks"),
    [
        pytest.param(lambda rng, shape: rng.beta(1, 1.6, shape), 30, id="values become smaller"),
        pytest.param(lambda rng, shape: rng.beta(2, 2, shape), 12, id="values gather in the middle"),
        pytest.param(lambda rng, shape: rng.beta(0.7, 0.7, shape), 25, id="values spread"),
        pytest.param(
            lambda rng, shape: np.where(rng.random(shape) < 0.08, 0.998, rng.random(shape)), 8, id="a new value in 8 %"
        ),
        pytest.param(lambda rng, shape: rng.random(shape) / 2 + (rng.random(shape) < 0.5) * 0.45, 30, id="gaps within"),
    ],
)
def test_a_change_after_a_quiet_time_is_found(change, most_blocks):
    rng = np.random.default_rng(1)
    capital = after_blocks(Capital.start(20), rng, 400)
    capital = after_blocks(capital, rng, most_blocks, change)
    assert np.median(capital.e_values) >= 200


def test_a_stream_that_restarts_forgets_and_the_others_do_not():
    rng = np.random.default_rng(2)
    capital = after_blocks(Capital.start(3), rng, 10, lambda rng, shape: rng.beta(1, 3, shape))
    again = capital.restarted(np.array([False, True, False]))
    assert again.e_values[1] == pytest.approx(1)
    assert again.e_values[[0, 2]] == pytest.approx(capital.e_values[[0, 2]])
    assert again.stakes.shape == (3, BETS)


def test_capital_stays_finite_in_an_endless_drift():
    capital = Capital.start(1)
    for _ in range(500):
        capital = capital.after(np.zeros((25, 1), dtype=np.int64))
    assert np.isfinite(capital.e_values).all()
