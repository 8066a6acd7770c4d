"""Spans of a look: `reconcile KIND`, and within it what was observed, judged, recorded and done. Decides nothing.

A look is one task, so the span that is open is a variable of the task's context; outside a traced look nothing is kept."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Final

from operators.handlers.documents import Key
from operators.one_look import LookOutcome, Scaling, look_outcome
from operators.ports import Backend, BackendView, ServiceRef
from operators.rollout.facts import Desired
from operators.rollout.status import RolloutStatus, VerbRequest
from operators.telemetry.span_names import (
    AGAIN_S,
    ERROR_TYPE,
    JUDGE,
    MOVES,
    NAMESPACE,
    OBSERVE,
    PHASE,
    REASON,
    RECONCILE,
    REPLICAS,
    RESOURCE,
    UNMEASURED,
    VERDICT,
)

if TYPE_CHECKING:  # OpenTelemetry is loaded only where a collector is named
    from serving.telemetry.tracing.trace import Trace
    from serving.telemetry.tracing.tracer import Tracer

LookAt = Callable[[Key], Awaitable[float | None]]
SpanFacts = dict[str, bool | int | float | str]
_MOST_WORDS: Final = 500
_log = logging.getLogger("vedette.operator")
_OPEN: "ContextVar[Trace | None]" = ContextVar("vedette_open_look", default=None)


def open_tracer(ratio: float, endpoint: str | None) -> "Tracer | None":
    """What makes and ships spans; None: no collector is named, or OpenTelemetry is not installed, which the log says."""
    if endpoint is None:
        return None
    try:
        from serving.telemetry.tracing.tracer import Tracer
    except ImportError as problem:
        _log.error(
            "VEDETTE_OPERATOR_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: looks are not traced (%s)", problem
        )
        return None
    return Tracer(ratio, endpoint, "vedette-operator")


def traced(tracer: "Tracer | None", kind: str, look: LookAt) -> LookAt:
    """The same look, with a span if it is sampled. kind: of the resource."""
    if tracer is None:
        return look

    async def traced_look(key: Key) -> float | None:
        trace = tracer.begin(None, f"{RECONCILE} {kind}", kind="internal")
        if trace is None:
            return await look(key)
        facts: SpanFacts = {NAMESPACE: key[0], RESOURCE: key[1]}
        before = _OPEN.set(trace)
        try:
            after_s = await look(key)
        except BaseException as problem:
            trace.end({**facts, ERROR_TYPE: type(problem).__name__}, error=_words(problem))
            raise
        finally:
            _OPEN.reset(before)
        trace.end(facts if after_s is None else {**facts, AGAIN_S: after_s})
        return after_s

    return traced_look


@contextmanager
def part(name: str) -> Iterator[SpanFacts]:
    """A part of the look under way; yields what its span says. An exception is the span's error."""
    facts: SpanFacts = {}
    trace, began_ns = _OPEN.get(), time.time_ns()
    if trace is None:
        yield facts
        return
    try:
        yield facts
    except BaseException as problem:
        facts[ERROR_TYPE] = type(problem).__name__
        trace.span(name, began_ns, time.time_ns(), facts, error=_words(problem))
        raise
    trace.span(name, began_ns, time.time_ns(), facts)


async def observed(backend: Backend, service: ServiceRef) -> BackendView:
    """What the backend says, see Backend.look."""
    with part(OBSERVE) as facts:
        view = await backend.look(service)
        facts[REPLICAS] = len(view.observation.replicas)
        if view.observation.problem is not None:
            facts[UNMEASURED] = view.observation.problem[:_MOST_WORDS]
    return view


def judged(
    desired: Desired,
    before: RolloutStatus,
    view: BackendView,
    requests: tuple[VerbRequest, ...],
    scaling: Scaling | None,
    now: datetime,
) -> LookOutcome:
    """What the look leads to, see operators.one_look."""
    with part(JUDGE) as facts:
        outcome = look_outcome(desired, before, view, requests, scaling, now)
        rollout = outcome.rollout
        facts |= {
            PHASE: rollout.status.phase.value,
            VERDICT: rollout.status.assessment.verdict.value,
            MOVES: ",".join(type(move).__name__ for move in rollout.made),
            REASON: rollout.decision.reason[:_MOST_WORDS],
        }
    return outcome


def _words(problem: BaseException) -> str:
    return str(problem)[:_MOST_WORDS] or type(problem).__name__
