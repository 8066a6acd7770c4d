"""The follower and the group loop on a broker in memory: every signal reaches the ledger, whatever goes down meanwhile."""

import threading
from types import SimpleNamespace

import msgspec
import pytest

from serving.risk.ledger import LedgerDown
from serving.risk.rules_of_risk import RiskRules
from serving.risk.sqlite_ledger import SqliteLedger
from serving.stream.answers import BatchScorer
from serving.stream.contract import INVESTIGATE_SCHEMA, VERDICT_SCHEMA, InvestigateMessage, VerdictMessage
from serving.stream.hybrid import group_loop
from serving.stream.hybrid.enricher import Enricher
from serving.stream.hybrid.follower import RiskFollower
from serving.stream.hybrid.group_loop import GroupLoop, NotNow
from serving.stream.hybrid.signals import signals_of
from serving.stream.ports import OutRecord, Partition, StreamError, StreamRecord
from serving.stream.spans.batch_spans import StreamSpans
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.stream.broker import MemoryBroker, MemoryOutputs, MemorySource
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.waiting import until

AT = 1_767_603_600_000_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def verdict(number, entity="10.0.0.1", **change):
    fields = {
        "schema": VERDICT_SCHEMA, "id": f"events/0/{number}", "entity": {"host": entity}, "verdict": "alert",
        "model": "flows", "version": "1",
        "revision": "sha256:x", "variant": "stable", "source": "model", "receipt": "r", "row": 0, "scored_at": "2026-01-05T09:00:01Z",
        "event_time": "2026-01-05T09:00:00Z", "probability": 0.5,
    }  # fmt: skip
    return VerdictMessage(**{**fields, **change})


class World:
    """A broker with the two topics, a ledger, and followers."""

    def __init__(self, folder):
        self.broker = MemoryBroker()
        self.verdicts, self.asked, self.risks = (self.broker.topic(name) for name in ("verdicts", "investigate", "risks"))
        self.ledger = SqliteLedger(folder / "risk.db", RiskRules())
        self.follower = RiskFollower(self.ledger, "verdicts", "risks")
        self.stopping = threading.Event()
        self.threads = []

    def say(self, *verdicts):
        self.broker.produce(
            "verdicts", *(OutRecord("verdicts", msgspec.json.encode(one), one.entity["host"].encode()) for one in verdicts)
        )

    def ask(self, one):
        message = InvestigateMessage(schema=INVESTIGATE_SCHEMA, verdict=one, asked_us=AT, due_us=AT + 60_000_000)
        self.broker.produce("investigate", OutRecord("investigate", msgspec.json.encode(message), b"k"))

    def start(self, handler=None, spans=None):
        def connect(ownership):
            self.broker.check()
            source = MemorySource(self.broker, ["verdicts", "investigate"], "g", ownership)
            return source, MemoryOutputs(self.broker, source, None)

        loop = GroupLoop(connect, handler or self.follower, self.stopping.is_set, spans)
        self.threads.append(threading.Thread(target=loop.run))
        self.threads[-1].start()
        return loop

    def wait_read(self, count):
        until(lambda: sum(p.offset for p in self.broker.positions("g").values()) >= count)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(20)
        self.ledger.close()


@pytest.fixture
def world(tmp_path):
    opened = World(tmp_path)
    yield opened
    opened.stop()


def test_verdicts_become_risks_and_notable_changes_are_written(world):
    world.say(verdict(1), verdict(2, "10.0.0.2", verdict="benign"), verdict(3, "10.0.0.3", probability=0.02))
    world.start()
    world.wait_read(3)
    assert world.ledger.find("10.0.0.1", AT).level == "high"
    assert world.ledger.find("10.0.0.2", AT) is None
    assert [msgspec.json.decode(r.value)["entity"] for r in world.broker.read("risks")] == ["10.0.0.1"]


def test_a_doubtful_event_is_pending_until_somebody_looked(world):
    one = verdict(1, verdict="investigate", probability=0.1)
    world.say(one)
    world.ask(one)
    world.start()
    world.wait_read(2)
    risk = world.ledger.find("10.0.0.1", AT)
    assert ([check.name for check in risk.pending], risk.is_complete) == (["closer look"], False)


def test_what_is_read_twice_counts_once(world):
    world.say(verdict(1))
    world.start()
    world.wait_read(1)
    before = world.ledger.find("10.0.0.1", AT)
    world.say(verdict(1))
    world.wait_read(2)
    assert world.ledger.find("10.0.0.1", AT) == before


def test_records_that_are_no_messages_are_passed_over_and_counted(world):
    world.broker.produce(
        "verdicts", b"nonsense", b"{}", msgspec.json.encode(verdict(1, schema="other/1")), OutRecord("verdicts", None)
    )
    world.broker.produce("investigate", b"\xff")
    world.say(verdict(9))
    world.start()
    world.wait_read(6)
    assert world.follower.counts["unreadable"] == 5
    assert world.ledger.find("10.0.0.1", AT) is not None


def test_old_events_are_weighed_at_their_own_time(world):
    world.say(verdict(1, event_time="2011-08-18T13:52:30Z"))
    world.start()
    world.wait_read(1)
    assert world.ledger.find("10.0.0.1", 1_313_675_550_000_000).level == "high"


