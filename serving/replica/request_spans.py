"""The span of a whole request: its name by the door it came through, its attributes of the answer or error, and when it ends.

The parts within are read by serving.scoring; what is sampled and kept is decided in serving.telemetry.tracing."""

import asyncio
import time
from functools import lru_cache
from typing import Final

import msgspec

from serving.doors.oip.errors import grpc_code, http_status
from serving.errors import ServingError
from serving.messages import InferAnswer, InferRequest
from serving.telemetry.metrics import outcome_of
from serving.telemetry.tracing import names
from serving.telemetry.tracing.names import Attributes, TraceKind
from serving.telemetry.tracing.request_trace import RequestTrace, Told
from serving.telemetry.tracing.span_bytes import KnownAttributes
from serving.telemetry.tracing.trace import Trace
from serving.telemetry.tracing.tracer import Tracer

_ROUTE: Final = "/v2/models/{model}/infer"
_ROUTE_OF_VERSION: Final = "/v2/models/{model}/versions/{version}/infer"
_HTTP_OK: Final = 200
_DOORS: Final = frozenset({"http", "grpc"})
_SAID: Final = (names.MODEL_NAME, names.VERSION, names.VARIANT, names.REVISION, names.SOURCE, names.FALLBACK_FROM)


def request_span(request: InferRequest) -> tuple[str, TraceKind]:
    """Name and kind of a request's span. Names have no model in them: there are few of them, so that they can be grouped."""
    if request.door == "http":
        return _http_name(_route(request)), "server"
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
    open_answer = _OpenAnswer(seen, trace, answer)
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
    if seen.trace is not None:
        told = {**_common(seen), names.MODEL_NAME: seen.request.model, names.ERROR_TYPE: type(error).__name__}
        seen.trace.close(told, _status(seen.request.door, error), error=error.message if is_ours else None)
        seen.trace.ship(_spans(seen, seen.trace))


def end_abandoned(seen: RequestTrace) -> None:
    """End the span of a request whose client is gone. Nothing is kept for it: clients may go as they like."""
    if seen.trace is not None:
        seen.trace.close({**_common(seen), names.MODEL_NAME: seen.request.model}, error="the client disconnected")
        seen.trace.ship(_spans(seen, seen.trace))


