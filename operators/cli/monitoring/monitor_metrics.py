"""Prometheus metrics of the monitor: every name, once; and the page that serves them, with /healthz."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from serving.telemetry.metric_doc import MetricDoc

_MODEL: Final = ("model",)
LOOKS: Final = MetricDoc("vedette_monitor_looks_total", "counter", _MODEL, "Looks at the answers of a model.")
ROWS: Final = MetricDoc("vedette_monitor_rows_total", "counter", _MODEL, "Rows of the prediction log that were read.")
ALARMS: Final = MetricDoc(
    "vedette_monitor_alarms_total",
    "counter",
    (*_MODEL, "kind", "severity"),
    "Alarms that were raised since the monitor started.",
)
FAILURES: Final = MetricDoc(
    "vedette_monitor_failures_total",
    "counter",
    ("what",),
    "Failures: look (a state or an alarm could not be kept, it is done again), act (a major alarm is not in the log of governed acts yet), "
    "deliver (a receiver did not take an alarm, it is sent again).",
)
LAST_LOOK: Final = MetricDoc(
    "vedette_monitor_last_look_seconds", "gauge", _MODEL, "When the monitor looked last, seconds since the epoch."
)
NEWEST: Final = MetricDoc(
    "vedette_monitor_newest_row_seconds", "gauge", _MODEL, "Time of the newest row that was read, seconds since the epoch."
)
WATCHED: Final = MetricDoc(
    "vedette_monitor_watched", "gauge", _MODEL, "1 if the model has a reference to compare with, 0 if it has none."
)
E_VALUE: Final = MetricDoc(
    "vedette_monitor_e_value",
    "gauge",
    (*_MODEL, "subject"),
    "Evidence that a column, the score or the verdict has drifted; 1 is none. It may be looked at any number of times.",
)
PSI: Final = MetricDoc(
    "vedette_monitor_psi",
    "gauge",
    (*_MODEL, "subject"),
    "Size of the change as PSI beyond chance, over the latest rows; 0: none.",
)
OPEN: Final = MetricDoc(
    "vedette_monitor_open", "gauge", (*_MODEL, "severity"), "Columns, scores and verdicts of the model that are alarmed now."
)
UNDELIVERED: Final = MetricDoc(
    "vedette_monitor_undelivered", "gauge", ("receiver",), "Alarms that a receiver has not taken yet."
)
METRICS: Final = (LOOKS, ROWS, ALARMS, FAILURES, LAST_LOOK, NEWEST, WATCHED, E_VALUE, PSI, OPEN, UNDELIVERED)


class ModelGauges(NamedTuple):
    """The gauges of one model. subjects: name -> (e-value, psi)."""

    model: str
    looked_s: float
    newest_s: float
    is_watched: bool
    subjects: dict[str, tuple[float, float]]
    open_minor: int
    open_major: int


class _Gauges(Collector):
    def __init__(self, read: Callable[[], tuple[list[ModelGauges], dict[str, int]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        models, undelivered = self._read()
        families = {m.name: GaugeMetricFamily(m.name, m.says, labels=m.labels) for m in METRICS if m.kind == "gauge"}
        for found in models:
            families[LAST_LOOK.name].add_metric([found.model], found.looked_s)
            families[NEWEST.name].add_metric([found.model], found.newest_s)
            families[WATCHED.name].add_metric([found.model], float(found.is_watched))
            families[OPEN.name].add_metric([found.model, "minor"], found.open_minor)
            families[OPEN.name].add_metric([found.model, "major"], found.open_major)
            for subject, (e_value, moved) in found.subjects.items():
                families[E_VALUE.name].add_metric([found.model, subject], e_value)
                families[PSI.name].add_metric([found.model, subject], moved)
        for receiver, waiting in undelivered.items():
            families[UNDELIVERED.name].add_metric([receiver], waiting)
        yield from families.values()


class MonitorMetrics:
    """Counters, and gauges that are read when they are scraped."""

    def __init__(self, read: Callable[[], tuple[list[ModelGauges], dict[str, int]]]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Gauges(read))
        self._counters = {
            m.name: Counter(m.name.removesuffix("_total"), m.says, m.labels, registry=self._registry)
            for m in METRICS
            if m.kind == "counter"
        }

    def count(self, metric: MetricDoc, *labels: str, by: int = 1) -> None:
        """Count something."""
        self._counters[metric.name].labels(*labels).inc(by)

    def render(self) -> bytes:
        """The page of /metrics."""
        return generate_latest(self._registry)


def serve_metrics(
    host: str, port: int, metrics: MonitorMetrics, is_alive: Callable[[], bool]
) -> tuple[ThreadingHTTPServer, int]:
    """Serve /metrics and /healthz in a thread of its own; the server to shut down, and its port. Raises OSError."""

    class Page(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path.split("?")[0] == "/metrics":
                self._answer(200, metrics.render(), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                alive = is_alive()
                self._answer(200 if alive else 503, b"ok\n" if alive else b"the monitor stands still\n", "text/plain")
            else:
                self._answer(404, b"there are /metrics and /healthz\n", "text/plain")

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
