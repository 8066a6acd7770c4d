"""Requests that nobody sampled and that are worth a trace; and what the others pay."""

import asyncio
import logging

import pytest
from msgspec.structs import replace

from serving.errors import DeadlineExceeded, NotFound, Overloaded
from serving.loading.served_file import newest_of_each
from serving.replica.request_spans import EarlyRefusals, begin_request, end_failed, request_span
from serving.telemetry.tracing.names import ATTRIBUTES, SPANS
from serving.telemetry.tracing.tail import KeepPolicy
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.unit.serving.replica.service import World, ask

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00"
NEVER_SLOW = 3600.0


def kept(spans: MemorySpans) -> list[tuple[str, str]]:
    """Names of the requests' spans, and why they are there."""
    return [(s.name, s.attributes["vedette.trace.kept"]) for s in spans.finished() if "vedette.trace.kept" in s.attributes]


def tracer(spans: MemorySpans, slow_s: float = NEVER_SLOW, per_s: int = 100) -> Tracer:
    return Tracer(0.0, None, tail=KeepPolicy(slow_s, per_s), exporter=spans.exporter)


@pytest.mark.parametrize(
    ("asked", "name", "kind"),
    [
        pytest.param({"door": "http"}, "POST /v2/models/{model}/infer", "server", id="HTTP"),
        pytest.param(
            {"door": "http", "version": "2"}, "POST /v2/models/{model}/versions/{version}/infer", "server", id="of a version"
        ),
        pytest.param(
            {"door": "http", "route": "/v1/models/{model}:predict"}, "POST /v1/models/{model}:predict", "server", id="V1"
        ),
        pytest.param({"door": "grpc"}, "inference.GRPCInferenceService/ModelInfer", "server", id="gRPC"),
        pytest.param({"door": "kafka"}, "infer", "internal", id="no door"),
    ],
)
def test_a_request_s_span_is_named_by_its_door(asked, name, kind):
    assert request_span(replace(ask(), **asked)) == (name, kind)


async def test_a_slow_request_is_kept_with_its_parts_under_the_caller_s_trace(tmp_path, simple):
    spans = MemorySpans()
    world = World(tmp_path, simple, tracer=tracer(spans, slow_s=-1.0))
    await world.service.apply(newest_of_each(world.store))
    answer = await world.service.infer(replace(ask(), traceparent=UNSAMPLED))
    await asyncio.sleep(0)
    assert kept(spans) == [("POST /v2/models/{model}/infer", "slow")]
    assert {s.name for s in spans.finished()} >= {"model", "audit"}
    (whole,) = [s for s in spans.finished() if "vedette.trace.kept" in s.attributes]
    assert whole.parent is None, "the caller's span is never sent, so a backend would wait for it"
    assert [format(link.context.span_id, "016x") for link in whole.links] == [UNSAMPLED[36:52]]
    described = {"POST /v2/models/{model}/infer", *SPANS} - {"POST {route}"}
    assert {s.name for s in spans.finished()} <= described
    assert {name for s in spans.finished() for name in s.attributes} <= ATTRIBUTES.keys()
    assert answer.parameters["trace_id"] == world.audit.records[0].trace_id == TRACE_ID


async def test_a_quick_good_request_that_nobody_sampled_leaves_nothing(tmp_path, simple):
    spans = MemorySpans()
    world = World(tmp_path, simple, tracer=tracer(spans))
    await world.service.apply(newest_of_each(world.store))
    answer = await world.service.infer(ask())
    await asyncio.sleep(0)
    assert (spans.finished(), "trace_id" in answer.parameters, answer.trace) == ((), False, None)


