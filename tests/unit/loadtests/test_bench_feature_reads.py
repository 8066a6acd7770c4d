"""The arithmetic of the open loop and of the figures with features."""

from itertools import pairwise

import pytest

from loadtests.bench.benchmarks import features_http, rows
from loadtests.bench.errors import BenchError
from loadtests.bench.load.connections import Latencies, Schedule, SentRequest, arrivals
from loadtests.bench.load.open_load import OpenSample
from loadtests.bench.load.results import Sample
from loadtests.bench.worlds.feature_reads import ReadHistogram, quantile, read_rows


def test_arrivals_are_poisson_and_the_same_for_the_same_seed():
    due = arrivals(1000.0, 10.0, seed=3)
    assert due == arrivals(1000.0, 10.0, seed=3) != arrivals(1000.0, 10.0, seed=4)
    assert due == sorted(due)
    assert 0 < due[0] < due[-1] < 10
    assert len(due) == pytest.approx(10_000, rel=0.05)
    gaps = [b - a for a, b in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    assert sum((g - mean) ** 2 for g in gaps) / len(gaps) == pytest.approx(
        mean**2, rel=0.1
    )  # exponential: deviation is the mean


def answer(judge, due, sent, now, status=200):
    judge.answered(SentRequest(1, due, sent), status, b"", now)


def test_a_request_that_waits_for_a_connection_counts_from_when_it_was_due():
    schedule, judge = Schedule([0.1, 0.2, 0.3]), Latencies()
    assert schedule.take(0.1, idle=1) == [0.1]
    assert schedule.take(0.3, idle=0) == []  # the one connection is busy: a closed loop would not have asked
    answer(judge, due=0.1, sent=0.1, now=1.0)
    assert schedule.take(1.0, idle=1) == [0.2]
    answer(judge, due=0.2, sent=1.0, now=1.1)
    assert not schedule.is_done
    assert schedule.take(1.1, idle=1) == [0.3]
    assert schedule.is_done
    answer(judge, due=0.3, sent=1.1, now=1.2)
    assert judge.took == pytest.approx([0.9, 0.9, 0.9])  # coordinated omission would say 0.9, 0.1, 0.1


def test_the_generator_is_late_only_for_what_found_an_idle_connection():
    schedule = Schedule([0.1, 0.2])
    schedule.take(0.15, idle=1)
    schedule.take(0.25, idle=0)
    schedule.take(0.9, idle=1)
    assert schedule.late == pytest.approx([0.05])
    assert schedule.next_due is None


def test_a_request_that_waited_longer_than_its_deadline_is_never_sent():
    schedule = Schedule([0.0, 0.5, 1.0], give_up_s=0.6)
    assert schedule.take(1.0, idle=1) == [0.5]
    assert schedule.unsent == 2  # the first was dropped, the last waits
    assert schedule.take(1.1, idle=2) == [1.0]
    assert (schedule.unsent, schedule.is_done) == (1, True)
    assert schedule.late == pytest.approx([0.5]), "what waited for a connection says nothing of the generator"


def test_failed_answers_are_counted_by_their_status():
    judge = Latencies()
    for status in (200, 503, 404, 503):
        answer(judge, due=0.0, sent=0.0, now=1.0, status=status)
    assert judge.failures == {503: 2, 404: 1}
    assert len(judge.took) == 4


def test_quantiles_of_a_histogram():
    buckets = {0.001: 90.0, 0.01: 100.0, float("inf"): 100.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.001 * 50 / 90)
    assert quantile(buckets, 0.99) == pytest.approx(0.001 + 0.009 * 0.9)
    assert quantile({0.001: 0.0, 0.01: 90.0, float("inf"): 100.0}, 0.99) == 0.01  # beyond the last bound: at least that
    with pytest.raises(BenchError, match="no request read features"):
        quantile({0.001: 0.0, float("inf"): 0.0}, 0.99)


def closed(bare_ms, raw_ms, ours_ms):
    return {
        (who, 32): [Sample(ms, 2 * ms, 32_000 / ms) for ms in taken]
        for who, taken in (("raw-read", raw_ms), ("bare", bare_ms), ("vedette", ours_ms))
    }


@pytest.mark.parametrize(
    ("ours_ms", "is_met"),
    [
        pytest.param([2.5, 5.0], True, id="one bare request and one and a half reads is what it may take"),
        pytest.param([2.6, 5.1], False, id="more is a miss"),
    ],
)
def test_what_a_read_may_add_is_taken_round_by_round(ours_ms, is_met):
    found = {r.name: r for r in features_http.closed_rows(closed([1.0, 2.0], [1.0, 2.0], ours_ms))}
    assert found["features-http-allowed/vedette/c32/p50"].is_met is is_met
    assert found["features-http/vedette/c32/rate"].target.words("req/s") == ">= 0.5x"
    assert found["features-http/vedette/c32/rate"].ratio_to == "features-http/bare/c32/rate"


def test_the_open_loop_is_judged_by_its_p99_and_a_failure_is_a_row():
    fine = OpenSample(1.0, 5.0, 9.9, 50.0, 700.0, 700, 0, 0.5, 0.2)
    found = {r.name: r for r in features_http.open_rows({"vedette": [fine, fine]}, {"bare": "too slow"})}
    assert found["features-http-open-70/vedette/c32/p99"].is_met is True
    assert found["features-http-open-70/vedette/c32/p99.9"].target is None
    assert found["features-http-open-70/bare/c32/p99"].problem == "too slow"
    broken = {r.name: r for r in features_http.open_rows({"vedette": [fine], "bare": [fine]}, {"vedette": "closed"})}
    assert broken["features-http-open-70/vedette/c32/p99"].is_met is False  # not measured is not met


def test_a_state_of_the_store_holds_only_if_its_changer_got_its_work_done():
    taken = [ReadHistogram(1.0, 5.0, 9.0, {"rows": 3_000.0}, failed) for failed in (0, 2, 0)]
    found = {r.name: r for r in read_rows({"rows": taken}, {"registry": "no Feast"})}
    assert found["features-read/rows/c32/p99"].is_met is True
    assert found["features-read/rows/changed/rows"].is_met is False
    assert (found["features-read/rows/c32/failed"].value, found["features-read/rows/c32/failed"].is_met) == (2, False)
    assert found["features-read/registry/c32/p99"].problem == "no Feast"


def test_many_rows_are_held_against_the_session_alone():
    found = {
        r.name: r for r in rows.rows({"onnxruntime": [100.0, 200.0], "vedette-binary": [60.0, 90.0], "bare-json": [1.0, 1.0]})
    }
    ours = found["rows-1000/vedette-binary/rate"]
    assert (ours.ratio, ours.target.words("rows/s"), ours.is_met) == (pytest.approx(0.525), ">= 0.7x", False)
    assert found["rows-1000/bare-json/rate"].target is None


def test_ways_of_many_rows_take_turns():
    asked = []
    ways = {name: lambda index, name=name: asked.append(name) for name in "ab"}
    found = rows.measure(ways, rounds=2, duration_s=0.0)
    assert asked == ["a", "b", "b", "a"], "each round begins at the other end"
    assert {name: len(taken) for name, taken in found.items()} == {"a": 2, "b": 2}
