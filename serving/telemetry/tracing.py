"""Spans of sampled requests, shipped to an OpenTelemetry collector off the hot path.

The decision is made at the head, once: the caller's (W3C traceparent) if it made one, else a coin of `ratio`. A request that
is not sampled touches nothing of OpenTelemetry. Spans are given with their times after the fact, so the core only keeps
clock readings. The one user of OpenTelemetry."""

import random
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

Attributes = Mapping[str, bool | int | float | str]
NO_ATTRIBUTES: Final[Attributes] = MappingProxyType({})

EXPORT_TIMEOUT_S: Final = 2.0
EXPORT_EVERY_MS: Final = 1000.0
QUEUE: Final = 8192
"""Spans waiting for export; beyond it OpenTelemetry drops the oldest."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(-.*)?", re.DOTALL
)
_PLAIN_NO: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
"""The common header of a caller that does not sample: told without taking it apart."""


def parse_traceparent(header: str) -> tuple[str, str, bool] | None:
    """Read a W3C traceparent: (trace id, caller's span id, sampled); None if it is malformed.

    Source: W3C Trace Context, level 1, section 3.2. A version we do not know is read like version 00, as it asks."""
    match = _TRACEPARENT.fullmatch(header)
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return match[2], match[3], bool(int(match[4], 16) & 1)


class Trace:
    """One sampled request: a root span that is open until `end`, and its finished children."""

    __slots__ = ("_root", "_tracer", "trace_id")

    def __init__(self, tracer: otel.Tracer, root: otel.Span) -> None:
        self._tracer = tracer
        self._root = root
        self.trace_id = otel.format_trace_id(root.get_span_context().trace_id)
        """32 hex digits; the answer carries it in `parameters.trace_id`."""

    def span(self, name: str, start_ns: int, end_ns: int, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """Add a part that is over. Times: wall clock, nanoseconds since the epoch."""
        context = otel.set_span_in_context(self._root)
        self._tracer.start_span(name, context, attributes=attributes, start_time=start_ns).end(end_ns)

    def end(self, attributes: Attributes = NO_ATTRIBUTES, *, error: str | None = None, end_ns: int | None = None) -> None:
        """Close the request's span and hand everything to the exporter. error: set when the request was not answered."""
        self._root.set_attributes(attributes)
        if error is not None:
            self._root.set_status(otel.StatusCode.ERROR, error)
        self._root.end(end_ns)


class Tracer:
    """Decides which requests are traced, and ships their spans.

    endpoint: base URL of an OTLP/HTTP collector (`/v1/traces` is added), or None: nothing is ever traced. exporter: takes the
    endpoint's place, at once and in this thread; for tests."""

    def __init__(
        self, ratio: float, endpoint: str | None, service_name: str = "vedette", *, exporter: SpanExporter | None = None
    ) -> None:
        self._ratio = ratio
        self._provider: TracerProvider | None = None
        if exporter is not None:
            self._provider = _provider(service_name)
            self._provider.add_span_processor(SimpleSpanProcessor(exporter))
        elif endpoint is not None:
            self._provider = _provider(service_name)
            otlp = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_TIMEOUT_S)
            self._provider.add_span_processor(
                BatchSpanProcessor(
                    otlp,
                    max_queue_size=QUEUE,
                    schedule_delay_millis=EXPORT_EVERY_MS,
                    export_timeout_millis=EXPORT_TIMEOUT_S * 1000,
                )
            )
        self._tracer = None if self._provider is None else self._provider.get_tracer("vedette")

    @property
    def is_on(self) -> bool:
        """Whether any request may be traced."""
        return self._tracer is not None

    def begin(self, traceparent: str | None, name: str, *, start_ns: int | None = None) -> Trace | None:
        """Start the request's span if it is sampled. traceparent: the caller's header, if any; its decision wins."""
        if self._tracer is None:
            return None
        if traceparent is not None:
            if _PLAIN_NO.fullmatch(traceparent) is not None:
                return None
            caller = parse_traceparent(traceparent)
            if caller is not None:
                return self._start(self._tracer, name, start_ns, caller) if caller[2] else None
        if random.random() >= self._ratio:  # noqa: S311  # nosec B311  # a sampling coin, not a secret
            return None
        return self._start(self._tracer, name, start_ns, None)

    def close(self) -> None:
        """Export what is waiting, within EXPORT_TIMEOUT_S, and stop."""
        if self._provider is not None:
            self._provider.shutdown()

    @staticmethod
    def _start(tracer: otel.Tracer, name: str, start_ns: int | None, caller: tuple[str, str, bool] | None) -> Trace:
        context = otel.set_span_in_context(otel.INVALID_SPAN)
        if caller is not None:
            remote = otel.SpanContext(int(caller[0], 16), int(caller[1], 16), True, otel.TraceFlags(otel.TraceFlags.SAMPLED))
            context = otel.set_span_in_context(otel.NonRecordingSpan(remote))
        return Trace(tracer, tracer.start_span(name, context, kind=otel.SpanKind.SERVER, start_time=start_ns))


def _provider(service_name: str) -> TracerProvider:
    return TracerProvider(sampler=ALWAYS_ON, resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False)


class MemorySpans:
    """Keeps finished spans, for tests: `Tracer(1.0, None, exporter=spans.exporter)`."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def finished(self) -> tuple[ReadableSpan, ...]:
        """Every span that has ended, in the order of their ends."""
        return self.exporter.get_finished_spans()