@pytest.mark.parametrize(
    ("error", "reasons"),
    [
        pytest.param(DeadlineExceeded("late"), ["error"], id="the deadline passed"),
        pytest.param(Overloaded("full", retry_after_s=1), ["error"], id="refused"),
        pytest.param(NotFound("no such model"), [], id="an error of the client: it could make as many as it likes"),
    ],
)
def test_an_error_is_kept_if_it_is_not_the_client_s(error, reasons):
    spans = MemorySpans()
    seen = begin_request(tracer(spans), ask())
    end_failed(seen, error)
    assert [reason for _, reason in kept(spans)] == reasons
    assert all(s.status.status_code.name == "ERROR" for s in spans.finished())


def test_an_overload_is_none_of_the_collector():
    spans = MemorySpans()
    one = Tracer(0.0, None, tail=KeepPolicy(NEVER_SLOW, 3), exporter=spans.exporter, now_s=lambda: 7.0)
    for _ in range(50):
        end_failed(begin_request(one, ask()), Overloaded("full", retry_after_s=1))
    assert len(kept(spans)) == 3
    ((_, counts),) = one.metrics()
    assert counts == {("sampled",): 0.0, ("error",): 3.0, ("slow",): 0.0, ("degraded",): 0.0, ("unkept",): 47.0}


async def test_the_line_about_a_defect_names_its_trace(tmp_path, simple, caplog):
    class Defective:
        def __init__(self, inner):
            self.keep = inner.keep

        async def score(self, *_):
            raise RuntimeError("a defect")

    spans = MemorySpans()
    world = World(tmp_path, simple, tracer=tracer(spans), wrap=Defective)
    await world.service.apply(newest_of_each(world.store))
    with caplog.at_level(logging.ERROR), pytest.raises(Exception, match="RuntimeError"):
        await world.service.infer(replace(ask(), traceparent=UNSAMPLED))
    assert [record.trace_id for record in caplog.records if record.name == "vedette.service"] == [TRACE_ID]
    assert spans.finished()[-1].attributes["error.type"] == "Internal"


FULL = Overloaded("full", retry_after_s=1)


@pytest.mark.parametrize(
    ("door", "path", "name"),
    [
        pytest.param("http", b"/v2/models/flows/infer?x=1", "POST /v2/models/{model}/infer", id="V2"),
        pytest.param(
            "http", b"/v2/models/flows/versions/1/infer/", "POST /v2/models/{model}/versions/{version}/infer", id="of a version"
        ),
        pytest.param("http", b"/v1/models/flows:predict", "POST /v1/models/{model}:predict", id="V1"),
        pytest.param(
            "grpc", b"/inference.GRPCInferenceService/ModelInfer", "inference.GRPCInferenceService/ModelInfer", id="gRPC"
        ),
    ],
)
def test_a_request_that_is_refused_before_its_body_is_kept_without_its_model(door, path, name):
    spans = MemorySpans()
    EarlyRefusals(tracer(spans))(door, path, UNSAMPLED.encode(), FULL)
    assert kept(spans) == [(name, "error")]
    (span,) = spans.finished()
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "Overloaded")
    assert format(span.context.trace_id, "032x") == TRACE_ID
    assert span.attributes.keys() <= ATTRIBUTES.keys()


def test_early_refusals_are_bounded_also_where_the_caller_samples_and_a_part_of_its_trace_then():
    spans = MemorySpans()
    one = Tracer(1.0, None, tail=KeepPolicy(NEVER_SLOW, 3), exporter=spans.exporter, now_s=lambda: 7.0)
    for _ in range(50):
        EarlyRefusals(one)("http", b"/v2/models/flows/infer", UNSAMPLED[:-2] + "01", FULL)
    assert len(kept(spans)) == 3
    assert {format(span.parent.span_id, "016x") for span in spans.finished()} == {UNSAMPLED[36:52]}


@pytest.mark.parametrize("header", [b"", b"\xff\xfe", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b"x" * 10_000])
def test_a_malformed_trace_of_an_early_refusal_is_ignored(header):
    spans = MemorySpans()
    EarlyRefusals(tracer(spans))("http", b"/v2/models/flows/infer", header, FULL)
    (span,) = spans.finished()
    assert (span.parent, span.links) == (None, ())
