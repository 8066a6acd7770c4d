"""The bytes of spans, against what the SDK of OpenTelemetry writes of the same ones."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from serving.telemetry.tracing.finished import FinishedSpan, encode_request, encode_resource
from serving.telemetry.tracing.memory_spans import readable

IDS = st.integers(1, 2**64 - 1)
TRACES = st.integers(1, 2**128 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT
SPANS = st.builds(
    FinishedSpan,
    trace_id=TRACES,
    span_id=IDS,
    parent_id=st.just(0) | IDS,
    is_remote=st.booleans(),
    tracestate=st.sampled_from(["", "vendor=1", "vendor=1,other=2"]),
    name=TEXT,
    kind=st.sampled_from(["internal", "server", "client", "producer", "consumer"]),
    start_ns=st.integers(0, 2**63),
    end_ns=st.integers(0, 2**63),
    attributes=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), VALUES, max_size=5),
    links=st.lists(st.tuples(TRACES, IDS), max_size=3).map(tuple),
    error=st.none() | TEXT,
)


@given(st.lists(SPANS, min_size=1, max_size=4))
def test_a_collector_reads_what_it_would_read_from_the_sdk(spans):
    for span in spans:
        if not span.parent_id:
            span.is_remote = False
    resource = Resource({"service.name": "vedette-test", "k8s.replicas": 3, "is_there": True})
    ours = ExportTraceServiceRequest.FromString(encode_request(encode_resource(resource.attributes), spans))
    theirs = encode_spans([readable(span, resource) for span in spans])
    for request in (ours, theirs):
        for group in request.resource_spans:
            for scope in group.scope_spans:
                scope.schema_url = ""
    assert ours == theirs
