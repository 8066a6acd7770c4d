"""The arithmetic of the benchmarks of single arrivals."""

import asyncio
import gc
import time
from dataclasses import replace

import numpy as np
import pytest

from loadtests.bench.benchmarks.tails import open_load, timeline
from loadtests.bench.benchmarks.tails.entities import uniform, zipf
from loadtests.bench.errors import BenchError
from loadtests.bench.load.open_load import OpenSample
from loadtests.bench.servers.watched import LoopStall, StallWatch
from tests.waiting import until_so


def sample(p99_ms, p50_ms=1.0):
    return OpenSample(p50_ms, p50_ms, p99_ms, 2 * p99_ms, 1000.0, 1000, 0, 0.1, 0.1)


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("highest", range(-1, 8))
def test_the_highest_step_that_holds_is_found_from_wherever_the_search_begins(first, highest):
    asked = []

    def holds(step):
        asked.append(step)
        return step <= highest

    assert open_load.highest_step(holds, first, 7) == highest
    assert len(asked) == len(set(asked)) <= abs(first - highest) + 2


def test_a_step_gets_a_second_attempt_and_a_load_that_fails_is_not_held():
    answers = [12.0, 9.0]
    assert open_load.is_held(lambda _: sample(answers.pop(0)), 1000.0)
    assert not answers
    assert not open_load.is_held(lambda _: sample(10.0), 1000.0)
    answers = [31.0, 9.0]
    assert not open_load.is_held(lambda _: sample(answers.pop(0)), 1000.0)
    assert answers == [9.0], "far beyond the bound: no second attempt"

    def failing(_):
        raise BenchError("not answered")

    assert not open_load.is_held(failing, 1000.0)


def test_rates_are_held_against_the_bare_servers_of_the_same_round():
    rows = {
        r.name: r
        for r in open_load.rate_rows(
            {"bare": [1000.0, 2000.0], "vedette-zipf": [700.0, 1000.0], "vedette-uniform": [0.0, 900.0]}
        )
    }
    assert rows["open-load/vedette-zipf/highest-rate"].ratio == pytest.approx(0.6)
    assert rows["open-load/vedette-zipf/highest-rate"].is_met
    assert rows["open-load/vedette-uniform/highest-rate"].is_met is False
    assert "in 1 of 2 rounds" in rows["open-load/vedette-uniform/highest-rate"].problem


def test_what_vedettes_p50_adds_is_a_difference_of_the_same_round():
    sparse = {"bare": [sample(2.0, 0.3), sample(2.0, 0.5)], "vedette-zipf": [sample(4.0, 0.4), sample(6.0, 0.8)]}
    rows = {r.name: r for r in open_load.sparse_rows(sparse)}
    assert rows["open-load/vedette-zipf/p50-added-1000"].value == pytest.approx(0.2)
    assert rows["open-load/vedette-zipf/p50-added-1000"].is_met is False
    assert rows["open-load/vedette-zipf/p99-1000"].value == 5.0
    assert rows["open-load/bare/p99-1000"].target is None


def test_entities_are_drawn_as_is_said():
    shares = np.sort(np.bincount(zipf(2000), minlength=2000))[::-1] / 16_384
    assert shares[0] == pytest.approx(0.17, abs=0.02)
    assert shares[:10].sum() == pytest.approx(0.45, abs=0.03)
    assert zipf(2000) == zipf(2000) != zipf(2000, seed=6)
    assert np.bincount(uniform(2000), minlength=2000).max() < 30


def test_a_request_without_marks_and_marks_without_a_request_are_left_out():
    times = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]
    marks = [(0.1, 0.2, 0.3, 0.4), (1.1, 1.2, 1.4, 1.7), (5.2, 5.4, 5.5, 5.7)]
    found = timeline.parts_of(times, marks)
    assert found["to-the-door"] == pytest.approx([0.1, 0.2])
    assert found["redis"] == pytest.approx([0.2, 0.1])
    assert found["to-the-client"] == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize(
    ("stall", "cause"),
    [
        pytest.param((0.004, 0.0, 0.0, 0.0), "own work", id="the loop itself worked"),
        pytest.param((0.001, 0.004, 0.0, 0.0), "no core", id="others had the cores"),
        pytest.param((0.001, 0.0, 0.004, 0.0), "interpreter", id="it slept though a timer was due"),
        pytest.param((0.004, 0.0, 0.0, 0.003), "garbage", id="most of its work was the collector's"),
    ],
)
def test_a_stalls_cause_is_where_its_time_went(stall, cause):
    ran, queued, slept, garbage = stall
    one = LoopStall(0.005, ran, queued, slept, garbage, "", 0.0)
    assert one.cause == cause
    assert timeline.lateness([one, one])[cause] == pytest.approx(0.01)
    assert sum(timeline.lateness([one]).values()) == pytest.approx(0.005)


def test_the_doors_thread_is_the_one_that_worked_in_between_not_the_one_that_worked_most_before():
    used = timeline.spent({"main": 30.0, "doors": 1.0}, {"main": 30.01, "doors": 2.0, "new": 0.02})
    assert used == pytest.approx({"doors": 1.0, "other-threads": 0.03})


async def test_a_long_turn_of_the_loop_is_a_stall_with_what_it_ran():
    """Counted in processor time, so a machine that is busy changes nothing."""
    before, stalls = list(gc.callbacks), []
    watch = StallWatch()

    def work():
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            pass

    def is_seen():
        stalls.extend(watch.take().stalls)
        return any(stall.ran_s >= 0.019 for stall in stalls)

    asyncio.get_running_loop().call_soon(work)
    try:
        await until_so(is_seen)
    finally:
        watch.close()
    assert gc.callbacks == before


def test_answers_without_features_hold_no_rate_however_quick_they_are():
    assert open_load.is_held(lambda _: replace(sample(3.0), without_features=0.009), 1000.0)
    assert not open_load.is_held(lambda _: replace(sample(3.0), without_features=0.02), 1000.0)
    sparse = {"bare": [sample(2.0)], "vedette-zipf": [replace(sample(3.0), without_features=0.02)]}
    rows = {r.name: r for r in open_load.sparse_rows(sparse)}
    assert rows["open-load/vedette-zipf/without-features-1000"].is_met is False
    assert "open-load/bare/without-features-1000" not in rows
