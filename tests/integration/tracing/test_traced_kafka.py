"""An event over Kafka is one connected trace in an OpenTelemetry Collector, from who sent it to the verdict and the alert."""

import json
import threading

import pytest
from confluent_kafka import Consumer, TopicPartition

from serving.audit.reader import read_records
from serving.launch.stream import StreamProcess
from serving.loading.served_file import ServedFile
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from serving.stream.kafka.producing import put
from serving.stream.ports import OutRecord
from tests.fakes.tracing.collected import CONSUMER, PRODUCER, loose_ends, of_trace
from tests.integration.stream.stream_runs import StreamRun, working
from tests.unit.serving.scoring.variants import spec, threat
from tests.waiting import until

pytestmark = pytest.mark.integration
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def run(collector, kafka, tmp_path):
    """A worker's topics; it sends its spans to the collector."""
    bundle = threat(tmp_path / "bundle", "1")
    BundleStore(tmp_path / "store").add(bundle)
    ServedFile(tmp_path / "store").write(spec(bundle))
    run = StreamRun(kafka.address, partitions=1, model="threat")
    settings = ServingSettings(
        store_dir=tmp_path / "store", cache="off", otlp_endpoint=collector.url, trace_ratio=0.0, trace_kept_per_s=0
    )
    with working(StreamProcess(settings, run.settings, threading.Event())):
        yield run


def produce(run, *traces):
    for at, trace in enumerate(traces):
        value = json.dumps({"host": "a", "level": 3.0, "event_id": str(at)}).encode()
        headers = () if trace is None else (("traceparent", trace.encode()),)
        put(run.cluster, run._producer, [OutRecord(run.settings.events, value, b"a", headers)])
    assert run._producer.flush(120) == 0


def traceparents(run, topic, count):
    """Of so many committed messages of a topic."""
    consumer = Consumer({"bootstrap.servers": run.settings.servers, "group.id": "reads", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []

    def all_read():
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            found.append(dict(message.headers()).get("traceparent", b"").decode())
        return len(found) == count

    until(all_read)
    consumer.close()
    return found


def test_an_event_is_one_connected_trace(collector, run):
    process_name = f"process {run.settings.events}"
    produce(run, CALLER)
    (verdict,) = traceparents(run, run.settings.verdicts, 1)
    (alert,) = traceparents(run, run.settings.alerts, 1)
    until(lambda: {span.name for span in collector.spans()} >= {"count", "model", process_name})
    until(lambda: not loose_ends(collector.spans(), CALLER))
    spans = of_trace(collector.spans(), CALLER)
    assert spans == collector.spans()
    (process,) = [span for span in spans if span.parent == CALLER.split("-")[2]]
    assert (process.name, process.kind) == (process_name, CONSUMER)
    for topic, header in ((run.settings.verdicts, verdict), (run.settings.alerts, alert)):
        (send,) = [span for span in spans if span.name == f"send {topic}"]
        assert (send.kind, send.parent, header) == (PRODUCER, process.id, f"00-{send.trace}-{send.id}-01")
    (recorded,) = run.verdicts()
    assert recorded.trace_id == CALLER.split("-")[1]


def test_without_the_collector_verdicts_and_records_go_on_and_with_the_next_one_spans(collector, run, tmp_path):
    collector.kill()
    traces = [f"{number + 1:032x}" for number in range(50)]
    produce(run, *(f"00-{trace}-00f067aa0ba902b7-01" for trace in traces))
    assert [header[3:35] for header in traceparents(run, run.settings.verdicts, 50)] == traces
    until(lambda: sum(record.rows for record in read_records(tmp_path / "store" / "audit")) == 50)
    collector.start()
    until(lambda: produce(run, CALLER) or of_trace(collector.spans(), CALLER), every_s=0.2)
