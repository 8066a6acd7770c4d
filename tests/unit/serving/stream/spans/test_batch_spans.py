"""Each sampled event has one connected trace, from who sent it to the messages about it; what is not sampled passes its own on."""

import json

import msgspec
import pytest

from serving.risk.rules_of_risk import RiskRules
from serving.risk.sqlite_ledger import SqliteLedger
from serving.stream.answers import BatchScorer
from serving.stream.contract import INVESTIGATE_SCHEMA, InvestigateMessage
from serving.stream.hybrid.enricher import Enricher
from serving.stream.ports import OutRecord, Partition, StreamRecord
from serving.stream.spans.batch_spans import MOST_APART
from serving.stream.spans.contexts import MOST_LINKS, TracesOfBatch, traces_of
from tests.unit.serving.stream.hybrid.test_follower import AT, verdict
from tests.unit.serving.stream.stream_world import EVENTS


def context(number, flags="01"):
    return f"00-{number:032x}-{number:016x}-{flags}"


def produce(world, *traces, level=3.0, host="a"):
    """An event for each trace, all of one partition; None: it comes without."""
    for at, trace in enumerate(traces):
        headers = () if trace is None else (("traceparent", trace.encode()),)
        body = {"host": host, "level": level, "event_id": str(at)}
        world.broker.produce(EVENTS, OutRecord(EVENTS, json.dumps(body).encode(), host.encode(), headers))
    world.worker().steps(2)


def headers(world, topic):
    return [dict(record.headers).get("traceparent", b"").decode() for record in world.broker.read(topic)]


def spans(world, trace=None):
    found = world.service_world.spans.finished()
    return [span for span in found if trace is None or span.context.trace_id == trace]


def header_of(span):
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def named(world, name, trace=None):
    (span,) = [span for span in spans(world, trace) if span.name == name]
    return span


def test_the_trace_goes_from_the_event_by_way_of_the_answer_to_the_verdict_and_the_alert(make):
    world = make()
    produce(world, context(7))
    process = named(world, f"process {EVENTS}")
    assert (process.parent.span_id, process.kind.name, process.status.is_ok) == (7, "CONSUMER", True)
    assert process.attributes == {
        "messaging.system": "kafka",
        "messaging.destination.name": EVENTS,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": "group",
        "messaging.batch.message_count": 1,
    }
    for topic in (world.settings.verdicts, world.settings.alerts):
        send = named(world, f"send {topic}")
        assert (send.parent.span_id, send.kind.name) == (process.context.span_id, "PRODUCER")
        assert headers(world, topic) == [header_of(send)]
    known = {span.context.span_id for span in spans(world)} | {7}
    assert all(span.parent.span_id in known for span in spans(world))
    assert {span.context.trace_id for span in spans(world)} == {7}
    assert {span.name for span in spans(world)} >= {"count", "model"}
    assert world.verdicts()[0].trace_id == f"{7:032x}"


def test_events_of_other_traces_have_a_process_and_a_send_span_there_linked_to_the_batch(make):
    world = make()
    produce(world, None, context(1), context(2, "03"), context(3, "00"), "nonsense")
    batch = named(world, f"process {EVENTS}", 1)
    assert [link.context.trace_id for link in batch.links] == [1, 2]
    apart = named(world, f"process {EVENTS}", 2)
    assert (apart.parent.span_id, [link.context.span_id for link in apart.links]) == (2, [batch.context.span_id])
    assert (apart.attributes["messaging.destination.partition.id"], apart.attributes["messaging.kafka.offset"]) == ("0", 2)
    for topic in (world.settings.verdicts, world.settings.alerts):
        own = named(world, f"send {topic}", 2)
        assert own.parent.span_id == apart.context.span_id
        of_batch = header_of(named(world, f"send {topic}", 1))
        assert headers(world, topic) == [of_batch, of_batch, header_of(own), context(3, "00"), "nonsense"]
    assert named(world, f"send {world.settings.verdicts}", 1).attributes["messaging.batch.message_count"] == 2


def test_a_batch_of_many_traces_opens_no_more_spans_than_it_may(make):
    world = make()
    produce(world, *(context(number + 1) for number in range(MOST_APART + 10)), level=-3.0)
    assert len(named(world, f"process {EVENTS}", 1).links) == MOST_LINKS
    assert len([span for span in spans(world) if span.name == f"process {EVENTS}"]) == 1 + MOST_APART
    assert headers(world, world.settings.verdicts)[-9:] == [context(MOST_APART + 2 + at) for at in range(9)]


@pytest.mark.parametrize("trace", [None, context(9, "00")], ids=["without a trace", "of a sender that does not sample"])
def test_an_event_that_is_not_sampled_has_no_spans_and_keeps_its_headers(make, trace):
    world = make()
    produce(world, trace)
    assert spans(world) == []
    assert headers(world, world.settings.verdicts) == [trace or ""]


def test_the_coin_traces_a_batch_whose_events_have_no_trace(make):
    world = make()
    world.trace_ratio = 1.0
    produce(world, None)
    process = named(world, f"process {EVENTS}")
    assert process.parent is None
    assert headers(world, world.settings.verdicts) == [header_of(named(world, f"send {world.settings.verdicts}"))]
    assert {span.context.trace_id for span in spans(world)} == {process.context.trace_id}


def test_what_is_set_aside_is_an_error_in_its_own_trace(make):
    world = make()
    produce(world, context(5), level="much")
    failed = named(world, f"process {EVENTS}")
    assert (failed.parent.span_id, failed.status.status_code.name) == (5, "ERROR")
    assert "level" in failed.status.description
    assert headers(world, world.settings.dead_letters) == [context(5)]


def test_a_closer_look_is_asked_for_in_the_trace_of_its_batch(make, tmp_path):
    world, ledger = make(), SqliteLedger(tmp_path / "risk.db", RiskRules())
    enricher = Enricher(BatchScorer(world.answerer, "threat", "", 30.0), ledger, "", 10_000)
    doubtful = verdict(1, verdict="investigate")
    event = {"host": "a", "level": 3.0}
    asked = InvestigateMessage(schema=INVESTIGATE_SCHEMA, verdict=doubtful, asked_us=AT, due_us=AT, event=event)
    enricher.handle([StreamRecord(Partition("investigate", 0), 0, msgspec.json.encode(asked))], context(6))
    ledger.close()
    assert enricher.counts["looked"] == 1
    assert {span.context.trace_id for span in spans(world)} == {6}


@pytest.mark.parametrize(
    ("traces", "deciding"),
    [
        ([None, None], None),
        ([context(1, "00"), context(2)], context(2)),
        (["nonsense", context(1, "00"), context(2, "00")], context(1, "00")),
        (["nonsense"], None),
    ],
    ids=["none has a trace", "the first that is sampled", "else the first that is well-formed", "a broken one decides nothing"],
)
def test_whose_trace_a_batch_is_dealt_with_in(make, traces, deciding):
    world = make(None)
    for trace in traces:
        world.produce({}, headers=() if trace is None else (("traceparent", trace.encode()),))
    assert traces_of([world.broker.read(EVENTS)]) == TracesOfBatch(deciding, (deciding,) if str(deciding)[-2:] == "01" else ())
