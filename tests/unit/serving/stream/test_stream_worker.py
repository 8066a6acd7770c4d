"""The worker: every event gets one verdict or one dead letter, whatever happens to workers, model and broker."""

import time
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from serving.errors import Internal, Overloaded, Unavailable
from serving.spec import RevisionSpec, SuppressionSpec
from serving.stream.contract import AlertMessage
from serving.stream.model_in_use import ModelChanged
from serving.stream.ports import OutRecord, Partition, StreamRecord
from serving.stream.settings import StreamSettings
from tests.unit.serving.scoring.variants import threat
from tests.unit.serving.stream.stream_world import EVENTS, events, headers_of

pytestmark = pytest.mark.heavy

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_event_becomes_a_verdict_that_names_it_and_its_record(make):
    world = make()
    world.produce({"host": "10.0.0.1", "level": 3.0, "event_id": 7, "event_time": "ignored: the bundle names no such field"})
    world.worker().steps(2)
    (verdict,) = world.verdicts()
    assert (verdict.entity, verdict.verdict, verdict.model, verdict.version) == ({"host": "10.0.0.1"}, "alert", "threat", "1")
    assert (verdict.variant, verdict.source, verdict.event_id, verdict.row) == ("stable", "model", "7", 0)
    assert verdict.score == pytest.approx(0.9526, abs=1e-4)
    (record,) = world.broker.read(world.settings.verdicts)
    assert record.key == b"10.0.0.1"
    assert headers_of(record) == {"vedette-id": verdict.id}
    assert verdict.id.startswith(f"{EVENTS}/")
    (answer,) = world.service_world.audit.records
    assert (answer.receipt, answer.door, answer.rows) == (verdict.receipt, "kafka", 1)


def test_an_alert_carries_the_event(make):
    world = make()
    world.produce({"host": "a", "level": 3.0, "more": ["kept"]}, {"host": "a", "level": -3.0})
    world.worker().steps(2)
    (record,) = world.broker.read(world.settings.alerts)
    alert = msgspec.json.decode(record.value or b"", type=AlertMessage)
    assert alert.event == {"host": "a", "level": 3.0, "more": ["kept"]}
    assert (alert.verdict.verdict, alert.group, alert.title) == ("alert", "a|threat", "model threat")


def test_a_suppressed_event_has_a_verdict_that_says_so_and_no_alert(make, bundles):
    world = make()
    entry = SuppressionSpec(
        id="scan", owner="ana", reason="ours", expires="2999-01-01T00:00:00Z", when="host == 'a'", becomes="benign"
    )  # type: ignore[arg-type]
    revision = RevisionSpec(bundle=bundles["threat"].digest, suppressions=(entry,))
    world.serve(bundles["threat"], revision=revision)
    world.produce({"host": "a", "level": 3.0, "event_id": "1"}, {"host": "b", "level": 3.0, "event_id": "2"})
    world.worker().steps(2)
    found = {v.event_id: (v.verdict, v.suppressed_by) for v in world.verdicts()}
    assert found == {"1": ("benign", "scan"), "2": ("alert", None)}
    assert len(world.broker.read(world.settings.alerts)) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"{", "JSON", id="what cannot be decoded"),
        pytest.param(b"[1]", "object", id="what is no object"),
        pytest.param({"host": "a"}, "'level' is missing", id="a missing field"),
        pytest.param({"level": 1.0}, "'host' is missing", id="a missing key"),
        pytest.param({"host": "a", "level": "high"}, "'level' is 'high'", id="a value of the wrong type"),
        pytest.param({"host": "a", "level": 1e300}, "finite", id="a number that is not finite in its column"),
        pytest.param({"host": "a", "level": 1.0, "x": "y" * 2000}, "at most 1000", id="a record that is too large"),
        pytest.param({"host": "a", "level": 101.0}, "threat", id="an event that the model refuses"),
        pytest.param({"host": "h" * 9000, "level": 1.0}, "", id="an entity that is too long"),
    ],
)
def test_what_is_no_event_goes_to_the_dead_letters_and_the_others_are_scored(make, value, reason):
    is_long = isinstance(value, dict) and len(str(value.get("host"))) > 5000
    world = make("fragile", max_event_bytes=20_000 if is_long else 1000)
    world.produce(*events(3))
    world.produce(value, headers=(("traceparent", TRACE.encode()), ("other", b"1")))
    world.produce(*events(4, first=3))
    worker = world.worker()
    worker.steps(3)
    (dead,) = world.broker.read(world.settings.dead_letters)
    (original,) = [r for r in world.broker.read(EVENTS) if r.headers]
    told = headers_of(dead)
    assert reason in told["vedette-reason"]
    assert (told["vedette-id"], told["traceparent"], dead.value, dead.key) == (original.id, TRACE, original.value, original.key)
    assert sorted(str(v.event_id) for v in world.verdicts()) == [f"e{i}" for i in range(7)]
    assert worker.counts.events == {"scored": 7, "dead": 1, "repeated": 0}


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(2**62 - 1, id="by a hundred thousand years"),
        pytest.param(time.time_ns() // 1000 + 3600_000_000, id="by an hour"),
        pytest.param("2999-01-01T00:00:00Z", id="in text"),
    ],
)
def test_a_clock_that_is_ahead_makes_no_other_event_late(make, at):
    world = make("timed")
    world.partitions = 1
    now = time.time_ns() // 1000
    world.produce({"host": "a", "level": 1.0, "at": now}, {"host": "a", "level": 1.0, "at": at}, time_us=now)
    world.produce(*({"host": "a", "level": 1.0, "at": now + i} for i in range(1, 4)), time_us=now)
    worker = world.worker()
    worker.steps(3)
    assert [verdict.late for verdict in world.verdicts()] == [False] * 4
    assert worker.counts.late == {"counted": 0, "not_counted": 0}
    (dead,) = world.broker.read(world.settings.dead_letters)
    assert "clock of" in headers_of(dead)["vedette-reason"]


