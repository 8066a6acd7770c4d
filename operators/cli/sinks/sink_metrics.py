"""The counters of the sinks, read at each scrape. Names are in operators.telemetry.sink_names."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from operators.telemetry import sink_names as names
from operators.telemetry.exposition import MetricsPage, Sample
from operators.telemetry.page import served_page
from serving.sinks.errors import SpoolError
from serving.sinks.opening import OpenSink
from serving.sinks.worker import SinkWorker


class SinkMetrics:
    """All metrics of one process of sinks."""

    def __init__(self, sinks: Sequence[OpenSink], worker: SinkWorker) -> None:
        self._sinks, self.worker = sinks, worker
        self.render = MetricsPage(names.SINK_METRICS, self._samples, asked=names.SINK_METRICS).render

    def totals(self, sink: OpenSink) -> dict[str, int]:
        """Alerts of one sink by outcome."""
        counts = sink.counts
        return {
            "spooled": counts.spooled,
            "sent": counts.sent,
            "dead": counts.dead,
            "removed": sink.delivery.dead.removed,
            "filtered": counts.filtered,
            "repeated": counts.repeated,
            "grouped": counts.grouped,
            "throttled": counts.throttled,
            "dropped": sink.spool.dropped,
        }

    def served(self, host: str, port: int) -> AbstractContextManager[int]:
        """Serve /metrics, /healthz and /readyz while the block runs; gives the port. Raises OSError."""
        worker = self.worker
        checks = {
            "/healthz": lambda: None if worker.is_alive() else "the worker stands still",
            "/readyz": lambda: None if worker.is_ready() else "nothing was read yet, or a spool is full or cannot be written",
        }
        return served_page(host, port, self.render, checks)

    def _samples(self) -> Iterator[Sample]:
        yield names.READ, ("alert",), self.worker.read
        yield names.READ, ("dead",), self.worker.dead.kept
        yield names.BEHIND, (), self.worker.behind
        yield names.HELD, (), float(self.worker.is_held)
        for sink in self._sinks:
            yield from self._of_sink(sink)

    def _of_sink(self, sink: OpenSink) -> Iterator[Sample]:
        for outcome, value in self.totals(sink).items():
            yield names.ALERTS, (sink.name, outcome), value
        key, oldest_ms = (sink.name,), _oldest_ms(sink)
        yield names.RETRIED, key, sink.counts.retried
        yield names.FAILED, key, sink.counts.failed
        yield names.UP, key, float(sink.counts.is_up)
        yield names.WAITING, key, sink.spool.waiting
        yield names.BYTES, key, sink.spool.size_bytes
        yield names.AGE, key, 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)
        yield names.SENT_AT, key, sink.counts.sent_us / 1e6


def _oldest_ms(sink: OpenSink) -> int | None:
    try:
        return sink.spool.oldest_ms()
    except SpoolError:  # its thread says so; the other figures are wanted all the more
        return None
