"""The way of spans to the collector: a bounded queue and a thread of its own, so that no request waits for it.

A collector that is gone, slow or full costs spans and nothing else: they are counted, and the log has one line when that begins and one
when it ends."""

import logging
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

EXPORT_TIMEOUT_S: Final = 2.0
EXPORT_EVERY_MS: Final = 1000.0
QUEUE: Final = 8192
"""Spans waiting for export; further ones are dropped."""
_LIBRARY: Final = "opentelemetry"
_log = logging.getLogger("vedette.tracing")


class SpanDelivery:
    """Takes spans, ships them in batches. endpoint: base URL of an OTLP/HTTP collector; `/v1/traces` is added."""

    def __init__(self, endpoint: str) -> None:
        logging.getLogger(_LIBRARY).setLevel(logging.CRITICAL)  # it writes a line a batch while the collector is away
        self._exporter = _Counted(OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_TIMEOUT_S), endpoint)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE,
            schedule_delay_millis=EXPORT_EVERY_MS,
            export_timeout_millis=EXPORT_TIMEOUT_S * 1000,
        )
        self._taken = self._dropped = 0

    def take(self, span: ReadableSpan) -> None:
        """Queue a span, or drop it if QUEUE of them wait."""
        if self._taken - self._exporter.seen >= QUEUE:
            self._dropped += 1
            return
        self._taken += 1
        self._processor.on_end(span)

    def counts(self) -> dict[str, int]:
        """Spans so far by outcome."""
        return {"delivered": self._exporter.delivered, "undeliverable": self._exporter.lost, "dropped": self._dropped}

    def close(self) -> None:
        """Export what is waiting, within EXPORT_TIMEOUT_S, and stop."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _Counted(SpanExporter):
    """Counts what another exporter delivers, and logs when it begins and ends to fail. Runs in the processor's thread."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter, self._endpoint = exporter, endpoint
        self.seen = self.delivered = self.lost = 0
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver a batch."""
        try:
            result = self._exporter.export(spans)
        except Exception:
            _log.exception("spans cannot be encoded; they are lost")
            result = SpanExportResult.FAILURE
        self.seen += len(spans)
        has_failed = result is not SpanExportResult.SUCCESS
        if has_failed:
            self.lost += len(spans)
        else:
            self.delivered += len(spans)
        if has_failed and not self._is_failing:
            _log.warning("the collector %s takes no spans; requests are answered as before, and spans are lost", self._endpoint)
        elif self._is_failing and not has_failed:
            _log.warning("the collector %s takes spans again", self._endpoint)
        self._is_failing = has_failed
        return result

    def shutdown(self) -> None:
        """End the other one."""
        self._exporter.shutdown()
