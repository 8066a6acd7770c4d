"""Prometheus metrics of the sinks: every name, once; and the page that serves them, with /healthz and /readyz."""

import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from serving.sinks.errors import SpoolError
from serving.sinks.opening import OpenSink
from serving.sinks.worker import SinkWorker
from serving.telemetry.metric_doc import MetricDoc

_SINK: Final = ("sink",)
READ: Final = MetricDoc(
    "vedette_sinks_read_total",
    "counter",
    ("outcome",),
    "Records of the alerts topic: alert; dead (no alert, set aside in a file).",
)
BEHIND: Final = MetricDoc(
    "vedette_sinks_behind", "gauge", (), "Records of the topic that were not read yet, as the broker last said."
)
HELD: Final = MetricDoc(
    "vedette_sinks_held", "gauge", (), "1 while nothing is read, because a spool is full or cannot be written."
)
ALERTS: Final = MetricDoc(
    "vedette_sink_alerts_total",
    "counter",
    (*_SINK, "outcome"),
    "Alerts by outcome: spooled (to be sent); sent (the far end has it); dead (refused for good, set aside in a file); removed (of these, "
    "to make room for others); filtered (not "
    "severe enough for the sink); repeated; grouped and throttled (counted in another alert); dropped (the spool was full).",
)
RETRIED: Final = MetricDoc("vedette_sink_retries_total", "counter", _SINK, "Alerts that had to be sent again.")
FAILED: Final = MetricDoc("vedette_sink_failures_total", "counter", _SINK, "Tries that reached nobody, or got no whole answer.")
UP: Final = MetricDoc("vedette_sink_up", "gauge", _SINK, "1 if the last try was taken, 0 if it failed.")
WAITING: Final = MetricDoc("vedette_sink_waiting", "gauge", _SINK, "Alerts in the spool that are not delivered.")
BYTES: Final = MetricDoc("vedette_sink_spool_bytes", "gauge", _SINK, "Bytes of the spool on disk.")
AGE: Final = MetricDoc(
    "vedette_sink_oldest_seconds", "gauge", _SINK, "Age of the oldest alert that is not delivered, 0 if there is none."
)
SENT_AT: Final = MetricDoc(
    "vedette_sink_last_sent_seconds", "gauge", _SINK, "When an alert was taken last, seconds since the epoch; 0: not yet."
)
METRICS: Final = (READ, BEHIND, HELD, ALERTS, RETRIED, FAILED, UP, WAITING, BYTES, AGE, SENT_AT)


class SinkMetrics(Collector):
    """Reads what the sinks have counted when it is scraped."""

    def __init__(self, sinks: Sequence[OpenSink], worker: SinkWorker) -> None:
        self._sinks, self.worker = sinks, worker
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

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

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        families = {
            doc.name: (CounterMetricFamily if doc.kind == "counter" else GaugeMetricFamily)(
                doc.name, doc.says, labels=doc.labels
            )
            for doc in METRICS
        }

        def add(doc: MetricDoc, value: float, *labels: str) -> None:
            families[doc.name].add_metric(labels, value)

        add(READ, self.worker.read, "alert")
        add(READ, self.worker.dead.kept, "dead")
        add(BEHIND, self.worker.behind)
        add(HELD, float(self.worker.is_held))
        for sink in self._sinks:
            for outcome, value in self.totals(sink).items():
                add(ALERTS, value, sink.name, outcome)
            oldest_ms = _oldest_ms(sink)
            add(RETRIED, sink.counts.retried, sink.name)
            add(FAILED, sink.counts.failed, sink.name)
            add(UP, float(sink.counts.is_up), sink.name)
            add(WAITING, sink.spool.waiting, sink.name)
            add(BYTES, sink.spool.size_bytes, sink.name)
            add(AGE, 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000), sink.name)
            add(SENT_AT, sink.counts.sent_us / 1e6, sink.name)
        yield from families.values()

    def render(self) -> bytes:
        """The page of /metrics."""
        return generate_latest(self._registry)


def _oldest_ms(sink: OpenSink) -> int | None:
    try:
        return sink.spool.oldest_ms()
    except SpoolError:  # its thread says so; the other figures are wanted all the more
        return None


def serve_sink_metrics(host: str, port: int, metrics: SinkMetrics) -> tuple[ThreadingHTTPServer, int]:
    """Serve /metrics, /healthz and /readyz in a thread of its own; the server to shut down, and its port. Raises OSError."""

    class Page(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            match self.path.split("?")[0]:
                case "/metrics":
                    self._answer(200, metrics.render(), CONTENT_TYPE_LATEST)
                case "/healthz":
                    self._say(metrics.worker.is_alive(), "the worker stands still")
                case "/readyz":
                    self._say(metrics.worker.is_ready(), "nothing was read yet, or a spool is full or cannot be written")
                case _:
                    self._answer(404, b"there are /metrics, /healthz and /readyz\n", "text/plain")

        def _say(self, is_well: bool, otherwise: str) -> None:
            self._answer(200 if is_well else 503, b"ok\n" if is_well else f"{otherwise}\n".encode(), "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    server = ThreadingHTTPServer((host, port), Page)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True).start()
    return server, int(server.server_address[1])
