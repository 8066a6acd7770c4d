"""A look of the operator is one trace: what was observed, judged, recorded and done, and what went wrong."""

import sys

import pytest

from operators.handlers.looking.look_spans import open_tracer, part, traced
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.operator.operator_desk import Desk
from tests.fakes.tracing.memory_spans import MemorySpans


@pytest.fixture
def spans() -> MemorySpans:
    return MemorySpans()


def follow(desk: Desk, spans: MemorySpans, ratio: float = 1.0) -> None:
    """From now on its looks are traced."""
    tracer = Tracer(ratio, None, exporter=spans.exporter)
    desk.looker.look = traced(tracer, "ModelService", desk.looker.look)  # type: ignore[method-assign]


def the_last_look(spans: MemorySpans):
    """Its span, and the parts by name."""
    found = spans.finished()
    root = found[-1]
    return root, {span.name: span for span in found if span.parent is not None and span.parent.span_id == root.context.span_id}


async def test_a_look_that_aborts_says_what_it_saw_and_why_and_what_it_did(desk: Desk, spans):
    await desk.at_25()
    desk.fails()
    follow(desk, spans)
    await desk.look()

    root, parts = the_last_look(spans)

    assert (root.name, root.parent, root.status.is_ok) == ("reconcile ModelService", None, True)
    assert (root.attributes["k8s.namespace.name"], root.attributes["vedette.resource.name"]) == (desk.namespace, desk.name)
    assert root.attributes["vedette.look.again_s"] == desk.after_s
    assert parts.keys() == {"observe", "judge", "record", "act"}
    assert parts["observe"].attributes == {"vedette.replicas": 2}
    judge = parts["judge"].attributes
    assert (judge["vedette.rollout.phase"], judge["vedette.rollout.verdict"]) == ("Aborted", "worse")
    assert "Abort" in judge["vedette.rollout.moves"]
    assert "errors" in judge["vedette.rollout.reason"]
    assert parts["record"].start_time <= parts["act"].start_time


async def test_an_act_that_fails_is_an_error_of_its_span_and_of_the_look(desk: Desk, spans):
    await desk.at_25()
    desk.backend.refuses = "the cluster has no room"
    follow(desk, spans)
    await desk.look()

    root, parts = the_last_look(spans)

    assert [span.status.description for span in (parts["act"], root)] == ["the cluster has no room"] * 2
    assert [span.attributes["error.type"] for span in (parts["act"], root)] == ["BackendError", "TryLater"]
    assert desk.problem == "the cluster has no room"


async def test_replicas_that_cannot_be_measured_are_said_to_be(desk: Desk, spans):
    await desk.at_25()
    desk.backend.silent = "no replica answers"
    follow(desk, spans)
    await desk.look()

    assert the_last_look(spans)[1]["observe"].attributes["vedette.unmeasured"] == "no replica answers"


async def test_a_look_that_is_not_sampled_has_no_spans(desk: Desk, spans):
    await desk.at_25()
    follow(desk, spans, ratio=0.0)
    await desk.look()
    with part("outside of any look"):
        pass

    assert spans.finished() == ()


async def _no_look(key) -> None:
    del key


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:4318"], ids=["no collector", "no OpenTelemetry"])
def test_an_operator_without_a_collector_or_without_opentelemetry_looks_as_ever(monkeypatch, endpoint):
    monkeypatch.setitem(sys.modules, "serving.telemetry.tracing.tracer", None)  # as in the operator's image

    assert traced(open_tracer(1.0, endpoint), "ModelService", _no_look) is _no_look