def test_told_to_stop_while_the_broker_is_away_it_waits_no_longer(world, monkeypatch):
    """Each wait is short, and the one under way is the last."""
    slept, joined = [], []

    def connect(ownership):
        joined.append(1)
        if len(joined) > 1:
            raise StreamError("the broker is away")
        source = MemorySource(world.broker, ["verdicts"], "g", ownership)
        monkeypatch.setattr(source, "poll", away)
        return source, MemoryOutputs(world.broker, source, None)

    def away(most, wait_s):
        raise StreamError("the broker is away")

    class Clock:
        now_s = 0.0

        def monotonic(self):
            return self.now_s

        def sleep(self, seconds):
            assert not world.stopping.is_set(), "it was told to stop"
            slept.append(seconds)
            self.now_s += seconds
            if self.now_s > 20:
                world.stopping.set()

    monkeypatch.setattr(group_loop, "time", Clock())
    GroupLoop(connect, world.follower, world.stopping.is_set).run()
    assert len(joined) > 5
    assert max(slept) <= 0.1


def test_nothing_is_lost_while_the_ledger_is_away(world):
    attempts = []

    class Away:
        def add(self, *arguments):
            attempts.append(1)
            if len(attempts) < 3:
                raise LedgerDown("the ledger is away")
            return world.ledger.add(*arguments)

        def forget_before(self, until_us):
            return world.ledger.forget_before(until_us)

    world.say(*(verdict(number, f"10.0.1.{number}") for number in range(20)))
    loop = world.start(RiskFollower(Away(), "verdicts", ""))
    world.wait_read(20)
    assert loop.retries >= 2
    assert len(world.ledger.highest(100, AT)) == 20


def test_two_followers_share_the_partitions_and_lose_nothing(world):
    loops = [world.start(), world.start(RiskFollower(world.ledger, "verdicts", ""))]
    until(lambda: all(loop.partitions for loop in loops))
    world.say(*(verdict(number, f"10.0.1.{number}") for number in range(50)))
    world.wait_read(50)
    assert len(world.ledger.highest(100, AT)) == 50
    assert loops[0].partitions.isdisjoint(loops[1].partitions)


def test_a_broker_that_comes_back_is_read_again(world):
    world.say(verdict(1))
    world.start()
    world.wait_read(1)
    world.broker.is_down = True
    world.broker.logs.append(OutRecord("verdicts", msgspec.json.encode(verdict(2, "10.0.0.9")), b"k"), time_us=0)
    world.broker.is_down = False
    world.wait_read(2)
    assert world.ledger.find("10.0.0.9", AT) is not None


def test_the_trace_of_a_verdict_goes_on_to_the_change_of_its_risk(world):
    spans = MemorySpans()
    message = OutRecord("verdicts", msgspec.json.encode(verdict(1)), b"k", (("traceparent", TRACE.encode()),))
    world.broker.produce("verdicts", message)
    world.start(spans=StreamSpans(Tracer(0.0, None, exporter=spans.exporter), "kafka", "g"))
    world.wait_read(1)
    world.stopping.set()
    world.threads[0].join(20)
    send, process = spans.finished()
    assert (process.name, f"{process.parent.span_id:016x}") == ("process verdicts", TRACE.split("-")[2])
    assert (send.name, send.parent.span_id) == ("send risks", process.context.span_id)
    (change,) = world.broker.read("risks")
    assert dict(change.headers)["traceparent"].decode() == f"00-{TRACE.split('-')[1]}-{send.context.span_id:016x}-01"


def test_a_batch_that_has_to_wait_for_the_ledger_is_an_error_only_if_it_is_given_up(world):
    spans = MemorySpans()
    message = OutRecord("verdicts", msgspec.json.encode(verdict(1)), b"k", (("traceparent", TRACE.encode()),))
    world.broker.produce("verdicts", message)
    asked = []

    class Waiting:
        def handle(self, records, traceparent=None):
            asked.append(traceparent)
            if len(asked) == 1:
                raise NotNow("the ledger is away")
            raise StreamError("the broker is down")

    world.start(Waiting(), StreamSpans(Tracer(0.0, None, exporter=spans.exporter), "kafka", "g"))
    until(lambda: spans.finished())
    (process, *_) = spans.finished()
    assert process.status.description == "the broker is down"
    assert asked[:2] == [f"00-{TRACE.split('-')[1]}-{process.context.span_id:016x}-01"] * 2


def test_a_group_that_cannot_be_joined_says_so_at_once(world):
    world.broker.is_down = True
    with pytest.raises(StreamError, match="broker is down"):
        GroupLoop(lambda _: world.broker.check(), world.follower, world.stopping.is_set).run()


def test_a_queue_waits_while_its_model_takes_tensors(world):
    answerer = SimpleNamespace(manifest=lambda name: SimpleNamespace(name=name, assembly=None))
    enricher = Enricher(BatchScorer(answerer, "flows", "", 1.0), world.ledger, "", 1000)
    message = InvestigateMessage(schema=INVESTIGATE_SCHEMA, verdict=verdict(1), asked_us=AT, due_us=AT, event={"a": 1})
    with pytest.raises(NotNow, match="takes tensors"):
        enricher.handle([StreamRecord(Partition("investigate", 0), 0, msgspec.json.encode(message))])


def test_entities_that_nobody_speaks_of_are_forgotten(tmp_path):
    ledger = SqliteLedger(tmp_path / "risk.db", RiskRules())
    old = signals_of(verdict(1, "10.0.0.1"), AT)
    ledger.add(old, [], AT)
    follower = RiskFollower(ledger, "verdicts", "", forget_after_us=60_000_000)
    record = StreamRecord(Partition("verdicts", 0), 0, msgspec.json.encode(verdict(2, "10.0.0.2")))
    follower.handle([record])
    assert follower.counts["forgotten"] == 1
    assert (ledger.find("10.0.0.1", AT), ledger.find("10.0.0.2", AT) is None) == (None, False)
    ledger.close()
