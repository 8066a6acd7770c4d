"""What a replay forecasts, and when it refuses to."""

import numpy as np
import pytest

from operators.labs.forecast import Forecast, Replayed, TooLittle, forecast

BENIGN, INVESTIGATE, ALERT, FAILS = 0, 1, 2, -1


def replayed(stable: list[int], candidate: list[int], *, span_s: float = 3600.0, entities: int | None = None) -> Replayed:
    owners = [f"host-{i % (entities or len(stable))}".encode() for i in range(len(stable))]
    return Replayed(
        entities=owners,
        logged=list(stable),
        stable=list(stable),
        candidate=list(candidate),
        requests=len(stable),
        span_s=span_s,
    )


def told(stable: list[int], candidate: list[int], **more: object) -> Forecast:
    return forecast(replayed(stable, candidate, **more), np.random.default_rng(1))  # type: ignore[arg-type]


QUIET = [BENIGN] * 1000


@pytest.mark.parametrize(
    ("rows", "span_s"),
    [pytest.param(100, 3600.0, id="too few rows"), pytest.param(1000, 3.0, id="too short a time")],
)
def test_too_little_is_refused_with_what_there_is(rows: int, span_s: float):
    with pytest.raises(TooLittle, match=f"{rows} rows of {span_s:.0f} s"):
        told([BENIGN] * rows, [BENIGN] * rows, span_s=span_s)


def test_alerts_are_scaled_to_a_day_and_the_interval_holds_the_estimate():
    found = told(QUIET, [ALERT] * 30 + [BENIGN] * 970)
    estimate, low, high = found.added_per_day
    assert estimate == 30 * 24
    assert 0 < low < estimate < high
    assert found.flips == {"benign>alert": 30}


def test_fewer_alerts_are_a_negative_number():
    estimate, low, high = told([ALERT] * 40 + [BENIGN] * 960, QUIET).added_per_day
    assert low < estimate == -40 * 24 < high < 0


def test_no_change_at_all_is_not_certainty():
    estimate, low, high = told(QUIET, QUIET).added_per_day
    assert estimate == 0
    assert low < 0 < high


def test_rows_of_few_entities_say_less_than_rows_of_many():
    candidate = [ALERT] * 100 + [BENIGN] * 900
    many, few = told(QUIET, candidate), told(QUIET, candidate, entities=20)
    assert few.added_per_day[2] - few.added_per_day[1] < 1e9
    alike = [ALERT if i % 20 == 0 else BENIGN for i in range(1000)]
    few = told(QUIET, alike, entities=20)
    many = told(QUIET, alike)
    assert few.added_per_day[2] - few.added_per_day[1] > 2 * (many.added_per_day[2] - many.added_per_day[1])


@pytest.mark.heavy
def test_the_interval_covers_in_95_of_100_days_like_this_one():
    rng = np.random.default_rng(5)
    rate, covered = 0.02, 0
    for _ in range(200):
        candidate = np.where(rng.random(1000) < rate, ALERT, BENIGN).tolist()
        _, low, high = told(QUIET, candidate).added_per_day
        covered += low <= rate * 1000 * 24 <= high
    assert covered >= 180


def test_a_row_the_candidate_fails_on_is_no_flip_and_no_alert():
    found = told([ALERT] * 10 + [BENIGN] * 990, [FAILS] * 10 + [BENIGN] * 990)
    assert (found.failed_rows, found.flips, found.added_per_day[0]) == (10, {}, 0)


def test_it_says_how_much_of_the_log_stable_gives_again():
    given = replayed(QUIET, QUIET)
    given.logged = [ALERT] * 100 + [BENIGN] * 900
    assert forecast(given, np.random.default_rng(1)).reproduced_ratio == 0.9
