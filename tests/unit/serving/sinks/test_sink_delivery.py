"""From a batch of alerts to the far end: through the spool, in order, each taken once or set aside with its reason."""

import json
from collections import defaultdict
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.sinks.counts import SinkCounts
from serving.sinks.delivery import Delivery, DeliveryLimits
from serving.sinks.errors import AlertUnwritable, SpoolFull
from serving.sinks.flow.intake import IntakeRules
from serving.sinks.flow.throttle import ThrottleLimits
from serving.sinks.pipeline import SinkPipeline
from serving.sinks.ports import TAKEN, SendAnswer
from serving.sinks.spool.dead_letters import DeadLetters
from serving.sinks.spool.spool import Spool
from serving.sinks.transports.backoff import Backoff
from serving.telemetry.tracing.message_names import MESSAGE_ATTRIBUTES
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.sinks.alerts import an_alert
from tests.fakes.sinks.transport import FarEndInMemory
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.laws import examples


class World:
    """One sink: pipeline, spool, far end, with a clock that is told."""

    def __init__(self, folder, rules=None, far_end=None, limits=None, most_bytes=10**9):
        self.folder, self.rules, self.most_bytes = folder, rules or IntakeRules(), most_bytes
        self.far_end = far_end or FarEndInMemory()
        self.limits = limits or DeliveryLimits()
        self.waits: list[float] = []
        self.on_wait = lambda wait_s: None
        self.now_s = 0.0
        self.opens()

    def opens(self):
        self.counts = SinkCounts()
        self.spool = Spool(self.folder / "spool", most_bytes=self.most_bytes)
        self.pipeline = SinkPipeline("siem", self.rules, self.spool, self.counts, self.now_s)
        self.dead = DeadLetters(self.folder / "dead", "siem")
        self.delivery = Delivery(
            "siem", self.spool, self.far_end, self.dead, self.counts, self.limits, rng=Random(1), wait=self._waits
        )

    def _waits(self, wait_s):
        self.waits.append(wait_s)
        self.on_wait(wait_s)

    def crashes(self):
        self.spool.close()
        self.opens()

    def takes(self, *alerts):
        self.pipeline.take(alerts, self.now_s)

    def delivers(self):
        while self.delivery.step() and not self.delivery.stopped.is_set():
            pass

    @property
    def got(self):
        return [alert.id for alert in self.far_end.taken]


def ids(*numbers):
    return [an_alert(number).id for number in numbers]


def test_alerts_arrive_in_order_once(tmp_path):
    world = World(tmp_path, limits=DeliveryLimits(most_alerts=3))
    world.takes(*map(an_alert, range(10)))
    world.delivers()
    assert (world.got, world.far_end.batches) == (ids(*range(10)), [3, 3, 3, 1])
    assert (world.counts.sent, world.spool.waiting) == (10, 0)


def test_alerts_that_were_spooled_arrive_after_a_crash_and_repeats_of_their_batch_do_not(tmp_path):
    world = World(tmp_path)
    world.takes(an_alert(1), an_alert(2))
    world.crashes()  # before the place in the topic was recorded: the batch is read again
    world.takes(an_alert(1), an_alert(2), an_alert(3))
    world.delivers()
    assert world.got == ids(1, 2, 3)
    assert world.counts.repeated == 2


def test_repeats_are_known_after_a_crash_when_they_were_delivered_already(tmp_path):
    world = World(tmp_path)
    world.takes(an_alert(1))
    world.delivers()
    world.crashes()
    world.takes(an_alert(1))
    world.delivers()
    assert world.got == ids(1)


def test_a_far_end_that_is_down_is_tried_again_with_growing_waits(tmp_path):
    world = World(tmp_path)
    world.far_end.is_down = True
    world.takes(an_alert(1))

    def comes_back(wait_s):
        world.far_end.is_down = len(world.waits) < 6

    world.on_wait = comes_back
    world.delivers()
    assert world.got == ids(1)
    assert [round(wait / 0.5 / 2**n, 1) for n, wait in enumerate(world.waits)] == pytest.approx([0.75] * 6, abs=0.26)


def test_a_far_end_that_says_when_is_not_asked_before(tmp_path):
    answers = iter([SendAnswer("later", "HTTP 429", 17.0), TAKEN])
    world = World(tmp_path, far_end=FarEndInMemory(lambda alert: next(answers)))
    world.takes(an_alert(1))
    world.delivers()
    assert world.waits == [17.0]


