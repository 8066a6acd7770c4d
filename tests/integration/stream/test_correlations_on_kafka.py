"""Correlations on a real broker: their state is in the changelog, so the next worker completes what the one before has seen."""

import json
import threading

import pytest

from serving.launch.stream import StreamProcess
from serving.loading.served_file import ServedFile
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from tests.integration.stream.stream_runs import StreamRun, working
from tests.unit.serving.scoring.variants import spec
from tests.unit.serving.stream.correlations.test_stream_correlations import HIT, MANY, RULES, bundle, failed
from tests.waiting import until

pytestmark = pytest.mark.integration
HOSTS = [f"host-{n}" for n in range(12)]


def test_the_next_worker_completes_what_the_one_before_has_seen(kafka, tmp_path):
    made = bundle(tmp_path / "bundle", files=(RULES, MANY.replace("1m", "1h")))
    BundleStore(tmp_path / "store").add(made)
    ServedFile(tmp_path / "store").write(spec(made))
    settings = ServingSettings(store_dir=tmp_path / "store", http_port=0, grpc_port=0, audit="async", cache="off")
    run = StreamRun(kafka.address, model="threat")

    def send(times):
        run.produce([(host, json.dumps(failed(0, host)).encode()) for host in HOSTS for _ in range(times)])

    for times, written in ((2, 2 * len(HOSTS)), (1, 3 * len(HOSTS))):
        with working(StreamProcess(settings, run.settings, threading.Event())):
            send(times)
            until(lambda wanted=written: len(run.verdicts()) >= wanted, every_s=0.2)
    found = run.verdicts()
    alerts = [verdict for verdict in found if HIT in verdict.rules]
    assert sorted(str(verdict.entity["host"]) for verdict in alerts) == sorted(HOSTS), "one hit for each host"
    assert {(verdict.verdict, verdict.source, verdict.techniques) for verdict in alerts} == {
        ("alert", "model+rules", ("T1110.001",))
    }
    assert {verdict.verdict for verdict in found if HIT not in verdict.rules} == {"benign"}
