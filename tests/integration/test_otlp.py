"""Spans reach a real HTTP server that speaks OTLP, from a thread of their own; a collector that is gone costs nothing."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.telemetry.tracing import delivery
from serving.telemetry.tracing.metric_names import SPANS
from serving.telemetry.tracing.tracer import Tracer
from tests.waiting import HANG_S, ends, until

pytestmark = pytest.mark.integration


class Collector:
    """Keeps what it is sent, as any OTLP/HTTP collector would read it. asked: somebody did; answers: while it is set."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, ExportTraceServiceRequest]] = []
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()
        keep, asked, answers = self.received, self.asked, self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.set()
                assert answers.wait(HANG_S)
                body = self.rfile.read(int(self.headers["content-length"]))
                message = ExportTraceServiceRequest.FromString(body)
                keep.append((self.path, self.headers["content-type"], message))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_spans_are_delivered_as_otlp_protobuf(collector):
    tracer = Tracer(1.0, collector.url, "vedette-test")
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for _ in range(3):
        trace = tracer.begin(caller, "http infer")
        now = time.time_ns()
        trace.span("features", now - 2000, now - 1000, {"rows": 1})
        trace.span("model", now - 1000, now)
        trace.end({"model": "flows"})
    tracer.close()
    assert {(path, kind) for path, kind, _ in collector.received} == {("/v1/traces", "application/x-protobuf")}
    groups = [group for _, _, message in collector.received for group in message.resource_spans]
    assert {a.value.string_value for g in groups for a in g.resource.attributes if a.key == "service.name"} == {"vedette-test"}
    spans = [span for group in groups for scope in group.scope_spans for span in scope.spans]
    assert sorted(s.name for s in spans) == ["features"] * 3 + ["http infer"] * 3 + ["model"] * 3
    assert {s.trace_id.hex() for s in spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert {s.parent_span_id.hex() for s in spans if s.name == "http infer"} == {"b7ad6b7169203331"}


def test_a_collector_that_hangs_is_waited_for_by_no_request(collector):
    collector.answers.clear()
    tracer = Tracer(1.0, collector.url)
    tracer.begin(None, "http infer").end()
    assert collector.asked.wait(HANG_S)
    for _ in range(200):
        tracer.begin(None, "http infer").end()
    assert not collector.received, "it has answered nobody yet"
    collector.answers.set()
    tracer.close()
    assert collector.received


def test_a_collector_that_is_gone_keeps_nobody_from_ending(collector):
    collector.close()
    tracer = Tracer(1.0, collector.url)
    for _ in range(200):
        tracer.begin(None, "http infer").end()
    ends(tracer.close)


def test_a_full_batch_is_sent_before_its_time_has_come(collector, monkeypatch):
    monkeypatch.setattr(delivery, "EXPORT_EVERY_S", 3600.0)
    tracer = Tracer(1.0, collector.url)
    for _ in range(delivery.BATCH):
        tracer.begin(None, "http infer").end()
    until(lambda: dict(tracer.metrics())[SPANS]["delivered",] == delivery.BATCH)
    tracer.close()