def test_what_is_refused_is_set_aside_with_the_reason_and_the_rest_arrives(tmp_path):
    far_end = FarEndInMemory(lambda alert: SendAnswer("refused", "HTTP 400: no") if alert.id == ids(2)[0] else TAKEN)
    world = World(tmp_path, far_end=far_end)
    world.takes(*map(an_alert, range(4)))
    world.delivers()
    assert world.got == ids(0, 1, 3)
    letter = json.loads(world.dead.path.read_text(encoding="utf-8"))
    assert letter["reason"] == "memory: HTTP 400: no"
    assert json.loads(letter["alert"])["id"] == ids(2)[0]


def test_a_request_that_is_too_large_is_halved_until_it_fits(tmp_path):
    world = World(tmp_path, far_end=FarEndInMemory(most=3))
    world.takes(*map(an_alert, range(10)))
    world.delivers()
    assert world.got == ids(*range(10))
    assert max(world.far_end.batches) <= 3


def test_an_alert_that_is_too_large_by_itself_is_set_aside(tmp_path):
    world = World(tmp_path, far_end=FarEndInMemory(most=0))
    world.takes(an_alert(1))
    world.delivers()
    assert (world.got, world.counts.dead) == ([], 1)


def test_an_alert_that_no_form_can_write_holds_nothing_up(tmp_path):
    def judge(alert):
        if alert.id == ids(2)[0]:
            raise AlertUnwritable("it cannot be written as cef: KeyError")
        return TAKEN

    far_end = FarEndInMemory(judge)
    world = World(tmp_path, far_end=far_end)
    world.takes(*map(an_alert, range(5)))
    world.delivers()
    assert set(world.got) == set(ids(0, 1, 3, 4))
    assert "cannot be written as cef" in world.dead.path.read_text(encoding="utf-8")


def test_a_defect_of_a_transport_ends_no_sink(tmp_path, caplog):
    tries = iter([RuntimeError("a defect"), None])

    def judge(alert):
        if problem := next(tries):
            raise problem
        return TAKEN

    world = World(tmp_path, far_end=FarEndInMemory(judge))
    world.takes(an_alert(1))
    world.delivers()
    assert world.got == ids(1)
    assert "a defect of the transport" in caplog.text


def test_only_what_was_not_taken_of_a_batch_is_sent_again(tmp_path):
    tries: dict[str, int] = defaultdict(int)

    def judge(alert):
        tries[alert.id] += 1
        return SendAnswer("later", "busy") if alert.id == ids(1)[0] and tries[alert.id] < 3 else TAKEN

    world = World(tmp_path, far_end=FarEndInMemory(judge))
    world.takes(*map(an_alert, range(3)))
    world.delivers()
    assert sorted(world.got) == sorted(ids(0, 1, 2))
    assert list(tries.values()) == [1, 3, 1]


def test_a_stop_in_the_middle_loses_nothing(tmp_path):
    world = World(tmp_path, limits=DeliveryLimits(most_alerts=4))
    world.far_end.judge = lambda alert: SendAnswer("later", "busy") if alert.id == ids(2)[0] else TAKEN
    world.on_wait = lambda wait_s: world.delivery.stopped.set()
    world.takes(*map(an_alert, range(4)))
    world.delivers()
    world.far_end.judge = lambda alert: TAKEN
    world.crashes()
    world.delivers()
    assert set(world.got) == set(ids(*range(4)))
    assert world.got.count(ids(0)[0]) == 1  # before the one that was not taken: not again


def test_what_is_throttled_is_counted_in_one_alert_also_after_a_crash(tmp_path):
    rules = IntakeRules(throttle=ThrottleLimits(per_second=0.001, burst=2), summary_s=60)
    world = World(tmp_path, rules)
    world.takes(*(an_alert(n, host=f"h{n}") for n in range(10)))
    world.crashes()
    world.now_s = 61.0
    world.pipeline.tick(world.now_s)
    world.delivers()
    *first, summary = world.far_end.taken
    assert [alert.id for alert in first] == ids(0, 1)
    assert summary.folded is not None
    assert (summary.folded.count, summary.folded.ids) == (8, tuple(ids(*range(2, 10))))
    world.crashes()
    world.pipeline.tick(1000.0)
    world.delivers()
    assert len(world.far_end.taken) == 3


def test_a_group_becomes_its_first_alert_and_one_that_counts_the_others(tmp_path):
    world = World(tmp_path, IntakeRules(group_s=300))
    world.takes(*map(an_alert, range(20)))
    world.pipeline.tick(299.0)
    world.delivers()
    assert world.got == ids(0)
    world.pipeline.tick(300.0)
    world.delivers()
    summary = world.far_end.taken[-1]
    assert summary.folded is not None
    assert (summary.folded.kind, summary.folded.count) == ("grouped", 19)


