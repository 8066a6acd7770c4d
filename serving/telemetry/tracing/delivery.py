"""The way of spans to the collector: a bounded queue and a thread of its own, so that no request waits for it.

A collector that is gone, slow or full costs spans and nothing else: they are counted, and the log has one line when that begins and one
when it ends. The connection (TLS, headers, proxies, trying again) is the exporter's of OpenTelemetry and takes its OTEL_EXPORTER_OTLP_*
variables; the bytes are ours (`finished`)."""

import logging
import threading
from collections import deque
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from serving.telemetry.tracing.finished import FinishedSpan, encode_request

EXPORT_TIMEOUT_S: Final = 2.0
EXPORT_EVERY_S: Final = 1.0
QUEUE: Final = 8192
"""Spans waiting for export; further ones are dropped."""
BATCH: Final = 512
"""Spans sent at once."""
_LIBRARY: Final = "opentelemetry"
_log = logging.getLogger("vedette.tracing")


class SpanDelivery:
    """Takes spans, ships them in batches. endpoint: base URL of an OTLP/HTTP collector; `/v1/traces` is added. resource: see `finished`."""

    def __init__(self, endpoint: str, resource: bytes) -> None:
        logging.getLogger(_LIBRARY).setLevel(logging.CRITICAL)  # it writes a line a batch while the collector is away
        self._exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._endpoint, self._resource = endpoint, resource
        self._waiting: deque[FinishedSpan] = deque()
        self._delivered = self._lost = self._dropped = 0
        self._is_failing = False
        self._closing, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="spans", daemon=True)
        self._thread.start()

    def take(self, span: FinishedSpan) -> None:
        """Queue a span, or drop it if QUEUE of them wait. May be called from any thread."""
        if len(self._waiting) >= QUEUE or self._closing.is_set():
            self._dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == BATCH:
            self._wake.set()

    def counts(self) -> dict[str, int]:
        """Spans so far by outcome."""
        return {"delivered": self._delivered, "undeliverable": self._lost, "dropped": self._dropped}

    def close(self) -> None:
        """Export what is waiting, within EXPORT_TIMEOUT_S, and stop."""
        self._closing.set()
        self._wake.set()
        self._thread.join(EXPORT_TIMEOUT_S)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _deliver(self) -> None:
        """Send each second, or as soon as a batch is full."""
        while not self._closing.is_set():
            self._wake.wait(EXPORT_EVERY_S)
            self._wake.clear()
            self._empty()
        self._empty()

    def _empty(self) -> None:
        """Send what waits. After a failure the rest waits for the next time."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._send(batch):
                return

    def _send(self, batch: list[FinishedSpan]) -> bool:
        try:
            is_taken = bool(self._exporter._client.export(encode_request(self._resource, batch)).success)
        except Exception:
            _log.exception("%d spans cannot be sent; they are lost", len(batch))
            is_taken = False
        if is_taken:
            self._delivered += len(batch)
        else:
            self._lost += len(batch)
        if self._is_failing is is_taken:
            said = "takes spans again" if is_taken else "takes no spans; requests are answered as before, and spans are lost"
            _log.warning("the collector %s %s", self._endpoint, said)
        self._is_failing = not is_taken
        return is_taken
