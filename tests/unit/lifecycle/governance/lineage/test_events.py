"""OpenLineage events of a training run, delivered to a file and to an HTTP server."""

import http.server
import json
import threading

import pytest

from lifecycle.governance.lineage.events import LineageSendError, send, training_events
from tests.unit.lifecycle.governance.lineage.test_graph import bundle

WHEN = "2026-01-01T00:00:00+00:00"


def test_the_events_of_one_bundle_describe_one_run(tmp_path):
    file = tmp_path / "events" / "lineage.jsonl"
    send(training_events(bundle(), WHEN), str(file))
    send(training_events(bundle(), WHEN), str(file))
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [e["eventType"] for e in events] == ["START", "COMPLETE"] * 2
    assert len({e["run"]["runId"] for e in events}) == 1
    done = events[1]
    assert [d["name"] for d in done["inputs"]] == ["data/flows", "feature-service/flows_v1"]
    assert done["outputs"][0]["facets"]["version"]["datasetVersion"] == bundle().digest
    assert done["inputs"][0]["facets"]["vedette"]["facts"]["provenance"] == {"source": "a capture"}
    assert done["run"]["facets"]["vedette"]["facts"]["code_commit"] == "c" * 40


def test_events_reach_an_http_endpoint():
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        send(training_events(bundle(), WHEN), f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [(path, event["eventType"]) for path, event in received] == [
        ("/api/v1/lineage", "START"),
        ("/api/v1/lineage", "COMPLETE"),
    ]


def test_an_endpoint_that_is_not_there_is_named():
    with pytest.raises(LineageSendError, match=r"127\.0\.0\.1:9"):
        send(training_events(bundle(), WHEN), "http://127.0.0.1:9")


def test_a_bundle_made_elsewhere_has_no_events():
    with pytest.raises(ValueError, match="made elsewhere"):
        training_events(bundle(is_ours=False), WHEN)
