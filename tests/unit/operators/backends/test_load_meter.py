"""Requests under way, worked out from what the counters grew by: also those that no gauge sees."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from operators.backends.evidence import read_samples
from operators.backends.exposition import samples, series
from operators.backends.load import LoadMeter
from serving.telemetry.loop_lag import LOOK_EVERY_S, LoopLag
from tests.waiting import until_so

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MODEL = 'model="ids",version="1",variant="stable",door="http"'


def page(*, answered=0, taken_s=0.0, late_s=0.0, looks=0, gauge=0, replica="r1") -> str:
    who = f'replica="{replica}"'
    return (
        f'vedette_requests_total{{{who},{MODEL},outcome="ok"}} {answered}\n'
        f'vedette_request_seconds_sum{{{who},{MODEL},stage="total"}} {taken_s}\n'
        f'vedette_request_seconds_sum{{{who},{MODEL},stage="model"}} {taken_s / 2}\n'
        f"vedette_loop_late_seconds_total{{{who}}} {late_s}\nvedette_loop_looks_total{{{who}}} {looks}\n"
        f"vedette_ongoing_requests{{{who}}} {gauge}\n"
    )


def between(before: str, after: str, seconds: float = 10.0):
    meter = LoadMeter()
    for at, text in ((START, before), (START + timedelta(seconds=seconds), after)):
        scrape = read_samples("ids", [[(series(t), v) for t, v in samples(text)]], at)
        load = meter.measure("s", scrape, ready_replicas=1, wanted_replicas=1)
    return load


@pytest.mark.parametrize(
    ("after", "ongoing", "queued"),
    [
        pytest.param({"answered": 1000, "taken_s": 20.0, "looks": 200}, 2.0, 0.0, id="100 a second of 20 ms each are two under way"),
        pytest.param(
            {"answered": 5000, "taken_s": 5.0, "late_s": 4.0, "looks": 160}, 13.0, 12.5, id="a loop that is late has them in its sockets"
        ),
        pytest.param({"answered": 10, "taken_s": 0.1, "looks": 200, "gauge": 30}, 30.0, 0.0, id="the gauge counts where it says more"),
        pytest.param({"late_s": 9.0, "looks": 10}, 0.0, 0.0, id="a late loop that answers nobody has nobody waiting"),
        pytest.param({"answered": 1000, "taken_s": 20.0}, 2.0, 0.0, id="a replica that does not look at its loop"),
    ],
)  # fmt: skip
def test_requests_under_way(after, ongoing, queued):
    load = between(page(), page(**after))
    assert (load.ongoing, load.queued) == (pytest.approx(ongoing), pytest.approx(queued))


def test_a_replica_that_came_in_between_adds_what_it_began_with_nowhere():
    load = between(page(), page() + page(replica="r2", answered=900, taken_s=500.0, late_s=50.0, looks=10))
    assert load.ongoing == 0


async def test_a_loop_that_is_held_up_says_by_how_much():
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    await until_so(lambda: lag.looks)
    seconds, looks = lag.seconds, lag.looks
    time.sleep(4 * LOOK_EVERY_S)  # what a model that runs on the loop does
    await until_so(lambda: lag.looks > looks)
    watching.cancel()
    assert lag.seconds - seconds > 2 * LOOK_EVERY_S
