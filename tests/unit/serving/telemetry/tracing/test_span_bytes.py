"""The bytes of spans, against what the SDK of OpenTelemetry writes of the same ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from serving.telemetry.tracing.span_bytes import (
    NO_PARENT,
    KnownAttributes,
    encode_request,
    encode_resource,
    encode_span,
    head_of,
)
from tests.fakes.tracing.memory_spans import readable

IDS = st.binary(min_size=8, max_size=8).filter(any)
TRACES = st.binary(min_size=16, max_size=16).filter(any)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT
KINDS = ["internal", "server", "client", "producer", "consumer"]
SPANS = st.fixed_dictionaries(
    {
        "trace_id": TRACES,
        "span_id": IDS,
        "parent_id": st.just(NO_PARENT) | IDS,
        "is_remote": st.booleans(),
        "tracestate": st.sampled_from(["", "vendor=1", "vendor=1,other=2"]),
        "name": TEXT,
        "kind": st.sampled_from(KINDS),
        "start_ns": st.integers(0, 2**63),
        "end_ns": st.integers(0, 2**63),
        "attributes": st.dictionaries(NAMES, VALUES, max_size=5),
        "more": st.dictionaries(NAMES, VALUES, max_size=3),
        "are_known": st.booleans(),
        "links": st.lists(st.tuples(TRACES, IDS), max_size=3).map(tuple),
        "error": st.none() | TEXT,
    }
)
RESOURCE = Resource({"service.name": "vedette-test", "k8s.replicas": 3, "is_there": True})


def ours(span: dict[str, Any]) -> bytes:
    given = {name: span[name] for name in ("name", "kind", "start_ns", "end_ns", "is_remote", "links", "error")}
    attributes = KnownAttributes(span["attributes"]) if span["are_known"] else span["attributes"]
    head = head_of(span["trace_id"], span["tracestate"])
    return encode_span(head, span["span_id"], span["parent_id"], attributes=attributes, more=span["more"], **given)


def theirs(span: dict[str, Any]) -> ReadableSpan:
    state = otel.TraceState.from_header([span["tracestate"]]) if span["tracestate"] else None

    def context(trace_id: bytes, span_id: bytes, state: Any = None, *, is_remote: bool = False) -> otel.SpanContext:
        return otel.SpanContext(
            int.from_bytes(trace_id), int.from_bytes(span_id), is_remote, otel.TraceFlags(otel.TraceFlags.SAMPLED), state
        )

    parent = context(span["trace_id"], span["parent_id"], state, is_remote=span["is_remote"]) if span["parent_id"] else None
    return ReadableSpan(
        span["name"],
        context(span["trace_id"], span["span_id"], state),
        parent,
        RESOURCE,
        {**span["attributes"], **span["more"]},
        links=[otel.Link(context(*link, is_remote=True)) for link in span["links"]],
        kind=otel.SpanKind[span["kind"].upper()],
        status=otel.Status() if span["error"] is None else otel.Status(otel.StatusCode.ERROR, span["error"]),
        start_time=span["start_ns"],
        end_time=span["end_ns"],
        instrumentation_scope=InstrumentationScope("vedette"),
    )


@pytest.mark.heavy
@given(st.lists(SPANS, min_size=1, max_size=4))
def test_a_collector_reads_what_it_would_read_from_the_sdk(spans):
    for span in spans:
        span["is_remote"] = span["is_remote"] and bool(span["parent_id"])
        span["more"] = {name: value for name, value in span["more"].items() if name not in span["attributes"]}
    written = [ours(span) for span in spans]
    request = ExportTraceServiceRequest.FromString(encode_request(encode_resource(RESOURCE.attributes), written))
    expected = encode_spans([theirs(span) for span in spans])
    for one in (request, expected):
        for group in one.resource_spans:
            for scope in group.scope_spans:
                scope.schema_url = ""
    assert request == expected
    assert encode_spans(readable(written, RESOURCE)).resource_spans == expected.resource_spans
