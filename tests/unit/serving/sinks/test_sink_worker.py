"""The worker between a topic and the spools: a place in the topic is recorded when every sink has the alerts, and not before."""

import threading
import time
from contextlib import contextmanager

import pytest

from serving.sinks.counts import SinkCounts
from serving.sinks.delivery import Delivery
from serving.sinks.flow.intake import IntakeRules
from serving.sinks.opening import OpenSink
from serving.sinks.pipeline import SinkPipeline
from serving.sinks.spool.dead_letters import DeadLetters
from serving.sinks.spool.spool import Spool
from serving.sinks.transports.backoff import Backoff
from serving.sinks.worker import OwnedPartitions, SinkWorker
from serving.stream.ports import OutRecord, Partition
from tests.fakes.sinks.alerts import an_alert, record
from tests.fakes.sinks.transport import FarEndInMemory
from tests.fakes.stream.broker import MemoryBroker, MemoryOutputs, MemorySource
from tests.waiting import HANG_S, until

TOPIC, GROUP = "alerts", "sinks"


class World:
    def __init__(self, folder):
        self.folder, self.broker = folder, MemoryBroker()
        self.broker.topic(TOPIC, 2)
        self.far_ends = {"a": FarEndInMemory(), "b": FarEndInMemory()}

    def produces(self, *numbers, event=None):
        for number in numbers:
            value = record(an_alert(number, host=f"h{number % 2}", event=event))
            self.broker.produce(TOPIC, OutRecord(TOPIC, value, partition=number % 2))

    def sink(self, name, folder, most_bytes):
        counts = SinkCounts()
        spool = Spool(folder / name, most_bytes=most_bytes)
        dead = DeadLetters(folder / "dead", name)
        delivery = Delivery(name, spool, self.far_ends[name], dead, counts, backoff=Backoff(0.001, 0.01))
        return OpenSink(name, SinkPipeline(name, IntakeRules(), spool, counts, time.monotonic()), spool, delivery, counts)

    @contextmanager
    def working(self, where="one", *, most_bytes=10**9):
        owned, folder = OwnedPartitions(), self.folder / where
        source = MemorySource(self.broker, [TOPIC], GROUP, owned)
        sinks = [self.sink("a", folder, most_bytes), self.sink("b", folder, 10**9)]
        commit = MemoryOutputs(self.broker, source).commit
        worker = SinkWorker(source, commit, sinks, DeadLetters(folder / "dead", "_topic"), owned)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        try:
            yield worker
        finally:
            worker.stopped.set()
            thread.join(HANG_S)
            assert not thread.is_alive()

    def recorded(self):
        positions = self.broker.positions(GROUP)
        return sum(positions[Partition(TOPIC, n)].offset for n in (0, 1) if Partition(TOPIC, n) in positions)

    def got(self, name):
        return [alert.id for alert in self.far_ends[name].taken]


def ids(*numbers):
    return {an_alert(number).id for number in numbers}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_every_sink_gets_every_alert_and_the_place_is_recorded(world):
    world.produces(*range(40))
    with world.working() as worker:
        until(lambda: world.recorded() == 40)
        until(lambda: all(len(world.got(name)) == 40 for name in "ab"))
        assert worker.is_ready()
        assert worker.is_alive()
    assert set(world.got("a")) == set(world.got("b")) == ids(*range(40))
    assert not any(sink.delivery.transport.is_closed is False for sink in worker.sinks)


def test_a_far_end_that_is_down_holds_up_no_other(world):
    world.far_ends["a"].is_down = True
    world.produces(*range(10))
    with world.working() as worker:
        until(lambda: len(world.got("b")) == 10)
        until(lambda: world.recorded() == 10)
        assert worker.is_ready()
    assert world.got("a") == []
    world.far_ends["a"].is_down = False
    with world.working():
        until(lambda: len(world.got("a")) == 10)


def test_while_a_spool_is_full_nothing_is_recorded_and_nothing_is_lost(world):
    world.far_ends["a"].is_down = True
    with world.working(most_bytes=64 * 1024) as worker:
        for number in range(20):
            world.produces(number, event={"x": "y" * 8000})
        until(lambda: worker.is_held)
        assert not worker.is_ready()
        held_at = world.recorded()
        assert held_at < 20
        world.far_ends["a"].is_down = False
        until(lambda: world.recorded() == 20)
        until(lambda: len(world.got("a")) == len(world.got("b")) == 20, lambda: (world.got("a"), world.got("b")))
        assert worker.is_ready()
    assert set(world.got("a")) == set(world.got("b")) == ids(*range(20))


def test_a_stop_while_a_spool_is_full_records_nothing_and_a_restart_sends_nothing_twice(world):
    world.far_ends["a"].is_down = True
    with world.working(most_bytes=64 * 1024) as worker:
        world.produces(*range(20), event={"x": "y" * 8000})
        until(lambda: worker.is_held)
    assert world.recorded() < 20
    world.far_ends["a"].is_down = False
    with world.working(most_bytes=10**9):
        until(lambda: world.recorded() == 20)
        until(lambda: len(world.got("a")) == len(world.got("b")) == 20, lambda: (world.got("a"), world.got("b")))
    assert set(world.got("a")) == set(world.got("b")) == ids(*range(20))


def test_what_is_no_alert_is_set_aside_and_the_place_moves_on(world):
    world.broker.produce(TOPIC, OutRecord(TOPIC, b"{}", partition=0), OutRecord(TOPIC, None, partition=0))
    world.produces(2)
    with world.working() as worker:
        until(lambda: world.recorded() == 3)
    assert worker.dead.kept == 2
    assert f"{TOPIC}/0/0" in worker.dead.path.read_text(encoding="utf-8")


def test_two_workers_share_the_partitions_and_lose_nothing(world):
    with world.working("one") as one:
        world.produces(*range(30))
        until(lambda: len(set(world.got("a"))) == 30)
        with world.working("two") as two:
            until(lambda: one.owned.now and two.owned.now and not one.owned.now & two.owned.now)
            world.produces(*range(30, 60))
            until(lambda: len(set(world.got("a"))) == 60)
        until(lambda: len(one.owned.now) == 2)
        world.produces(*range(60, 70))
        until(lambda: len(set(world.got("a"))) == 70)
        until(lambda: world.recorded() == 70)
    assert set(world.got("a")) == ids(*range(70))
