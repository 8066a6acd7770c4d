"""The span of a whole request: its name by the door it came through, what is told of its answer or error, and when it ends.

The parts within are read by serving.scoring; what is sampled and kept is decided in serving.telemetry.tracing."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from serving.doors.oip.errors import grpc_code, http_status
from serving.errors import ServingError
from serving.messages import InferAnswer, InferRequest
from serving.telemetry.metrics import outcome_of
from serving.telemetry.tracing import names
from serving.telemetry.tracing.names import Attributes, TraceKind
from serving.telemetry.tracing.request_trace import RequestTrace
from serving.telemetry.tracing.trace import Trace
from serving.telemetry.tracing.tracer import Tracer

_ROUTE: Final = "/v2/models/{model}/infer"
_ROUTE_OF_VERSION: Final = "/v2/models/{model}/versions/{version}/infer"
_HTTP_OK: Final = 200
_DOORS: Final = frozenset({"http", "grpc"})
_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        names.VARIANT: "variant",
        names.REVISION: "revision",
        names.SOURCE: "source",
        names.RECEIPT: "receipt",
        names.FALLBACK_FROM: "fallback_from",
    }
)
"""Attribute of the span -> parameter of the answer."""


def request_span(request: InferRequest) -> tuple[str, TraceKind]:
    """Name and kind of a request's span. Names have no model in them: there are few of them, so that they can be grouped."""
    if request.door == "http":
        return names.INFER_HTTP.format(route=_route(request)), "server"
    if request.door == "grpc":
        return names.INFER_GRPC, "server"
    return names.INFER, "internal"


def begin_request(tracer: Tracer, request: InferRequest) -> RequestTrace | None:
    """What this request's trace may be made of; None if it will have none."""
    if tracer.throw(request.traceparent):
        name, kind = request_span(request)
        trace = tracer.start(request.traceparent, name, kind=kind, start_ns=request.arrived_ns or None)
        return RequestTrace(tracer, request, trace, request_span)
    return RequestTrace(tracer, request, None, request_span) if tracer.tail.is_on else None


def end_answered(seen: RequestTrace, trace: Trace, answer: InferAnswer) -> InferAnswer:
    """End the span of an answered request. That of a door's request stays open until the door has encoded the answer, which it does before
    it waits for anything; the result says so to the door."""
    told: dict[str, bool | int | float | str] = {**_common(seen), names.MODEL_NAME: answer.model, names.VERSION: answer.version}
    for name, parameter in _PARAMETERS.items():
        if parameter in answer.parameters:
            told[name] = answer.parameters[parameter]
    told.update(_status(seen.request, None))
    open_answer = _OpenAnswer(seen, trace, told)
    if seen.request.door not in _DOORS:
        open_answer.end()
        return answer
    asyncio.get_running_loop().call_soon(open_answer.end)
    return msgspec.structs.replace(answer, trace=open_answer)


def end_failed(seen: RequestTrace, error: ServingError) -> None:
    """End the span of a request that got an error. An error that is not the client's is kept though it was not sampled."""
    is_ours = outcome_of(error) != "client_error"
    if is_ours:
        seen.keep("error")
    if seen.trace is None:
        return
    seen.write()
    told = {**_common(seen), **_status(seen.request, error), names.ERROR_TYPE: type(error).__name__}
    seen.trace.end({**told, names.MODEL_NAME: seen.request.model}, error=error.message if is_ours else None)


def end_abandoned(seen: RequestTrace) -> None:
    """End the span of a request whose client is gone. Nothing is kept for it: clients may go as they like."""
    if seen.trace is not None:
        seen.write()
        seen.trace.end({**_common(seen), names.MODEL_NAME: seen.request.model}, error="the client disconnected")


class _OpenAnswer:
    """See serving.messages.AnswerTrace."""

    __slots__ = ("_answered_ns", "_encoded_ns", "_seen", "_told", "_trace")

    def __init__(self, seen: RequestTrace, trace: Trace, told: dict[str, bool | int | float | str]) -> None:
        self._seen, self._trace, self._told = seen, trace, told
        self._answered_ns = self._encoded_ns = time.time_ns()

    def encoded(self, size: int) -> None:
        self._encoded_ns = time.time_ns()
        if self._seen.request.door == "http":
            self._told[names.HTTP_ANSWER_BYTES] = size

    def end(self) -> None:
        trace = self._trace
        self._seen.write()
        if self._encoded_ns > self._answered_ns:
            trace.span(names.ENCODE, self._answered_ns, self._encoded_ns)
        trace.end(self._told, end_ns=self._encoded_ns)


def _common(seen: RequestTrace) -> Attributes:
    """What the span says however it ends. The part before scoring is over by now, so its span is written here."""
    request, trace = seen.request, seen.trace
    if request.arrived_ns and trace is not None:
        offset_ns = seen.offset_ns()
        ended_ns = time.time_ns() if offset_ns is None else max(offset_ns + int(seen.started_s * 1e9), request.arrived_ns)
        trace.span(names.DECODE, request.arrived_ns, ended_ns, {names.INPUTS: len(request.inputs)})
    if request.door == "http":
        return {names.KEPT: seen.reason, names.HTTP_METHOD: "POST", names.HTTP_ROUTE: _route(request)}
    if request.door == "grpc":
        return {names.KEPT: seen.reason, names.RPC_SYSTEM: "grpc", names.RPC_METHOD: names.INFER_GRPC}
    return {names.KEPT: seen.reason}


def _status(request: InferRequest, error: ServingError | None) -> Attributes:
    if request.door == "http":
        return {names.HTTP_STATUS: _HTTP_OK if error is None else http_status(error)}
    if request.door == "grpc":
        return {names.RPC_STATUS: "OK" if error is None else grpc_code(error)}
    return {}


def _route(request: InferRequest) -> str:
    return request.route or (_ROUTE if request.version is None else _ROUTE_OF_VERSION)
