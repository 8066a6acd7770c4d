from pathlib import Path

import pytest

from loadtests.bench.benchmarks.planning import capacity, costs
from loadtests.bench.benchmarks.planning.queue_rounds import RateLoad, order_of, times_of_threads
from loadtests.bench.benchmarks.records import sql
from loadtests.bench.load.open_load import OpenSample
from operators.capacity.waiting import ReplicaWork, quantile_s
from tests.docs.pages import ROOT

WORK = ReplicaWork(200e-6, 0.25, 0.0004, 10, 0.001)


def sample(rate: float, *, busy: float = 0.1, p99_ms: float = 2.0) -> RateLoad:
    return RateLoad(OpenSample(0.5, 1.0, p99_ms, 4.0, rate, 1000, 0, 0.05, 0.1), rate, busy, busy, 0.01)


def carried_out(p99s_ms: list[float], goal: float = 2000.0) -> capacity.CarriedOut:
    rounds = [[*(sample(goal * share) for share in capacity.SHARES), sample(goal, p99_ms=p99_ms)] for p99_ms in p99s_ms]
    return capacity.CarriedOut("rows kept", goal, rounds, WORK, [WORK])


@pytest.mark.parametrize(
    ("each_us", "cores", "expected"),
    [
        pytest.param(100, 2, 2000, id="what is asked for, if the machine can bear it"),
        pytest.param(500, 2, 1500, id="a replica is at most 75 % busy"),
        pytest.param(290, 1, 2000, id="one core is enough for 290 us"),
        pytest.param(20_000, 2, 100, id="never less than 100"),
    ],
)
def test_the_rate_that_is_predicted(monkeypatch: pytest.MonkeyPatch, each_us: float, cores: int, expected: float):
    monkeypatch.setattr(capacity.os, "cpu_count", lambda: cores)
    found = capacity.goal_of([sample(rate, busy=0.05 + rate * each_us / 1e6) for rate in (250.0, 500.0)])
    assert found == expected


@pytest.mark.parametrize(("off", "is_met"), [(1.0, True), (1.29, True), (0.72, True), (1.35, False), (0.6, False)])
def test_a_prediction_is_met_within_three_tenths(off: float, is_met: bool):
    p99_ms = quantile_s(WORK, 2000) * 1000
    rows = {row.name: row for row in capacity.rows(carried_out([p99_ms * off, p99_ms * off, p99_ms * 9]))}
    assert rows["capacity/off by/rows kept, 2,000 a second/p99"].is_met is is_met


def test_each_rate_meets_the_same_weather():
    """Of four rounds, each rate comes once at each place."""
    rates = [1.0, 2.0, 3.0, 4.0]
    orders = [order_of(rates, index) for index in range(4)]
    assert all(sorted(order[at] for order in orders) == rates for at in range(4))


def test_the_times_of_a_thread_are_its_own_and_in_seconds(tmp_path: Path):
    for thread, text in (("7", "1500000000 250000000 12\n"), ("8", "0 0 0\n")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text, encoding="ascii")
    (tmp_path / "9").mkdir()  # it ended
    assert times_of_threads(tmp_path) == {"7": (1.5, 0.25), "8": (0.0, 0.0)}


def test_the_bounds_of_a_queue_are_not_those_of_its_worst_round():
    works = [*[WORK] * 4, ReplicaWork(900e-6, 0.25, 0.0004, 10, 0.04)]
    found = capacity._doors(WORK, works, {"http/features": [200e-6]}, {"http/features": (300.0, 900.0)})
    assert found["http/features"].replica("high") == WORK


def test_a_round_that_says_nothing_is_left_out_of_the_bounds():
    told = [sample(rate, busy=0.3 - rate / 1e5) for rate in (500.0, 1000.0, 1500.0, 2000.0)]
    assert list(capacity._fits([told])) == []


def test_other_doors_have_the_queue_with_a_service_by_their_processor_time():
    wire = dict.fromkeys(("http/features", "grpc"), (300.0, 900.0))
    found = capacity._doors(WORK, [WORK], {"http/features": [200e-6], "grpc": [100e-6]}, wire)
    assert found["grpc"].busy_s.value == pytest.approx(WORK.busy_s / 2)
    assert found["grpc"].delay_s.value == WORK.delay_s


def test_bounds_of_pauses_are_those_of_a_replica_that_is_not_always_paused():
    works = [WORK, ReplicaWork(200e-6, 0.25, 0.0, 200.0, 0.002), ReplicaWork(200e-6, 0.25, 0.0, 1.0, 0.4)]
    found = capacity._doors(WORK, works, {"http/features": [200e-6]}, {"http/features": (300.0, 900.0)})
    assert found["http/features"].replica("high").paused <= 0.5


def test_a_metric_is_the_sum_of_its_series():
    page = '# HELP a b\nvedette_requests_total{door="http"} 3\nvedette_requests_total{door="grpc"} 4\nvedette_requests_total_more 9\n'
    assert costs.value_of(page, "vedette_requests_total") == 7


@pytest.mark.heavy
def test_a_streamed_event_costs_what_was_published(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)  # the ledger is named from there
    found = costs.event_work()
    assert 0 < found.cpu_s.low <= found.cpu_s.high < 0.01
    assert 20 < found.event_bytes.value < 2000
    assert 100 < found.verdict_bytes.value < 5000


@pytest.mark.heavy
def test_a_record_is_archived_in_a_part_of_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(costs, "DIFFERING", 300)
    lines = list(sql.differing_lines(100))
    (tmp_path / "segment-1-log-000001.jsonl").write_bytes(b"\n".join(lines[:1] * 200) + b"\n")
    (tmp_path / "segment-1-log-000001.hashes").write_bytes(b"x" * 200 * 32)
    found = costs.record_work(tmp_path)
    assert found.live_bytes.value == len(lines[0]) + 1 + 32
    assert 0 < found.archived_bytes.low < found.archived_bytes.high < len(lines[0])


def test_records_that_differ_have_their_own_receipts_and_times():
    first, second = sql.differing_lines(2)
    assert first != second
    assert sql.receipt_of(0, 1).encode() in second
