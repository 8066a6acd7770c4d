"""Replica arithmetic."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.rollout import replicas
from operators.rollout.replicas import Own, own_replicas, shared_replicas, wanted_replicas, work_ratio

PERCENT = st.floats(0, 100)


def test_the_examples_hold() -> None:
    assert doctest.testmod(replicas).failed == 0


@pytest.mark.parametrize(
    ("total", "weight", "mirror", "ready", "is_aborted", "expected"),
    [
        pytest.param(10, 0, 0, 0, False, Own(10, 0), id="dark: none of its own"),
        pytest.param(10, 1, 0, 0, False, Own(10, 1), id="never less than one while it is met"),
        pytest.param(10, 0, 1, 0, False, Own(10, 1), id="nor while it is mirrored to"),
        pytest.param(10, 25, 0, 2, False, Own(10, 3), id="stable is not made smaller before the candidate is ready"),
        pytest.param(10, 25, 0, 3, False, Own(8, 3), id="then it is"),
        pytest.param(10, 30, 0, 3, False, Own(7, 3), id="a share that comes out even is not rounded up"),
        pytest.param(10, 25, 100, 8, False, Own(8, 8), id="a mirror needs as many as it is sent"),
        pytest.param(10, 99, 0, 10, False, Own(1, 10), id="stable keeps one while it is met"),
        pytest.param(10, 100, 0, 10, False, Own(0, 10), id="and none when it is not"),
        pytest.param(10, 50, 0, 5, True, Own(10, 0), id="after an abort stable is whole at once"),
    ],
)
def test_replicas_of_their_own(total: int, weight: float, mirror: float, ready: int, is_aborted: bool, expected: Own) -> None:
    assert own_replicas(total, weight, mirror=mirror, ready_candidate=ready, is_aborted=is_aborted) == expected


def test_the_least_of_each_is_kept_while_it_is_met() -> None:
    assert own_replicas(10, 99, ready_candidate=10, least=3) == Own(3, 10)
    assert own_replicas(10, 1, ready_candidate=3, least=3) == Own(10, 3)
    assert own_replicas(10, 100, ready_candidate=10, least=3) == Own(0, 10)


@given(st.integers(1, 500), PERCENT, PERCENT, st.integers(0, 500))
def test_together_they_are_always_enough(total: int, weight: float, mirror: float, ready: int) -> None:
    own = own_replicas(total, weight, mirror=mirror, ready_candidate=ready)
    assert own.stable >= total * (100 - weight) / 100 - 1e-6
    assert own.candidate >= total * weight / 100 - 1e-6
    assert own.stable + min(own.candidate, ready) >= min(total, own.stable + ready), "before it is ready nothing is missing"


@given(PERCENT, PERCENT, st.floats(0.1, 10))
def test_shared_work_is_what_stable_and_candidate_score(weight: float, mirror: float, cost: float) -> None:
    requests = 1000.0
    candidate = requests * weight / 100
    copies = (requests - candidate) * mirror / 100
    assert work_ratio(weight, mirror, cost_ratio=cost) == pytest.approx(
        (requests - candidate + (candidate + copies) * cost) / requests
    )


@given(st.integers(1, 500), PERCENT, PERCENT, st.floats(0.1, 10))
def test_a_rollout_never_asks_for_fewer(count: int, weight: float, mirror: float, cost: float) -> None:
    assert shared_replicas(count, weight, mirror, cost_ratio=cost) >= count


@pytest.mark.parametrize(
    ("asked", "floor", "least", "most", "expected"),
    [
        pytest.param(None, 5, 1, 9, None, id="an autoscaler owns the count"),
        pytest.param(2, None, None, None, 2, id="the spec's"),
        pytest.param(2, 5, None, None, 5, id="no less than the rollout asks"),
        pytest.param(2, 5, None, 4, 4, id="no more than the most"),
        pytest.param(0, None, 1, None, 1, id="no less than the least"),
    ],
)
def test_who_owns_the_count(
    asked: int | None, floor: int | None, least: int | None, most: int | None, expected: int | None
) -> None:
    assert wanted_replicas(asked, floor, least, most) == expected
