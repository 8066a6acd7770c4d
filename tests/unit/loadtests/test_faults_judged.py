"""What the benchmarks of faults, overload and swaps take for right, wrong, declared and recovered; without a server."""

import asyncio
import gc
import itertools
import time

import orjson
import pytest

from loadtests.bench.benchmarks.faults import FaultFindings, _recovered, rows
from loadtests.bench.load.checked_load import AnswerKind, Journal, judge
from loadtests.bench.load.overload_client import Overloaded, drive
from loadtests.bench.servers.swapped import Day
from serving.spec import ServingSpec

RIGHT, DEFAULT = 0.25, -1.0


def answer(score: float | None, *, degraded: bool = False, said: bool | None = None, source: str = "model") -> bytes:
    outputs = [{"name": "score", "data": [score]}, {"name": "degraded", "data": [degraded]}]
    parameters = {"degraded": degraded if said is None else said, "source": source}
    return orjson.dumps({"outputs": outputs, "parameters": parameters})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(200, answer(RIGHT), AnswerKind.FRESH, id="the right score"),
        pytest.param(200, answer(RIGHT, source="cache"), AnswerKind.FRESH, id="the right score, from a cache"),
        pytest.param(200, answer(DEFAULT), AnswerKind.WRONG, id="the score of defaults that does not say so"),
        pytest.param(200, answer(DEFAULT, degraded=True), AnswerKind.DEGRADED, id="the score of defaults that says so"),
        pytest.param(
            200, answer(DEFAULT, degraded=True, said=False), AnswerKind.WRONG, id="degraded in the row, not in the answer"
        ),
        pytest.param(200, answer(0.7, degraded=True), AnswerKind.WRONG, id="degraded does not excuse any score"),
        pytest.param(200, answer(None, degraded=True, source="rules"), AnswerKind.RULES, id="by rules, without a score"),
        pytest.param(200, answer(None, source="rules"), AnswerKind.WRONG, id="by rules, but not degraded"),
        pytest.param(200, answer(0.7), AnswerKind.WRONG, id="another score"),
        pytest.param(200, b"{}", AnswerKind.WRONG, id="an answer that is none"),
        pytest.param(200, b"<html>", AnswerKind.WRONG, id="no JSON"),
        pytest.param(503, b'{"error": "come back"}', AnswerKind.REFUSED, id="a refusal in the protocol's words"),
        pytest.param(429, b'{"error": ""}', AnswerKind.FAILED, id="a refusal that says nothing"),
        pytest.param(500, b'{"error": "a defect"}', AnswerKind.FAILED, id="a defect, whatever it says"),
        pytest.param(404, b'{"error": "unknown"}', AnswerKind.FAILED, id="a model that is there is not unknown"),
    ],
)
def test_what_an_answer_is(status, body, kind):
    found, said = judge(status, body, RIGHT, DEFAULT)
    assert found is kind
    assert bool(said) == (kind in (AnswerKind.WRONG, AnswerKind.FAILED)), "what is wrong is said in words"


async def test_back_is_when_the_last_bad_answer_came_not_when_the_first_good_one_did():
    now, journal = time.perf_counter(), Journal()
    journal.events += [
        (now - 3.0 + i / 100, 0.01, AnswerKind.LOST if i in (0, 50, 120) else AnswerKind.FRESH) for i in range(300)
    ]
    assert await _recovered(journal.events, now - 3.0) == pytest.approx(now - 1.8)


def test_one_wrong_answer_in_any_round_misses_the_target():
    good = FaultFindings([(0.0, 0.01, AnswerKind.FRESH)], 0.0, 100.0, 90.0, [])
    bad = FaultFindings([(0.0, 0.01, AnswerKind.WRONG), (0.0, 0.5, AnswerKind.REFUSED)], 0.0, 100.0, 50.0, ["x"])
    of_good = {r.name: r.is_met for r in rows({"f": [good]})}
    assert all(met is not False for met in of_good.values())
    assert {r.name for r in rows({"f": [bad]}) if r.is_met is False} == {"faults/f/wrong", "faults/f/p99", "faults/f/after"}
    assert [r.is_met for r in rows({"f": [good, good, bad]}) if r.name == "faults/f/wrong"] == [False]


@pytest.mark.heavy
async def test_the_open_loop_counts_what_nobody_waits_for_any_more():
    """Against a server that answers every third request late, refuses every third, and answers the rest."""
    number = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        while await reader.readuntil(b"\r\n\r\n"):
            number += 1
            turn = number % 3
            if turn == 0:
                await asyncio.sleep(0.15)
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}" % (b"429 X" if turn == 1 else b"200 OK"))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await drive(port, [[b"POST / HTTP/1.1\r\n\r\n"]], rate=60.0, duration_s=1.0, connections=20, deadline_s=0.1)
    server.close()
    assert found.offered == pytest.approx(60, rel=0.3)
    assert (found.failed, found.lost) == (0, 0)
    assert found.late > 5
    assert found.good > 5
    assert found.refused > 5
    assert gc.isenabled(), "only the generator's own process goes without its garbage collector"


def test_goodput_is_what_was_answered_in_time():
    found = Overloaded(10, 5, 20, 0, 5, 0, 1.0, 2.0, 1.0, 2.0, 2.0, 0.5)
    assert (found.goodput, found.offered) == (5.0, 20.0)


def test_a_day_of_swaps_is_one_of_valid_specifications_that_differ():
    bundles = [(f"m{i}", "sha256:" + f"{i}" * 64) for i in range(3)]
    day, specs = Day(bundles), []
    for index in range(90):
        day.swap(index)
        specs.append(ServingSpec.from_config(day.spec()))
    assert all(a != b for a, b in itertools.pairwise(specs)), "each swap changes something"
    assert len({m.revision.digest for spec in specs for m in spec.models}) > 10, "candidates are promoted"
    assert [len(ServingSpec.from_config(day.spec(without="m1")).models)] == [2]
