"""Replica arithmetic: one owner of the count, and a candidate's own replicas by its share."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.rollout import replicas
from operators.rollout.replicas import candidate_replicas, clamp, wanted_replicas

PERCENT = st.floats(0, 100)


def test_the_examples_hold() -> None:
    assert doctest.testmod(replicas).failed == 0


@pytest.mark.parametrize(
    ("total", "weight", "expected"),
    [
        pytest.param(10, 0, 1, id="dark: one, to be looked at"),
        pytest.param(10, 1, 1, id="never less than one while it is met"),
        pytest.param(10, 25, 3, id="its share, rounded up"),
        pytest.param(10, 30, 3, id="a share that comes out even is not rounded up"),
        pytest.param(10, 100, 10, id="all of it: as many as stable"),
        pytest.param(0, 50, 1, id="also where stable sleeps"),
    ],
)
def test_replicas_of_its_own(total: int, weight: float, expected: int) -> None:
    assert candidate_replicas(total, weight) == expected


@given(st.integers(1, 500), PERCENT, PERCENT)
def test_a_candidate_has_enough_for_its_share_and_never_fewer_for_more(total: int, weight: float, other: float) -> None:
    assert total * weight / 100 - 1e-6 <= candidate_replicas(total, weight) <= total
    assert candidate_replicas(total, min(weight, other)) <= candidate_replicas(total, max(weight, other))


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


@pytest.mark.parametrize(
    ("count", "least", "most", "expected"), [(3, 5, 4, 4), (3, None, None, 3), (0, 2, None, 2), (9, None, 4, 4)]
)
def test_the_upper_bound_has_the_last_word(count: int, least: int | None, most: int | None, expected: int) -> None:
    assert clamp(count, least, most) == expected