def test_a_full_spool_keeps_the_batch_until_there_is_room(tmp_path):
    world = World(tmp_path, most_bytes=32 * 1024)
    big = [an_alert(n, event={"x": "y" * 5000}) for n in range(8)]
    with pytest.raises(SpoolFull):
        [world.takes(alert) for alert in big]
    count = world.spool.waiting
    assert 0 < count < 8
    world.delivers()
    world.pipeline.flush()
    world.takes(*big[count + 1 :])
    world.delivers()
    assert len(set(world.got)) == len(world.got) == 8


def test_folded_alerts_do_not_fill_the_spool_for_ever(tmp_path):
    world = World(tmp_path, IntakeRules(group_s=10**6), most_bytes=32 * 1024)
    given = [an_alert(n, event={"x": "y" * 3000}) for n in range(60)]
    for alert in given:
        world.takes(alert)
        world.delivers()
        world.pipeline.committed()
    world.pipeline.tick(0.0, is_last=True)
    world.delivers()
    assert sum(alert.folded.count if alert.folded else 1 for alert in world.far_end.taken) == 60


@examples(60)
@given(data=st.data())
def test_each_alert_arrives_once_or_is_set_aside(tmp_path_factory, data):
    """Whatever the far end answers, and wherever the process ends between deliveries."""
    random = data.draw(st.randoms(use_true_random=False))
    refused: set[str] = set()

    def judge(alert):
        what = random.choice(["taken", "taken", "later", "refused"])
        if what == "refused":
            refused.add(alert.id)
        return SendAnswer(what, what)

    world = World(tmp_path_factory.mktemp("sink"), far_end=FarEndInMemory(judge, most=data.draw(st.integers(1, 5))))
    world.limits = DeliveryLimits(most_alerts=data.draw(st.integers(1, 4)))
    given = [an_alert(n, host=f"h{n % 3}") for n in range(data.draw(st.integers(1, 12)))]
    for alert in given:
        world.takes(alert)
        if random.random() < 0.3:
            world.delivers()
        if random.random() < 0.2:
            world.crashes()
    world.delivers()
    assert set(world.got) | refused == {alert.id for alert in given}
    assert len(world.got) == len(set(world.got))


def test_waits_grow_to_their_bound():
    backoff, rng = Backoff(first_s=1, most_s=60, most_asked_s=900), Random(3)
    waits = [backoff.wait_s(tries, rng) for tries in range(1, 40)]
    assert all(0.5 <= wait <= 60 for wait in waits)
    assert min(waits[10:]) >= 30
    assert backoff.wait_s(1, rng, asked_s=10_000) == 900


def traced(number, span):
    return msgspec.structs.replace(an_alert(number), traceparent=f"00-{number:032x}-{span:016x}-01")


def test_a_delivery_is_in_the_trace_of_its_first_sampled_alert_and_names_the_others(tmp_path):
    spans, world = MemorySpans(), World(tmp_path)
    world.takes(an_alert(1), traced(2, 7), traced(3, 8))
    world.crashes()  # the spool keeps the trace context
    world.delivery.tracer = Tracer(0.0, None, exporter=spans.exporter)
    world.delivers()
    (span,) = spans.finished()
    assert (span.name, span.kind.name, span.status.status_code.name) == ("deliver siem", "CLIENT", "UNSET")
    assert (span.context.trace_id, span.parent.span_id) == (2, 7)
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(3, 8)]
    assert dict(span.attributes) == {"vedette.sink": "siem", "messaging.batch.message_count": 3, "vedette.sink.taken": 3}
    assert span.attributes.keys() <= MESSAGE_ATTRIBUTES.keys()


def test_each_attempt_that_fails_is_a_span_with_the_error(tmp_path):
    spans, world = MemorySpans(), World(tmp_path)
    world.delivery.tracer = Tracer(0.0, None, exporter=spans.exporter)
    world.far_end.is_down = True
    world.on_wait = lambda _: setattr(world.far_end, "is_down", len(world.waits) < 2)
    world.takes(traced(2, 7))
    world.delivers()
    assert [span.status.status_code.name for span in spans.finished()] == ["ERROR", "ERROR", "UNSET"]


def test_alerts_that_nobody_samples_leave_no_span(tmp_path):
    spans, world = MemorySpans(), World(tmp_path)
    world.delivery.tracer = Tracer(1.0, None, exporter=spans.exporter)
    world.takes(an_alert(1))
    world.delivers()
    assert (world.got, spans.finished()) == (ids(1), ())
