"""A request over HTTP is one connected trace in an OpenTelemetry Collector; a collector that dies takes nothing but spans with it."""

import http.client
import json
import time
from functools import partial

import pytest

from serving.app import compose
from serving.audit.reader import read_records
from serving.loading.served_file import ServedFile
from serving.models.store import BundleStore
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.fakes.serving.features import FakeFeatureReader
from tests.fakes.tracing.collected import SERVER, loose_ends, of_trace
from tests.unit.serving.scoring.variants import spec, threat
from tests.waiting import until

pytestmark = pytest.mark.integration
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


FEATURES = {
    "request_fields": [],
    "assembly": [{"tensor": "level", "columns": ["hosts__level"]}],
    "feature_service": "hosts_v1",
}
HOSTS = FeatureServiceInfo(
    "hosts_v1", (FieldInfo("host", "BYTES"),), (), (FeatureInfo("hosts__level", "FP32", "hosts", 0.0, None),)
)


@pytest.fixture
def port(collector, tmp_path):
    """Of a replica that reads a stored feature and sends its spans there."""
    reader = FakeFeatureReader(HOSTS)
    reader.put("hosts", (b"a",), {"level": 3.0}, time.time_ns() // 1000)
    bundle = threat(tmp_path / "bundle", "1", **FEATURES)
    BundleStore(tmp_path / "store").add(bundle)
    ServedFile(tmp_path / "store").write(spec(bundle))
    settings = ServingSettings(
        store_dir=tmp_path / "store",
        http_port=0,
        grpc_port=0,
        cache="off",
        otlp_endpoint=collector.url,
        trace_ratio=0.0,
        trace_kept_per_s=0,
    )
    replica = ReplicaHost(settings, partial(compose, reader=reader))
    yield replica.start().http
    replica.stop()


def post(port, caller=None):
    inputs = [{"name": "host", "datatype": "BYTES", "shape": [1], "data": ["a"]}]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {} if caller is None else {"traceparent": caller}
    connection.request("POST", "/v2/models/threat/infer", json.dumps({"inputs": inputs}), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, body
    return body


def test_a_request_is_one_connected_trace_from_the_door_by_features_and_model_to_its_record(collector, port, tmp_path):
    assert post(port, CALLER)["parameters"]["trace_id"] == CALLER.split("-")[1]
    assert "trace_id" not in post(port)["parameters"]
    until(lambda: any(not span.parent or span.parent == CALLER.split("-")[2] for span in collector.spans()))
    spans = of_trace(collector.spans(), CALLER)
    assert spans == collector.spans()
    assert loose_ends(spans, CALLER) == []
    (root,) = [span for span in spans if span.parent == CALLER.split("-")[2]]
    assert root.kind == SERVER
    assert {span.name for span in spans if span.parent == root.id} == {"decode", "features", "model", "audit", "encode"}
    (record,) = until(lambda: [r for r in read_records(tmp_path / "store" / "audit") if r.trace_id == root.trace])
    assert root.attributes["vedette.receipt"] == record.receipt


def test_without_the_collector_answers_and_records_go_on_and_with_the_next_one_spans(collector, port, tmp_path):
    collector.kill()
    traces = [f"{number + 1:032x}" for number in range(50)]
    for trace in traces:
        assert post(port, f"00-{trace}-00f067aa0ba902b7-01")["parameters"]["trace_id"] == trace
    until(lambda: set(traces) <= {record.trace_id for record in read_records(tmp_path / "store" / "audit")})
    collector.start()
    until(lambda: post(port, CALLER) and of_trace(collector.spans(), CALLER), every_s=0.2)
