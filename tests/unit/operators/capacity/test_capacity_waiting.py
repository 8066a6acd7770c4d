import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.capacity.errors import CapacityError
from operators.capacity.fitting import RateSample, busy_s_of, fit
from operators.capacity.waiting import ReplicaWork, highest_rate, mean_wait_s, quantile_s, within

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


@pytest.mark.parametrize("rate", [0.0, 2000.0, 4000.0])
def test_the_mean_of_the_distribution_is_that_of_pollaczek_and_khinchine(rate: float):
    quantiles = [quantile_s(REAL, rate, (q + 0.5) / 40) for q in range(40)]
    mean = sum(quantiles) / len(quantiles)
    expected = (mean_wait_s(REAL, rate) + REAL.busy_s) / (1 - REAL.paused) + REAL.delay_s
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
    "wrong", [{"busy_s": 0.0}, {"busy_scv": 1.1}, {"delay_s": math.nan}, {"pause_per_s": 100.0, "pause_s": 0.02}]
)
def test_work_that_no_replica_has_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="busy_s"):
        ReplicaWork(**{"busy_s": 0.001, **wrong}) if "pause_s" not in wrong else ReplicaWork(0.001, **wrong)


def test_the_queue_is_found_again_from_its_latencies_at_lower_rates():
    samples = [RateSample(r, 0.05 + r * 150e-6, quantile_s(REAL, r, 0.5), quantile_s(REAL, r)) for r in (500, 1000, 1500)]
    found = fit(samples)
    assert quantile_s(found, 2000) == pytest.approx(quantile_s(REAL, 2000), rel=0.1)


def test_processor_time_without_requests_is_no_part_of_a_request():
    assert busy_s_of([RateSample(r, 0.3 + r * 1e-4, 1, 1) for r in (100, 200, 400)]) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([RateSample(100, 0.1, 1, 1)], "two rates"),
        ([RateSample(100, 0.2, 1, 1), RateSample(200, 0.1, 1, 1)], "did not grow"),
        ([RateSample(100, 0.1, 0, 1), RateSample(200, 0.2, 1, 1)], "not above 0"),
    ],
)
def test_samples_that_say_nothing_are_refused(samples: list[RateSample], words: str):
    with pytest.raises(CapacityError, match=words):
        fit(samples)
