"""What the demonstration counts: a client that is refused because the machine is busy asks again; who never gets an answer has failed."""

import asyncio

import pytest

from operators.cli.demo.traffic import MOST_UNDER_WAY, DemoTraffic, TrafficAnswer, TrafficEvent, _Refused

ANSWER = TrafficAnswer("stable", "1", "benign")


@pytest.mark.parametrize(
    ("refusals", "expected"),
    [
        pytest.param(0, (1, 0, 0), id="answered at once"),
        pytest.param(2, (1, 2, 0), id="refused twice, then answered"),
        pytest.param(9, (0, 5, 1), id="refused as often as it asks"),
    ],
)
async def test_a_refused_client_asks_again(refusals: int, expected: tuple[int, int, int]):
    traffic, left = DemoTraffic("http://127.0.0.1:1", "127.0.0.1:1", "ids", iter(()), 1.0), refusals

    async def ask() -> TrafficAnswer:
        nonlocal left
        if left:
            left -= 1
            raise _Refused(0.0)
        return ANSWER

    await traffic._counted(ask)

    counts = traffic.counts
    assert (counts.answered, counts.refused, counts.failed) == expected
    assert traffic.total.refused == counts.refused


async def test_any_other_failure_is_one_at_once():
    traffic = DemoTraffic("http://127.0.0.1:1", "127.0.0.1:1", "ids", iter(()), 1.0)

    async def ask() -> TrafficAnswer:
        raise RuntimeError("HTTP 500")

    await traffic._counted(ask)
    assert (traffic.counts.answered, traffic.counts.refused, traffic.counts.failed) == (0, 0, 1)
    assert "HTTP 500" in traffic.counts.failures[0]


async def test_a_busy_machine_is_asked_no_more_than_it_answers():
    traffic, answer = DemoTraffic("http://127.0.0.1:1", "127.0.0.1:1", "ids", iter(()), 1.0), asyncio.Event()

    async def ask() -> TrafficAnswer:
        await answer.wait()
        return ANSWER

    for _ in range(MOST_UNDER_WAY + 10):
        traffic._begin_one(ask)
    assert (len(traffic._under_way), traffic.counts.held_back) == (MOST_UNDER_WAY, 10)
    answer.set()
    await asyncio.wait(traffic._under_way)
    traffic._begin_one(ask)
    await asyncio.wait(traffic._under_way)
    assert (traffic.counts.answered, traffic.counts.held_back, traffic.counts.failed) == (MOST_UNDER_WAY + 1, 10, 0)


async def test_each_answer_is_told_with_the_event_that_it_is_about():
    told = []
    event = TrafficEvent({}, truth="scan")
    traffic = DemoTraffic("http://127.0.0.1:1", "127.0.0.1:1", "ids", iter(()), 1.0, lambda *one: told.append(one))

    async def ask() -> TrafficAnswer:
        return ANSWER

    assert await traffic._noted(event, ask) == ANSWER
    assert told == [(event, ANSWER)]
