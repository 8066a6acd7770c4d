"""Exactly one verdict for each event, whatever fails: workers killed, the broker restarted, partitions moved to and fro.

A failure comes at a number of committed events, so at any place of a batch: while it is read, scored, written or committed."""

from dataclasses import dataclass
from itertools import cycle

import pytest

from serving.loading.served_file import ServedFile, newest_of_each
from serving.models.store import BundleStore
from tests.fakes import kafka_broker
from tests.integration.stream.stream_chaos import (
    RunResults,
    SentEvent,
    StreamRun,
    essence,
    evenly,
    flows,
    merged,
    results_of,
)
from tests.trained import trained_flows

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("streams under failures")]


@dataclass(frozen=True)
class Failures:
    """How much goes wrong in a run of so many events."""

    events: int
    kills: int
    broker_restarts: int
    rebalances: int


SMALL = Failures(events=10_000, kills=3, broker_restarts=1, rebalances=1)
LARGE = Failures(events=200_000, kills=20, broker_restarts=2, rebalances=3)


@pytest.fixture(scope="module")
def broker():
    """One of these tests' own: it is stopped and killed."""
    if why := kafka_broker.unavailable():
        pytest.skip(why)
    own = kafka_broker.KafkaBroker().wait()
    yield own
    own.remove()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The flows detector on generated rows, served; its features are windows of the stream."""
    root = trained_flows(tmp_path_factory.mktemp("store"))
    ServedFile(root).write(newest_of_each(BundleStore(root)))
    return root


@pytest.fixture
def run_of(broker, store, tmp_path):
    runs = []

    def opened(name: str) -> StreamRun:
        runs.append(StreamRun(broker, store, tmp_path, name))
        return runs[-1]

    yield opened
    for run in runs:
        run.end()


@pytest.mark.parametrize(
    "failures", [pytest.param(SMALL, id="few"), pytest.param(LARGE, id="many", marks=[pytest.mark.soak, pytest.mark.slow])]
)
def test_one_verdict_for_each_event_whatever_fails(run_of, broker, failures):
    events = list(flows(failures.events))
    calm, wild = run_of("calm"), run_of("wild")
    expected = undisturbed(calm, events)
    found = disturbed(wild, broker, events, failures)

    places = wild.sent.keys()
    poison = {place for place in places if wild.sent[place].is_poison}
    assert found.verdicts.keys() == places - poison, "none lost, none made up"
    assert found.dead.keys() == poison, "what is no event is set aside, each with its reason"
    assert found.doubled() == 0
    assert {place: essence(one) for place, (one,) in found.verdicts.items()} == {
        place: essence(one) for place, (one,) in expected.verdicts.items()
    }
    assert found.alerts.keys() == {place for place, (one,) in found.verdicts.items() if one.verdict == "alert"}
    assert found.state == expected.state, "the windows are those of a run that nothing happened to"


def undisturbed(run: StreamRun, events: list[SentEvent]) -> RunResults:
    run.send(events)
    run.start("one")
    run.finish()
    found = results_of(run)
    assert len(found.verdicts) + len(found.dead) == len(events)
    return found


def disturbed(run: StreamRun, broker, events: list[SentEvent], failures: Failures) -> RunResults:
    """Worker `one` works all the time; `two` comes and goes, and each change moves partitions."""
    total, turns = len(events), cycle(["one", "two"])
    run.send(events)
    run.start("one")

    def kill(number: int) -> None:
        name = next(name for name in turns if name in run.workers)
        run.kill(name)
        run.start(name)

    def restart_broker(number: int) -> None:
        (broker.stop if number % 2 else broker.kill)()
        broker.start()
        broker.wait()

    def come_or_go(number: int) -> None:
        if "two" in run.workers:
            run.stop("two")
        else:
            run.start("two")
            run.until_working("two")

    acts = merged(
        (evenly(total, failures.kills), kill),
        (evenly(total, failures.broker_restarts), restart_broker),
        (evenly(total, 2 * failures.rebalances), come_or_go),
    )
    for at, act in acts:
        run.until_committed(at)
        act()
    run.finish()
    return results_of(run)
