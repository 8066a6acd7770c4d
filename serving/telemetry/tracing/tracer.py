"""Decides who is traced, and ships spans to an OpenTelemetry collector off the hot path.

The decision is made at the head, once: the caller's (W3C traceparent) if it made one, else a coin of `ratio`. A request that
is not sampled touches nothing of OpenTelemetry. Spans are given with their times after the fact, so the core only keeps
clock readings."""

import random
from collections.abc import Iterable
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from serving.telemetry.tracing.trace import Trace, TraceKind, remote_context, start_span
from serving.telemetry.tracing.traceparent import is_plainly_unsampled

EXPORT_TIMEOUT_S: Final = 2.0
EXPORT_EVERY_MS: Final = 1000.0
QUEUE: Final = 8192
"""Spans waiting for export; beyond it OpenTelemetry drops the oldest."""


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

    def begin(
        self,
        traceparent: str | None,
        name: str,
        *,
        kind: TraceKind = "server",
        start_ns: int | None = None,
        tracestate: str | None = None,
        links: Iterable[str] = (),
    ) -> Trace | None:
        """Start a span if it is sampled, else None. traceparent: the caller's header, if any; its decision wins, else the coin's.
        tracestate: the caller's, which goes on. links: traceparents of what it also comes from; they decide nothing."""
        if self._tracer is None:
            return None
        parent: otel.Span = otel.INVALID_SPAN
        if traceparent is not None:
            if is_plainly_unsampled(traceparent):
                return None
            caller = remote_context(traceparent, tracestate)
            if caller is not None:
                if not caller.trace_flags.sampled:
                    return None
                parent = otel.NonRecordingSpan(caller)
        if parent is otel.INVALID_SPAN and random.random() >= self._ratio:  # noqa: S311  # nosec B311  # a sampling coin, not a secret
            return None
        return Trace(self._tracer, start_span(self._tracer, name, parent, kind, start_ns, links))

    def close(self) -> None:
        """Export what is waiting, within EXPORT_TIMEOUT_S, and stop."""
        if self._provider is not None:
            self._provider.shutdown()


def _provider(service_name: str) -> TracerProvider:
    return TracerProvider(sampler=ALWAYS_ON, resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False)
