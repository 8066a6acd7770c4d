import numpy as np
import pytest

from operators.capacity.errors import CapacityError
from operators.capacity.fitting import QUANTILES, RateSample, busy_s_of, fit
from operators.capacity.waiting import ReplicaWork, quantile_s, quantiles_s

RATES = (500.0, 1000.0, 1500.0)
REAL = ReplicaWork(180e-6, 0.25, 0.0004, 15, 0.003)
SLOW = ReplicaWork(180e-6, 0.25, 0.0004, 6, 0.05)
"""The same replica while others take its core for long."""


def a_round(work: ReplicaWork = REAL, *, rng: np.random.Generator | None = None, knows_waits: bool = True) -> list[RateSample]:
    """A load at each rate. rng: for latencies that are a tenth off; without one they are exact."""
    found = []
    for rate in RATES:
        p50, p90, p99 = (
            t * (1 if rng is None else float(np.exp(rng.normal() * 0.1))) for t in quantiles_s(work, rate, QUANTILES)
        )
        waited = rate * 30e-6 + work.paused if knows_waits else None
        found.append(RateSample(rate, 0.05 + rate * 150e-6, (p50, p90, p99), waited))
    return found


@pytest.mark.heavy
def test_the_queue_is_found_again_from_its_latencies_at_lower_rates():
    found = fit(a_round())
    assert quantile_s(found, 2000) == pytest.approx(quantile_s(REAL, 2000), rel=0.1)
    assert found.busy_s == pytest.approx(REAL.busy_s, rel=0.2)
    assert found.paused == pytest.approx(REAL.paused, rel=0.3)
    assert found.pause_s == pytest.approx(REAL.pause_s, rel=0.3)


@pytest.mark.heavy
def test_interruptions_that_come_with_the_requests_are_told_from_pauses():
    """Where one of 25 requests is put off by 1.5 ms, twice the requests wait for more than twice as much."""
    real = ReplicaWork(230e-6, 0.25, 0.0003, 5, 0.0015, 0.04)
    found = fit(
        [
            RateSample(r, 0.05 + r * 210e-6, quantiles_s(real, r, QUANTILES), real.busy(r) - 0.05 - r * 210e-6)  # type: ignore[arg-type]
            for r in (800.0, 1200.0, 1600.0)
        ]
    )
    assert found.interrupted == pytest.approx(real.interrupted, rel=0.4)
    assert quantile_s(found, 2000) == pytest.approx(quantile_s(real, 2000), rel=0.1)


@pytest.mark.heavy
def test_without_the_waits_for_a_core_the_latencies_are_enough():
    assert quantile_s(fit(a_round(knows_waits=False)), 2000) == pytest.approx(quantile_s(REAL, 2000), rel=0.1)


@pytest.mark.heavy
def test_one_bad_round_of_five_does_not_move_the_prediction():
    rng = np.random.default_rng(4)
    good = [sample for _ in range(5) for sample in a_round(rng=rng)]
    bad = [*good[: 4 * len(RATES)], *a_round(SLOW)]
    without, with_it = quantile_s(fit(good), 2000), quantile_s(fit(bad), 2000)
    assert quantile_s(SLOW, 2000) > 5 * without
    assert with_it == pytest.approx(without, rel=0.2)
    assert with_it == pytest.approx(quantile_s(REAL, 2000), rel=0.2)


def test_processor_time_without_requests_is_no_part_of_a_request():
    assert busy_s_of([RateSample(r, 0.3 + r * 1e-4, (1, 1, 1)) for r in (100, 200, 400)]) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([RateSample(100, 0.1, (1, 1, 1))] * 2, "two rates"),
        ([RateSample(100, 0.2, (1, 1, 1)), RateSample(200, 0.1, (1, 1, 1))], "did not grow"),
        ([RateSample(100, 0.1, (0, 1, 1)), RateSample(200, 0.2, (1, 1, 1))], "not above 0"),
    ],
)
def test_samples_that_say_nothing_are_refused(samples: list[RateSample], words: str):
    with pytest.raises(CapacityError, match=words):
        fit(samples)
