import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.capacity.simulation.sim_replica import SimReplica
from operators.capacity.waiting import ReplicaWork, highest_rate, mean_wait_s, quantile_s, quantiles_s, within

pytestmark = pytest.mark.heavy

MM1 = ReplicaWork(0.001, 1.0)
"""Mean service of a millisecond, exponential."""
REAL = ReplicaWork(180e-6, 0.25, 0.0004, 15, 0.003)

works = st.builds(
    ReplicaWork,
    busy_s=st.floats(2e-5, 0.01),
    busy_scv=st.floats(0, 1),
    delay_s=st.floats(0, 0.002),
    pause_per_s=st.floats(0, 20),
    pause_s=st.floats(0.0001, 0.01),
    interrupted=st.floats(0, 0.2),
)


@pytest.mark.parametrize("rate", [100, 500, 900])
def test_with_exponential_services_the_latency_is_exponential(rate: int):
    assert quantile_s(MM1, rate) == pytest.approx(math.log(100) / (1000 - rate), rel=0.01)
    assert within(MM1, rate, 0.005) == pytest.approx(1 - math.exp(-(1000 - rate) * 0.005), abs=0.005)


def test_with_equal_services_the_share_that_waits_for_nobody_is_that_of_erlang():
    """M/D/1: a request waits at most t < D with probability (1 - rho) exp(rate t) (Erlang 1909)."""
    equal = ReplicaWork(0.001, 0.0)
    assert within(equal, 600, 0.00175) == pytest.approx(0.4 * math.exp(0.6 * 0.75), abs=0.02)


def test_pauses_are_waited_for_by_those_that_come_meanwhile():
    """A request finds 1 of 20 moments paused; of pauses with an exponential length the rest is as long as the whole."""
    paused = ReplicaWork(1e-6, 0.0, 0.0, 5.0, 0.01)
    assert within(paused, 0.0, 2e-6) == pytest.approx(0.95, abs=0.01)
    assert quantile_s(paused, 0.0, 0.99) == pytest.approx(0.01 * math.log(0.05 / 0.01) / 0.95, rel=0.1)


def test_a_target_of_thousands_of_services_is_judged_by_the_pauses_that_long():
    """Of exponential pauses alone a request finds more than t waiting with probability p exp(-(1 - p) t / mean) (M/M/1)."""
    rare = ReplicaWork(140e-6, 0.25, 0.0, 0.1, 0.2)
    for target_s in (0.05, 0.1, 0.5, 2.0):
        beyond = rare.paused * math.exp(-((1 - rare.paused) ** 2) * target_s / rare.pause_s)
        assert within(rare, 0.0, target_s) == pytest.approx(1 - beyond, abs=3e-4)
    assert within(rare, 500, quantile_s(rare, 500)) == pytest.approx(0.99, abs=1e-3)
    assert highest_rate(rare, 1.0) > 500


@pytest.mark.parametrize("work", [REAL, ReplicaWork(180e-6, 0.25, 0.0004, 15, 0.001, 0.02)])
@pytest.mark.parametrize("rate", [0.0, 2000.0, 4000.0])
def test_the_mean_of_the_distribution_is_that_of_pollaczek_and_khinchine(work: ReplicaWork, rate: float):
    quantiles = [quantile_s(work, rate, (q + 0.5) / 40) for q in range(40)]
    mean = sum(quantiles) / len(quantiles)
    expected = (mean_wait_s(work, rate) + work.each_s) / (1 - work.paused) + work.delay_s
    assert mean == pytest.approx(expected, rel=0.15)  # the last of the tail is missing


@given(works, st.floats(1e-4, 0.1), st.floats(1.0, 4.0))
def test_a_looser_target_never_allows_fewer_requests(work: ReplicaWork, target_s: float, times: float):
    assert highest_rate(work, target_s * times) >= highest_rate(work, target_s)


@given(works, st.floats(0, 0.9), st.floats(0, 0.9), st.floats(1e-3, 0.05))
def test_more_requests_never_take_less_time(work: ReplicaWork, one: float, other: float, target_s: float):
    slow, fast = sorted((one, other))
    assert within(work, slow / work.busy_s, target_s) >= within(work, fast / work.busy_s, target_s) - 1e-6


def test_a_target_below_one_request_alone_is_met_at_no_rate():
    assert highest_rate(REAL, 0.0005) == 0


def test_a_queue_that_grows_without_end_has_no_quantile():
    assert quantile_s(MM1, 1000) == math.inf
    assert within(MM1, 1001, 10.0) == 0
    assert mean_wait_s(MM1, 1000) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [{"busy_s": 0.0}, {"busy_scv": 1.1}, {"delay_s": math.nan}, {"pause_per_s": 100.0, "pause_s": 0.02}, {"interrupted": 1.1}],
)
def test_work_that_no_replica_has_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="busy_s"):
        ReplicaWork(**{"busy_s": 0.001, **wrong}) if "pause_s" not in wrong else ReplicaWork(0.001, **wrong)


def test_a_request_is_put_off_by_the_pauses_that_come_while_it_is_served_and_not_by_their_mean():
    """Work of a second, and pauses of 5 s that take half of the time: who comes outside of one and meets none takes a second."""
    rare = ReplicaWork(1.0, 0.0, 0.0, 0.1, 5.0)
    assert within(rare, 0.0, 1.1) == pytest.approx(0.5 * math.exp(-0.1), abs=0.02)  # by the mean each would take two


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(ReplicaWork(0.001, 0.25, 0.0004, 20, 0.005), id="pauses of five services"),
        pytest.param(ReplicaWork(0.001, 0.25, 0.0004, 300, 0.0005), id="pauses of half a service"),
        pytest.param(ReplicaWork(0.001, 1.0, 0.0, 10, 0.02), id="pauses of twenty services"),
        pytest.param(ReplicaWork(0.001, 0.25, 0.0004, 0.0, 0.005, 0.05), id="one of twenty requests is interrupted"),
        pytest.param(ReplicaWork(0.001, 0.25, 0.0004, 20, 0.002, 0.05), id="pauses, and one of twenty requests is interrupted"),
    ],
)
def test_a_queue_with_pauses_is_the_one_that_is_simulated(work: ReplicaWork):
    replica, rate = SimReplica(work, np.random.default_rng(5)), 500.0
    due = np.random.default_rng(6).exponential(1 / rate, 60_000).cumsum().tolist()
    took = [done - at + work.delay_s for at in due if (done := replica.take(at)) is not None]
    for quantile, computed in zip((0.5, 0.9, 0.99), quantiles_s(work, rate, (0.5, 0.9, 0.99)), strict=True):
        assert computed == pytest.approx(float(np.quantile(took, quantile)), rel=0.15)


def test_what_interrupts_requests_grows_with_them_and_pauses_do_not():
    paused, interrupted = ReplicaWork(2e-4, 0.25, 0.0, 40, 0.002), ReplicaWork(2e-4, 0.25, 0.0, 0.0, 0.002, 0.04)
    assert paused.busy(1000) == pytest.approx(interrupted.busy(1000))
    assert paused.busy(2000) == pytest.approx(0.48)
    assert interrupted.busy(2000) == pytest.approx(0.56)
    assert quantile_s(interrupted, 2500) > 1.3 * quantile_s(paused, 2500)
