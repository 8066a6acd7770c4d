"""The tests behind a promise, against figures made elsewhere and against a known truth."""

import numpy as np
import pytest
from scipy import stats

from lifecycle.training.operating_points.mean_tests import RowLosses, UnitLosses, losses
from lifecycle.training.operating_points.risk_control import Floor, certify, thresholds_for
from lifecycle.training.operating_points.validation import independent_rows, rows_in_units
from loadtests.bench.worlds.known_truth import CLUSTERED, FLOORS, INDEPENDENT, failures


@pytest.mark.parametrize(("count", "draws", "limit"), [(0, 149, 0.02), (3, 400, 0.02), (40, 1000, 0.05), (1000, 1000, 0.5)])
def test_rows_are_tested_by_the_binomial_tail(count, draws, limit):
    found = RowLosses(np.array([float(count)]), draws).p_values(np.array([limit]))[0]
    assert found == pytest.approx(stats.binomtest(count, draws, limit, alternative="less").pvalue, rel=1e-9)


def test_a_limit_of_nothing_is_never_shown():
    for found in (RowLosses(np.zeros(1), 10**6), UnitLosses(np.zeros((0, 1)), np.zeros(0), np.ones(10**4))):
        assert found.p_values(np.zeros(1))[0] == found.p_values(-np.ones(1))[0] == 1


@pytest.mark.heavy
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, n: (rng.random(n) < 0.05).astype(float), id="all or nothing"),
        pytest.param(lambda rng, n: rng.beta(0.5, 9.5, n), id="shares of any size"),
        pytest.param(lambda rng, n: np.full(n, 0.05), id="the same share"),
    ],
)
def test_a_bet_on_units_seldom_wins_when_the_mean_is_at_the_limit(draw):
    rng, limit, won = np.random.default_rng(3), np.array([0.05]), 0
    for _ in range(400):
        values = draw(rng, 300)[:, None]
        won += UnitLosses(values, np.ones(300), np.zeros(0)).p_values(limit)[0] <= 0.05
    assert won / 400 <= 0.05


def test_a_bet_on_units_wins_when_the_mean_is_under_the_limit():
    values = np.random.default_rng(3).beta(0.5, 19.5, (600, 1))
    assert UnitLosses(values, np.ones(600), np.zeros(0)).p_values(np.array([0.05]))[0] < 0.001


def test_units_without_a_loss_are_counted_and_not_kept():
    score = np.array([0.9, 0.8, 0.9, 0.9, 0.2, 0.1, 0.7], dtype=np.float32)
    attack = np.array([1, 1, 1, 1, 0, 0, 0], dtype=bool)
    owner = np.array([0, 0, 1, 1, 2, 2, 3])
    rows = rows_in_units(score, attack, np.ones(7), "entity", owner)
    thresholds = np.array([0.9, 0.8], dtype=np.float32).astype(np.float64)
    missed, alarmed = (losses(rows, thresholds, of_attacks=of) for of in (True, False))
    assert (missed.draws, missed.mean.tolist()) == (2, [0.25, 0.0])
    assert (alarmed.draws, alarmed.mean.tolist()) == (2, [0.0, 0.0])
    assert [round(float(v), 4) for v in missed.of_rows()[0]] == [0.25, 0.0]


def test_benign_rows_of_an_attacked_host_are_in_no_bound():
    """Its benign rows are no draw apart from its attacks."""
    score, attack = np.array([0.9, 0.9, 0.1], dtype=np.float32), np.array([True, False, False])
    rows = rows_in_units(score, attack, np.ones(3), "entity", np.array([0, 0, 1]))
    assert losses(rows, np.array([0.5]), of_attacks=False).draws == 1
    assert losses(rows, np.array([0.5]), of_attacks=False).mean == [0.0]


@pytest.mark.parametrize("floor", [f for f in FLOORS if f.measure != "recall"], ids=lambda f: f.measure)
def test_the_limit_of_false_alarms_is_where_the_figure_is_the_bound(floor):
    recall = np.array([0.9])
    alarms = floor.limit(recall)
    hits, wrong = floor.attack_share * recall, (1 - floor.attack_share) * alarms
    figure = hits / (hits + wrong) if floor.measure == "precision" else 2 * hits / (hits + wrong + floor.attack_share)
    assert figure == pytest.approx(floor.bound)


def test_what_holds_for_a_recall_holds_for_every_lower_threshold():
    rng = np.random.default_rng(1)
    score, attack = np.concatenate([rng.normal(2, 1, 500), rng.normal(0, 1, 500)]), np.arange(1000) < 500
    found = certify(independent_rows(score, attack), Floor("recall", 0.9, 0.05, 0.5))
    first = int(np.argmax(found.holds))
    assert found.holds[first:].all()
    assert not found.holds[:first].any()


@pytest.mark.parametrize(("units", "most"), [(0, 200), (100_000, 200), (200_000, 100), (10**9, 20)])
def test_the_shares_of_very_many_units_fit_into_memory(units, most):
    assert thresholds_for(units) == most


@pytest.mark.parametrize(
    "world",
    [pytest.param(INDEPENDENT, id=INDEPENDENT.name), pytest.param(CLUSTERED, id=CLUSTERED.name, marks=pytest.mark.heavy)],
)
def test_a_floor_fails_no_more_often_than_it_says(world):
    """A small version of `make bench ARGS=points`: 40 draws, each floor may fail in 5 % of them and 3 points of chance."""
    for name, found in failures(world, draws=40, seed=11).items():
        assert found.failed / 40 <= 0.05 + 0.03, name


@pytest.mark.soak
@pytest.mark.parametrize("world", [INDEPENDENT, CLUSTERED], ids=lambda w: w.name)
def test_a_floor_fails_no_more_often_than_it_says_in_500_draws(world):
    for name, found in failures(world, draws=500, seed=12).items():
        assert found.failed / 500 <= 0.05 + 0.03, name
        assert found.held / 500 >= 0.5, f"{name} is hardly ever promised, so this says little"
