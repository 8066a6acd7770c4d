"""The way of spans to the collector: a bounded queue and a thread of its own, so that no request waits for it.

A collector that is gone, slow or full costs spans and nothing else: they are counted, and the log has one line when that begins and one
when it ends. What the bytes are is in `span_bytes`, how they are sent in `otlp_http`."""

import logging
import threading
import time
from collections import deque
from typing import Final

from serving.telemetry.tracing.otlp_http import OtlpHttp
from serving.telemetry.tracing.span_bytes import encode_request
from serving.telemetry.tracing.trace import FinishedSpans

EXPORT_TIMEOUT_S: Final = 2.0
EXPORT_EVERY_S: Final = 1.0
QUEUE: Final = 2048
"""Finished traces (a request, a batch, a job) that wait for export; the spans of further ones are dropped."""
BATCH: Final = 256
"""Traces sent at once. A request to the collector costs the time of some hundred spans, so few large ones are cheaper."""
TURN: Final = 16
"""Traces written before the requests' thread gets its turn: some hundred microseconds. The interpreter alone would let it wait for 5 ms."""
PAUSE_S: Final = 0.0002
_log = logging.getLogger("vedette.tracing")


class SpanDelivery:
    """Takes spans, ships them in batches. endpoint: base URL of an OTLP/HTTP collector; `/v1/traces` is added.
    resource: see `span_bytes`."""

    def __init__(self, endpoint: str, resource: bytes) -> None:
        self._collector = OtlpHttp(endpoint, EXPORT_TIMEOUT_S)
        self._endpoint, self._resource = endpoint, resource
        self._waiting: deque[FinishedSpans] = deque()
        self._delivered = self._lost = self._dropped = 0
        self._is_failing = False
        self._closing, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="spans", daemon=True)
        self._thread.start()

    def take(self, spans: FinishedSpans) -> None:
        """Queue spans, or drop them if QUEUE others wait. May be called from any thread."""
        waiting = len(self._waiting)
        if waiting >= QUEUE or self._closing.is_set():
            self._dropped += spans.count()
            return
        self._waiting.append(spans)
        if waiting >= BATCH - 1 and not self._wake.is_set():
            self._wake.set()

    def counts(self) -> dict[str, int]:
        """Spans so far by outcome."""
        return {"delivered": self._delivered, "undeliverable": self._lost, "dropped": self._dropped}

    def close(self) -> None:
        """Export what is waiting, within EXPORT_TIMEOUT_S, and stop."""
        self._closing.set()
        self._wake.set()
        self._thread.join(EXPORT_TIMEOUT_S)
        self._collector.close()

    def _deliver(self) -> None:
        """Send each second, or as soon as a batch is full."""
        while not self._closing.is_set():
            self._wake.wait(EXPORT_EVERY_S)
            self._wake.clear()
            self._empty()
        self._empty()
        self._collector.disconnect()

    def _empty(self) -> None:
        """Send what waits. After a failure the rest waits for the next time."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._send(self._encoded(batch)):
                return

    def _encoded(self, batch: list[FinishedSpans]) -> list[bytes]:
        """The bytes of all their spans. What cannot be written is lost and logged."""
        spans: list[bytes] = []
        for number, one in enumerate(batch, 1):
            try:
                spans += one.encode()
            except Exception:
                self._lost += one.count()
                _log.exception("%d spans cannot be written; they are lost", one.count())
            if number % TURN == 0:
                time.sleep(PAUSE_S)
        return spans

    def _send(self, spans: list[bytes]) -> bool:
        try:
            is_taken = self._collector.send(encode_request(self._resource, spans))
        except Exception:
            _log.exception("%d spans cannot be sent; they are lost", len(spans))
            is_taken = False
        if is_taken:
            self._delivered += len(spans)
        else:
            self._lost += len(spans)
        if self._is_failing is is_taken:
            said = "takes spans again" if is_taken else "takes no spans; requests are answered as before, and spans are lost"
            _log.warning("the collector %s %s", self._endpoint, said)
        self._is_failing = not is_taken
        return is_taken