@pytest.mark.parametrize(
    ("value", "key", "left"),
    [
        pytest.param(b"{" * 950_000, b"k", "bytes are left out", id="a value that the dead letters' topic may not take"),
        pytest.param(b"{", b"k" * 1_000_000, "key of 1000000 bytes is left out", id="a key that it may not take"),
    ],
)
def test_a_record_that_cannot_be_copied_does_not_hold_up_its_partition(make, value, key, left):
    world = make()
    world.broker.produce(EVENTS, OutRecord(EVENTS, value, key, (("traceparent", b"t" * 900_000),)))
    world.worker().steps(2)
    (dead,) = world.broker.read(world.settings.dead_letters)
    size = len(dead.value or b"") + len(dead.key or b"") + sum(len(v) for _, v in dead.headers)
    assert size < 10_000
    assert left in headers_of(dead)["vedette-reason"]
    assert headers_of(dead)["vedette-id"] in headers_of(dead)["vedette-reason"]


def test_what_was_read_ahead_of_a_partition_that_went_and_came_back_is_scored_once(make):
    world = make()
    worker = world.worker()
    worker.step()
    going, polled, plain = Partition(EVENTS, 1), 0, worker.source.poll
    value = b'{"host": "b", "level": 1.0, "event_id": "ahead"}'
    for number in (0, 1):
        world.broker.produce(EVENTS, OutRecord(EVENTS, value, b"b", partition=number))
    worker.source.pause([going])

    def poll(most, wait_s):
        nonlocal polled
        polled += world.answerer.fault is not None
        if polled == 2:
            return [StreamRecord(going, 0, value, b"b")]
        if polled == 3 and world.answerer.fault is not None:
            worker.worker.revoked([going])
            worker.worker.assigned({going: None})
            world.answerer.fault = None
            worker.source.resume([going])
        return plain(most, wait_s)

    worker.source.poll = poll
    world.answerer.fault = Unavailable("out")
    worker.steps(4)
    assert worker.failures == []
    assert sorted(verdict.id for verdict in world.verdicts()) == [f"{EVENTS}/0/0", f"{EVENTS}/1/0"]


def test_a_password_among_the_options_is_in_no_message(monkeypatch):
    options = {"group.id": "x", "sasl.password": "hunter2"}
    with pytest.raises(ValueError, match="leave them out") as raised:
        StreamSettings(options=options)
    monkeypatch.setenv("VEDETTE_STREAM_OPTIONS", '{"sasl.password": "hunter2", "retries": ["hunter2"]}')
    with pytest.raises(ValueError, match="retries") as of_environment:
        StreamSettings()
    monkeypatch.delenv("VEDETTE_STREAM_OPTIONS")
    shown = f"{raised.value}{of_environment.value}{StreamSettings(options={'sasl.password': 'hunter2'})!r}"
    assert "hunter2" not in shown


def test_a_property_has_one_value(tmp_path):
    with pytest.raises(ValueError, match=r"sasl\.password.*OPTION_FILES; leave one out") as raised:
        StreamSettings(options={"sasl.password": "hunter2"}, option_files={"sasl.password": tmp_path / "password"})
    assert "hunter2" not in str(raised.value)


