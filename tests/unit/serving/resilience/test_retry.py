"""Retries: a share of the calls, spread in time, and never beyond what is left."""

import random

from hypothesis import given
from hypothesis import strategies as st

from serving.resilience.retry import RetryBudget, pause_s


@given(st.lists(st.booleans(), max_size=500))
def test_retries_are_a_share_of_the_calls(fails):
    budget = RetryBudget(share=0.1, most=5)
    for is_failed in fails:
        budget.earn()
        if is_failed:
            budget.spend()
    assert budget.spent <= 5 + 0.1 * len(fails)
    assert 0.0 <= budget.tokens <= 5


def test_a_dependency_that_fails_altogether_is_asked_a_tenth_more():
    budget = RetryBudget(share=0.1, most=5)
    for _ in range(1000):
        budget.earn()
        budget.spend()
    assert 100 <= budget.spent <= 106
    assert budget.refused == 1000 - budget.spent


@given(st.integers(0, 10_000), st.floats(-1.0, 1.0), st.integers())
def test_a_pause_leaves_as_much_time_again(attempt, left_s, seed):
    wait_s = pause_s(attempt, left_s, random.Random(seed))
    assert wait_s is None or (0.0 <= wait_s <= 0.05 and 2 * wait_s < left_s)


def test_callers_do_not_come_in_step():
    rng = random.Random(1)
    waits = [pause_s(3, 1.0, rng) for _ in range(1000)]
    assert min(waits) < 0.001 < 0.015 < max(waits) <= 0.016
