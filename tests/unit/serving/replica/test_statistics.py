"""Counts of answers."""

import time

from serving.replica.statistics import ModelTally


def test_successes_and_failures_are_counted_apart():
    tally = ModelTally()
    began = time.perf_counter_ns() - 1_000_000
    tally.count(began, is_success=True)
    tally.count(began, is_success=True)
    tally.count(began, is_success=False)
    found = tally.read("m", "1")
    assert (found.name, found.version, found.successes, found.failures) == ("m", "1", 2, 1)
    assert found.success_ns >= 2_000_000
    assert found.failure_ns >= 1_000_000
    assert found.last_ms > 0


def test_what_never_answered_says_so():
    assert ModelTally().read("m", "1").last_ms == 0
