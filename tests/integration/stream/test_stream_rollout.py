"""Rollouts on the stream: an entity gets the same variant as over HTTP, copies reach the mirror, and the worker's evidence is scraped."""

import http.client
import json
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.app import compose
from serving.launch.stream import StreamProcess
from serving.loading.served_file import ServedFile
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.integration.stream.stream_runs import StreamRun, working
from tests.unit.serving.scoring.variants import host, spec, threat, variant
from tests.waiting import until

pytestmark = pytest.mark.integration
ENTITIES = 400


@pytest.fixture
def bundles(tmp_path):
    return {
        name: threat(tmp_path / name, version, gain) for name, version, gain in (("stable", "1", 1.0), ("candidate", "2", 0.5))
    }


def post(port, hosts):
    inputs = [
        {"name": "host", "datatype": "BYTES", "shape": [len(hosts)], "data": hosts},
        {"name": "level", "datatype": "FP32", "shape": [len(hosts)], "data": [2.0] * len(hosts)},
    ]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v2/models/threat/infer", json.dumps({"inputs": inputs, "outputs": [{"name": "variant"}]}))
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return json.loads(body)["outputs"][0]["data"]


def scraped(port, name):
    """The samples of a metric, with their labels, of every replica of the store."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    return [s for family in text_string_to_metric_families(page) for s in family.samples if s.name == name]


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v2/health/ready")
    return connection.getresponse().status == 200


def evidence(port, name, **labels):
    found = [s for s in scraped(port, name) if labels.items() <= s.labels.items()]
    return sum(s.value for s in found), {s.labels["replica"] for s in found if s.value}


def test_an_entity_meets_one_variant_on_the_stream_and_over_http(kafka, tmp_path, bundles):
    store = BundleStore(tmp_path / "store")
    for bundle in bundles.values():
        store.add(bundle)
    served = ServedFile(tmp_path / "store")
    served.write(spec(bundles["stable"], variant(bundles["candidate"], weight=30.0)))
    settings = ServingSettings(store_dir=tmp_path / "store", http_port=0, grpc_port=0, audit="async", cache="off")
    run = StreamRun(kafka.address, model="threat")
    replica = ReplicaHost(settings, compose)
    port = replica.start().http
    hosts = [host(i) for i in range(ENTITIES)]

    def send(first):
        run.produce([(h, json.dumps({"host": h, "level": 2.0, "event_id": f"{first}-{h}"}).encode()) for h in hosts])

    try:
        with working(StreamProcess(settings, run.settings, threading.Event())) as own_port:
            until(lambda: is_ready(own_port), every_s=0.2)
            send("first")
            until(lambda: run.written() >= ENTITIES, every_s=0.2)
            over_http = dict(zip(hosts, post(port, hosts), strict=True))
            on_stream = {str(v.entity["host"]): v.variant for v in run.verdicts()}
            assert on_stream == over_http
            assert 0 < sum(v == "candidate" for v in on_stream.values()) < ENTITIES
            versions = {(v.variant, v.version) for v in run.verdicts()}
            assert versions == {("stable", "1"), ("candidate", "2")}
            rows, replicas = evidence(port, "vedette_evidence_rows_total", route="live", variant="candidate")
            assert rows == 2 * sum(v == "candidate" for v in over_http.values())
            assert len(replicas) == 2, "the worker's evidence is not scraped with that of the other replica"

            served.write(spec(bundles["stable"], variant(bundles["candidate"], mirror=100.0)))  # aborted, then mirrored
            until(
                lambda: evidence(port, "vedette_model_info", variant="candidate")[1] and set(post(port, hosts)) == {"stable"},
                every_s=0.2,
            )
            until(lambda: _settled_on_stream(run, send, hosts), every_s=0.5)
            until(lambda: evidence(port, "vedette_evidence_pairs_total", variant="candidate")[0] > ENTITIES, every_s=0.2)
    finally:
        replica.stop()


def _settled_on_stream(run, send, hosts):
    """Whether the worker has read the new specification too: send events until none of them is the candidate's."""
    before = len(run.verdicts())
    send(str(before))
    until(lambda: len(run.verdicts()) >= before + len(hosts), every_s=0.2)
    newest = {v.variant for v in run.verdicts() if str(v.event_id).startswith(f"{before}-")}
    return newest == {"stable"}