class EarlyRefusals:
    """Keeps spans of requests that admission refuses before their body is read: as many as of other errors, and nothing of the rest.

    Nobody knows yet which model they ask for. A serving.doors.requester.OnEarlyRefusal."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(self, door: str, path: bytes, traceparent: bytes | str | None, error: ServingError) -> None:
        """See OnEarlyRefusal."""
        header = traceparent.decode("latin-1") if isinstance(traceparent, bytes) else traceparent
        trace = self._tracer.keep("error", header, names.INFER_GRPC)
        if trace is None:
            return
        route = _route_of(path) if door == "http" else ""
        if door == "http":
            trace.name = _http_name(route)
        told = {names.KEPT: "error", **_of_door(door, route), names.ERROR_TYPE: type(error).__name__}
        trace.end(told, _status(door, error), error=error.message)


class _OpenAnswer:
    """See serving.messages.AnswerTrace."""

    __slots__ = ("_answer", "_answered_ns", "_encoded_ns", "_seen", "_size", "_trace")

    def __init__(self, seen: RequestTrace, trace: Trace, answer: InferAnswer) -> None:
        self._seen, self._trace, self._answer = seen, trace, answer
        self._answered_ns, self._encoded_ns, self._size = time.time_ns(), 0, 0

    def encoded(self, size: int) -> None:
        self._encoded_ns, self._size = time.time_ns(), size

    def end(self) -> None:
        seen, answer, trace = self._seen, self._answer, self._trace
        request, said = seen.request, answer.parameters.get
        told = _answered(
            *(seen.reason, request.door, _route(request), answer.model, answer.version),
            *(said("variant"), said("revision"), said("source"), said("fallback_from")),
        )
        more: dict[str, bool | int | float | str] = {names.RECEIPT: said("receipt", "")}
        spans = _spans(seen, trace)
        if self._encoded_ns:
            spans.answered_ns, spans.encoded_ns = self._answered_ns, self._encoded_ns
            if request.door == "http":
                more[names.HTTP_ANSWER_BYTES] = self._size
        trace.close(told, more, end_ns=self._encoded_ns or self._answered_ns)
        trace.ship(spans)


class _RequestSpans(msgspec.Struct):
    """A request's span that is closed, and what its parts are made of, see FinishedSpans.

    offset_ns: what the wall clock is ahead of the readings'. read_ns: when the door had read the request, in the wall clock. answered_ns,
    encoded_ns: while the door encoded; 0: it did not."""

    trace: Trace
    readings: list[Told]
    offset_ns: int
    arrived_ns: int
    read_ns: int
    inputs: int
    answered_ns: int = 0
    encoded_ns: int = 0

    def count(self) -> int:
        return 1 + len(self.readings) + (self.arrived_ns > 0) + (self.answered_ns > 0)

    def encode(self) -> list[bytes]:
        trace, offset_ns = self.trace, self.offset_ns
        if self.arrived_ns:
            trace.span(names.DECODE, self.arrived_ns, max(self.read_ns, self.arrived_ns), _inputs(self.inputs))
        for name, start_s, end_s, told, more, error in self.readings:
            trace.span(name, offset_ns + int(start_s * 1e9), offset_ns + int(end_s * 1e9), told, more, error=error)
        if self.answered_ns:
            trace.span(names.ENCODE, self.answered_ns, self.encoded_ns)
        return trace.encode()


def _spans(seen: RequestTrace, trace: Trace) -> _RequestSpans:
    request, offset_ns = seen.request, seen.offset_ns()
    if offset_ns is None:  # scoring has not begun, so nothing was read
        return _RequestSpans(trace, [], 0, request.arrived_ns, time.time_ns(), len(request.inputs))
    read_ns = offset_ns + int(seen.started_s * 1e9)
    return _RequestSpans(trace, seen.told(), offset_ns, request.arrived_ns, read_ns, len(request.inputs))


def _common(seen: RequestTrace) -> Attributes:
    """What the span says however it ends."""
    return {names.KEPT: seen.reason, **_of_door(seen.request.door, _route(seen.request))}


def _of_door(door: str, route: str) -> Attributes:
    if door == "http":
        return {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: route}
    return {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: names.INFER_GRPC} if door == "grpc" else {}


def _status(door: str, error: ServingError | None) -> Attributes:
    if door == "http":
        return {names.HTTP_STATUS: _HTTP_OK if error is None else http_status(error)}
    if door == "grpc":
        return {names.RPC_STATUS: "OK" if error is None else grpc_code(error)}
    return {}


@lru_cache(maxsize=1024)
def _answered(
    *of: bool | int | float | str | None,
) -> Attributes:
    """What spans of answers have in common that are alike in all this."""
    reason, door, route, *said = of
    values = {names.KEPT: reason, **_of_door(str(door), str(route)), **_status(str(door), None)}
    values |= zip(_SAID, said, strict=True)
    return KnownAttributes({name: value for name, value in values.items() if value is not None})


@lru_cache(maxsize=256)
def _inputs(count: int) -> Attributes:
    return KnownAttributes({names.INPUTS: count})


@lru_cache(maxsize=64)
def _http_name(route: str) -> str:
    return names.INFER_HTTP.format(route=route)


def _route_of(path: bytes) -> str:
    """The route of an inference's path, whose model has not been looked for yet."""
    verb = path.partition(b"?")[0].rstrip(b"/").rpartition(b":")[2]
    if verb in (b"predict", b"explain"):
        return f"/v1/models/{{model}}:{verb.decode()}"
    return _ROUTE_OF_VERSION if b"/versions/" in path else _ROUTE


def _route(request: InferRequest) -> str:
    return request.route or (_ROUTE if request.version is None else _ROUTE_OF_VERSION)
