"""Which requests are traced, what their spans say, and what the others pay."""

import sys

import pytest

from serving.telemetry.tracing.trace import Trace
from serving.telemetry.tracing.traceparent import parse_traceparent
from serving.telemetry.tracing.tracer import Tracer
from tests.counting import calls_in
from tests.fakes.tracing.memory_spans import MemorySpans

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(SAMPLED, (TRACE_ID, SPAN_ID, True), id="sampled by the caller"),
        pytest.param(UNSAMPLED, (TRACE_ID, SPAN_ID, False), id="not sampled by the caller"),
        pytest.param(f"00-{TRACE_ID}-{SPAN_ID}-03", (TRACE_ID, SPAN_ID, True), id="only the lowest flag decides"),
        pytest.param(f"01-{TRACE_ID}-{SPAN_ID}-01-more", (TRACE_ID, SPAN_ID, True), id="a later version may be longer"),
        pytest.param(f"{SAMPLED}-more", None, id="version 00 may not"),
        pytest.param(f"ff-{TRACE_ID}-{SPAN_ID}-01", None, id="version ff is forbidden"),
        pytest.param(f"00-{'0' * 32}-{SPAN_ID}-01", None, id="a zero trace id is none"),
        pytest.param(f"00-{TRACE_ID}-{'0' * 16}-01", None, id="a zero span id is none"),
        pytest.param(SAMPLED.upper(), None, id="upper case is not allowed"),
        pytest.param("00-abc-def-01", None, id="too short"),
        pytest.param("", None, id="empty"),
        pytest.param("é" * 55, None, id="no hex at all"),
    ],
)
def test_traceparent(header, expected):
    assert parse_traceparent(header) == expected


@pytest.mark.parametrize(
    ("ratio", "header", "is_traced"),
    [
        pytest.param(0.0, None, False, id="nobody asks: the coin says no"),
        pytest.param(1.0, None, True, id="nobody asks: the coin says yes"),
        pytest.param(0.0, SAMPLED, True, id="the caller's yes wins"),
        pytest.param(1.0, UNSAMPLED, False, id="the caller's no wins"),
        pytest.param(1.0, "garbage", True, id="a malformed header is not a header"),
        pytest.param(0.0, "garbage", False, id="and decides nothing"),
    ],
)
def test_the_decision_is_made_at_the_head(ratio, header, is_traced):
    assert (Tracer(ratio, None, exporter=MemorySpans().exporter).begin(header, "http infer") is not None) is is_traced


def test_without_a_collector_nothing_is_traced():
    assert Tracer(1.0, None).begin(SAMPLED, "http infer") is None


def test_spans_tell_the_request_s_way():
    spans = MemorySpans()
    trace = Tracer(0.0, None, "vedette-test", exporter=spans.exporter).begin(SAMPLED, "http infer", start_ns=1_000)
    assert trace is not None
    assert trace.trace_id == TRACE_ID
    trace.span("features", 2_000, 3_000, {"rows": 2})
    trace.span("model", 3_000, 4_000)
    trace.end({"model": "flows", "degraded": False}, end_ns=5_000)
    features, model, root = spans.finished()
    assert [(s.name, s.start_time, s.end_time) for s in (features, model, root)] == [
        ("features", 2_000, 3_000),
        ("model", 3_000, 4_000),
        ("http infer", 1_000, 5_000),
    ]
    assert format(root.parent.span_id, "016x") == SPAN_ID
    assert features.parent.span_id == model.parent.span_id == root.context.span_id
    assert dict(root.attributes) == {"model": "flows", "degraded": False}
    assert dict(features.attributes) == {"rows": 2}
    assert root.resource.attributes["service.name"] == "vedette-test"


def test_an_error_marks_the_request_s_span():
    spans = MemorySpans()
    Tracer(1.0, None, exporter=spans.exporter).begin(None, "http infer").end(error="overloaded")
    assert (spans.finished()[0].status.status_code.name, spans.finished()[0].status.description) == ("ERROR", "overloaded")


def test_an_unsampled_request_pays_almost_nothing_and_allocates_nothing():
    tracer = Tracer(0.0, None, exporter=MemorySpans().exporter)
    assert calls_in(lambda: tracer.throw(None)) <= 3
    assert calls_in(lambda: tracer.throw(UNSAMPLED)) <= 12
    before = sys.getallocatedblocks()
    for _ in range(1000):
        tracer.begin(None, "x")
    assert sys.getallocatedblocks() - before < 100


def test_a_part_may_be_open_and_call_others_in_its_own_name():
    spans = MemorySpans()
    request = Tracer(1.0, None, exporter=spans.exporter).begin(None, "process events", kind="consumer")
    assert isinstance(request, Trace)
    sending = request.begin("send verdicts", kind="producer", links=(SAMPLED, "nonsense"))
    header = sending.traceparent
    sending.end(error="the broker is away")
    request.end()
    sent, processed = spans.finished()
    assert parse_traceparent(header) == (request.trace_id, format(sent.context.span_id, "016x"), True)
    assert (sent.kind.name, processed.kind.name, sent.status.description) == ("PRODUCER", "CONSUMER", "the broker is away")
    assert sent.parent.span_id == processed.context.span_id
    assert [format(link.context.trace_id, "032x") for link in sent.links] == [TRACE_ID]


def test_the_caller_s_tracestate_goes_on():
    trace = Tracer(0.0, None, exporter=MemorySpans().exporter).begin(SAMPLED, "http infer", tracestate="vendor=1,other=2")
    assert trace is not None
    assert (trace.trace_id, trace.tracestate) == (TRACE_ID, "vendor=1,other=2")
    assert trace.begin("model").tracestate == "vendor=1,other=2"