def test_events_that_a_model_refuses_are_found_by_halves(make):
    world = make("fragile")
    bad = {3, 17, 18, 40}
    world.produce(*({"host": "a", "level": 200.0 if i in bad else 1.0, "event_id": f"e{i}"} for i in range(50)))
    world.worker().steps(2)
    assert sorted(int(str(v.event_id)[1:]) for v in world.verdicts()) == sorted(set(range(50)) - bad)
    assert len(world.broker.read(world.settings.dead_letters)) == len(bad)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Unavailable("out"), id="the model is out"),
        pytest.param(Overloaded("full"), id="the model is overloaded"),
        pytest.param(Internal("broken"), id="the model answers no event at all"),
    ],
)
def test_nothing_is_dropped_while_nothing_can_be_answered(make, fault):
    world = make()
    worker = world.worker()
    world.produce(*events(20))
    attempts = 0

    class Passing(list[int]):
        def append(self, rows: int) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 60:
                world.answerer.fault = None

    world.answerer.rows, world.answerer.fault = Passing(), fault
    worker.steps(2)
    assert sorted(str(v.event_id) for v in world.verdicts()) == sorted(f"e{i}" for i in range(20))
    assert worker.counts.retries > 0
    assert not worker.counts.is_paused
    assert not world.broker.read(world.settings.dead_letters)


def test_a_worker_waits_for_its_model_and_stops_when_it_is_told(make):
    world = make(None)
    worker = world.worker()
    looks = 0

    def stopping() -> bool:
        nonlocal looks
        looks += 1
        return looks > 5

    worker.worker._is_stopping = stopping
    worker.worker.run()
    assert world.verdicts() == []


def test_a_rule_over_several_events_makes_the_verdict_and_the_alert(make):
    world = make()
    world.produce(*({"host": "rule", "level": -3.0, "event_id": f"e{i}"} for i in range(2)))
    worker = world.worker()
    worker.steps(2)
    world.produce({"host": "rule", "level": -3.0, "event_id": "e2"})
    worker.steps(2)
    last = world.verdicts()[-1]
    assert [v.verdict for v in world.verdicts()] == ["benign", "benign", "alert"]
    assert (last.source, last.rules, last.techniques) == ("model+rules", ("third-time",), ("T1110",))
    (record,) = world.broker.read(world.settings.alerts)
    alert = msgspec.json.decode(record.value or b"", type=AlertMessage)
    assert (alert.title, alert.severity, alert.group) == ("The third event of a host", "critical", "rule|T1110")


def test_the_trace_of_an_event_goes_on(make):
    world = make()
    world.produce({"host": "a", "level": 3.0}, headers=(("traceparent", TRACE.encode()), ("tracestate", b"vendor=1")))
    world.worker().steps(2)
    for topic in (world.settings.verdicts, world.settings.alerts):
        (send,) = [s for s in world.service_world.spans.finished() if s.name == f"send {topic}"]
        own = f"00-{TRACE.split('-')[1]}-{send.context.span_id:016x}-01"
        assert [headers_of(r)["traceparent"] for r in world.broker.read(topic)] == [own]
        assert [headers_of(r)["tracestate"] for r in world.broker.read(topic)] == ["vendor=1"]
    (span,) = [s for s in world.service_world.spans.finished() if s.name == "infer"]
    assert f"{span.context.trace_id:032x}" == TRACE.split("-")[1]


@pytest.mark.parametrize("model", ["wider", "same"], ids=["with other columns", "with the same columns"])
def test_a_new_stable_bundle_takes_over(make, bundles, model):
    world = make()
    worker = world.worker()
    world.produce(*events(5))
    worker.steps(2)
    world.serve(bundles[model])
    world.produce(*({**event, "port": 80} for event in events(5, first=5)))
    for _ in range(4):
        with suppress(ModelChanged):
            worker.step()
            continue
        worker.stop()  # as in run
    assert Counter(v.version for v in world.verdicts()) == {"1": 5, "2": 5}


def test_held_events_are_scored_after_a_restart_and_released_ones_are_not_scored_again(make, bundles, tmp_path):
    timed = threat(tmp_path / "timed", "1", event_time_field="at")
    world = make(None, disorder_s=10.0)
    world.serve(timed)
    first = world.worker()

    def event(second: int, name: str) -> dict[str, Any]:
        return {"host": "a", "level": 1.0, "at": second * 1_000_000, "event_id": name}

    world.produce(event(30, "held"), event(5, "late"), event(20, "on time"))
    first.steps(2)
    assert [v.event_id for v in world.verdicts()] == ["late", "on time"]
    assert world.verdicts()[0].late
    first.kill()
    second = world.worker()
    second.steps(2)
    assert len(world.verdicts()) == 2
    assert second.counts.events["repeated"] == 2
    world.produce(event(41, "newest"))
    second.steps(2)
    assert [v.event_id for v in world.verdicts()] == ["late", "on time", "held"]
    second.stop()
    assert world.counts() == {"a": 3}


def test_a_group_does_not_take_the_state_of_another(make):
    world = make()
    world.produce(*events(10))
    first = world.worker()
    first.steps(2)
    first.stop()
    world.settings = world.settings.model_copy(update={"group": "second"})
    second = world.worker()
    second.steps(2)
    assert "holds the state of the group 'vedette', not of 'second'" in second.failures[0]
    assert len(world.verdicts()) == 10
