"""The sampler of the page Service: one look for all viewers, bounded memory, lines that have gaps where nothing is known."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from operators.backends.exposition import ReplicaPage
from operators.console.drawing.bars import bar_chart
from operators.console.drawing.lines import line_chart
from operators.console.service.page import charts
from operators.console.service.sampler import ReplicaSampler
from operators.control.port import Unreachable
from tests.fakes.operator.metrics_page import page

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_many_viewers_are_one_look():
    asked, clock = [], Clock()
    sampler = ReplicaSampler(lambda: asked.append(1) or (ReplicaPage("x", page("r")),), clock)
    viewers = [threading.Thread(target=sampler.look) for _ in range(20)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert len(asked) == 1
    clock.on(2)
    assert len(sampler.look().looks) == 2
    assert len(asked) == 2


@pytest.mark.heavy
def test_what_is_kept_is_bounded_and_rates_follow():
    clock, count = Clock(), [0]

    def pages():
        count[0] += 100
        return (ReplicaPage("x", page("r", count[0])),)

    sampler = ReplicaSampler(pages, clock)
    for _ in range(400):
        sampler.look()
        clock.on(2)
    seen = sampler.seen
    assert len(seen.looks) <= 160
    assert seen.newest is not None
    assert seen.newest.requests_per_s == 50
    drawn = charts(seen, "ids")
    assert [chart.title for chart in drawn][:2] == ["Requests", "Time in the service"]
    assert drawn[0].lines[0].now == 50
    assert "now answered 50" in drawn[0].words


def test_after_a_pause_the_past_is_forgotten():
    clock = Clock()
    sampler = ReplicaSampler(lambda: (ReplicaPage("x", page("r")),), clock)
    sampler.look()
    clock.on(600)
    seen = sampler.look()
    assert len(seen.looks) == 1
    assert seen.newest is not None
    assert seen.newest.over_s is None


def test_a_clock_that_is_set_back_stops_nothing():
    clock, count = Clock(), [0]

    def pages():
        count[0] += 100
        return (ReplicaPage("x", page("r", count[0])),)

    sampler = ReplicaSampler(pages, clock)
    sampler.look()
    clock.on(-3600)
    assert sampler.look().newest.at == clock.now
    clock.on(2)
    assert sampler.look().newest.requests_per_s == 50


def test_however_many_pages_wait_for_a_slow_look_it_is_one_thread():
    going = threading.Event()
    sampler = ReplicaSampler(lambda: (going.wait(), ())[1], Clock())
    before = threading.active_count()
    try:
        for _ in range(20):
            sampler.soon(0.001)
        assert threading.active_count() <= before + 1
    finally:
        going.set()


def test_a_control_plane_that_is_away_is_a_state():
    def away():
        raise Unreachable("the cluster does not answer")

    seen = ReplicaSampler(away, Clock()).look()
    assert seen.newest is not None
    assert seen.newest.away == ("the cluster does not answer",)
    assert all(line.path == "" for chart in charts(seen, "") for line in chart.lines)


def test_a_slow_look_holds_up_no_page():
    going = threading.Event()
    sampler = ReplicaSampler(lambda: (going.wait(), ())[1], Clock())
    try:
        assert sampler.soon(0.01).newest is None
    finally:
        going.set()


def test_a_line_has_gaps_where_nothing_is_known():
    chart = line_chart("x", "s", [4, 3, 2, 1, 0], [("a", [1.0, None, 1.0, float("nan"), 1.0])], 4)
    assert chart.lines[0].path.count("M") == 3


def test_bars_leave_out_what_nobody_has():
    chart = bar_chart("x", [f"bin {n}" for n in range(60)], [1.0] * 30 + [0.0] * 30, [0.0] * 60)
    assert len(chart.rows) == 30
    assert chart.paths[1] == ""
    assert [words for _, _, words in chart.names] == ["bin 0", "bin 29"]
    assert bar_chart("x", [], [], []).words == "x: nothing was counted"
