"""The e-processes: never profitable on average under the null, however one looks; exact where they claim to be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from operators.rollout.judging.eprocess import (
    ABSENCE,
    BEYOND,
    EXCESS,
    Counts,
    EProcess,
    TwoStream,
    bets_against,
    log_factors,
    log_sum,
    null_pair,
)
from tests import laws

pytestmark = pytest.mark.heavy

RATES = st.floats(1e-4, 0.999)
OFFSETS = st.sampled_from([-0.3, -0.02, -0.001, 0.0, 0.001, 0.02, 0.3])


def kl(t: float, u: float) -> float:
    return t * math.log(t / u) + (1 - t) * math.log((1 - t) / (1 - u))


@given(n_x=st.integers(1, 10**6), n_y=st.integers(1, 10**6), t_x=RATES, t_y=RATES, offset=OFFSETS)
@laws.examples(300)
def test_the_null_pair_is_the_closest_one(n_x, n_y, t_x, t_y, offset):
    if t_y <= t_x + offset + 1e-9:
        return
    low, high = max(0.0, -offset), min(1.0, 1 - offset)

    def distance(u: float) -> float:
        return n_x * kl(t_x, u) + n_y * kl(t_y, u + offset)

    mine = float(null_pair(*(np.float64(v) for v in (n_x, t_x, n_y, t_y)), offset))
    best = minimize_scalar(distance, bounds=(low + 1e-12, high - 1e-12), method="bounded", options={"xatol": 1e-13})
    assert low < mine < high
    assert distance(mine) <= best.fun + 1e-7 * max(1.0, best.fun)


@given(
    n_x=st.integers(0, 30), n_y=st.integers(0, 30), past=st.tuples(*[st.integers(0, 50)] * 4), offset=OFFSETS, rate=RATES,
    worst=st.booleans(), slack=st.floats(0, 0.5),
)  # fmt: skip
@laws.examples(100)
def test_no_look_is_profitable_under_the_null(n_x, n_y, past, offset, rate, worst, slack):
    """Exactly, by summing over all outcomes of one look: E[factor] <= 1 for every bet, whatever the past and the split."""
    p_y = rate + offset - (0.0 if worst else slack)
    if not 0 <= p_y <= 1:
        return
    bad_x, more_x, bad_y, more_y = past
    before = tuple(np.float64(v) for v in (bad_x + more_x, bad_x, bad_y + more_y, bad_y))
    k_x, k_y = np.meshgrid(np.arange(n_x + 1.0), np.arange(n_y + 1.0))
    chances = _binomial(n_x, k_x, rate) * _binomial(n_y, k_y, p_y)
    ones = np.ones_like(k_x)
    logs = log_factors((n_x * ones, k_x), (n_y * ones, k_y), tuple(b * ones for b in before), offset, bets_against(offset))
    assert np.all(np.sum(np.exp(logs) * chances, axis=(1, 2)) <= 1 + 1e-9)


def _binomial(n, k, p):
    ways = np.vectorize(lambda j: math.comb(n, int(j)))(k)
    return ways * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("bets", [EXCESS, BEYOND, ABSENCE])
def test_bets_share_one_capital(bets):
    assert sum(bets.shares) == pytest.approx(1)
    assert len(bets.shares) == len(bets.odds) + 1


UP, DOWN = (0.01, False), (0.01, True)


@pytest.mark.parametrize(
    ("processes", "stable", "candidate"),
    [
        pytest.param([(0.0, False)], 0.02, 0.02, id="worse, equal rates that drift, margin 0"),
        pytest.param([(0.0, True)], 0.02, 0.02, id="better, equal rates that drift"),
        pytest.param([UP], 0.02, 0.03, id="worse, at the margin"),
        pytest.param([UP, DOWN], 0.03, 0.02, marks=pytest.mark.heavy, id="worse, two-sided, at the lower margin"),
        pytest.param([(-0.01, True)], 0.02, 0.03, id="no worse, at the margin"),
        pytest.param([(-0.01, False)], 0.03, 0.02, id="no worse, at the lower margin"),
    ],
)
def test_stopping_at_will_on_any_schedule_keeps_the_bound(processes, stable, candidate):
    """Looks of any size, a split that follows what was seen, rates that drift: crossing 1/alpha stays below alpha."""
    rng, runs, alpha = np.random.default_rng(7), 1500, 0.1
    logs = [np.zeros((len(bets_against(offset).shares), runs)) for offset, _ in processes]
    past, capital, is_over = np.zeros((4, runs)), np.zeros(runs), np.zeros(runs, dtype=bool)
    for look in range(40):
        size = rng.integers(1, 400, runs)
        n_b = rng.binomial(size, np.where(capital > 0.5, 0.5, 0.1))
        drift = 1 + 0.5 * math.sin(look / 5) if stable == candidate else 1.0
        new = np.array([size - n_b, rng.binomial(size - n_b, stable * drift), n_b, rng.binomial(n_b, candidate * drift)], float)
        for (offset, is_swapped), own in zip(processes, logs, strict=True):
            x, y, before = (new[2:], new[:2], past[[2, 3, 0, 1]]) if is_swapped else (new[:2], new[2:], past)
            own += np.where(is_over, 0.0, log_factors(tuple(x), tuple(y), tuple(before), offset, bets_against(offset)))
        past += new
        each = [log_sum(own + bets_against(o).log_shares[:, None]) for (o, _), own in zip(processes, logs, strict=True)]
        capital = log_sum(np.array(each)) - math.log(len(each))
        is_over |= capital >= math.log(1 / alpha)
    stopped = np.exp(capital)
    assert is_over.mean() <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert stopped.mean() <= 1 + 3 * stopped.std() / math.sqrt(runs)
    assert is_over.any()


def test_a_bad_candidate_is_found():
    """So that the bounds above are not kept by never saying anything."""
    state = TwoStream.start(0.01)
    for _ in range(20):
        state = state.look(Counts(n=900, k=9), Counts(n=100, k=6))
    assert state.log_worse > math.log(20)


@given(data=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200)), max_size=4))
@laws.examples(20)
def test_round_trip(data):
    state = TwoStream.start(0.02, is_two_sided=True)
    for k_a, g_a, k_b, g_b in data:
        state = state.look(Counts(n=k_a + g_a, k=k_a), Counts(n=k_b + g_b, k=k_b))
        assert TwoStream.model_validate_json(state.model_dump_json()) == state
        assert all(math.isfinite(v) for v in (state.log_worse, state.log_no_worse))


def test_many_runs_at_once_are_what_one_run_is():
    """The simulator's arrays and a rollout's own state give the same figures."""
    rng = np.random.default_rng(3)
    n_b = rng.binomial(100, 0.1, (30, 4)).astype(float)
    n_a, logs, past = 100 - n_b, np.zeros((len(BEYOND.shares), 4)), np.zeros((4, 4))
    k_a, k_b = rng.binomial(n_a.astype(int), 0.02).astype(float), rng.binomial(n_b.astype(int), 0.05).astype(float)
    ones = [EProcess(offset=0.01) for _ in range(4)]
    seen = [(Counts(), Counts()) for _ in range(4)]
    for look in range(30):
        logs += log_factors((n_a[look], k_a[look]), (n_b[look], k_b[look]), tuple(past), 0.01, BEYOND)
        past += np.array([n_a[look], k_a[look], n_b[look], k_b[look]])
        for i in range(4):
            new = Counts(n=int(n_a[look, i]), k=int(k_a[look, i])), Counts(n=int(n_b[look, i]), k=int(k_b[look, i]))
            ones[i] = ones[i].look(seen[i], *new)
            seen[i] = seen[i][0].plus(new[0]), seen[i][1].plus(new[1])
    together = log_sum(logs + BEYOND.log_shares[:, None])
    assert [e.log_e for e in ones] == pytest.approx(list(together))
