"""Risks from a stream on a real broker: verdicts are followed, doubtful events are looked at again, changes are written."""

import shutil
import threading
import time

import msgspec
import pytest

from serving.launch.hybrid import enrich, follow
from serving.risk.opening import open_ledger
from serving.settings import ServingSettings
from serving.stream.contract import INVESTIGATE_SCHEMA, VERDICT_SCHEMA, InvestigateMessage, VerdictMessage
from serving.stream.settings import StreamSettings
from tests.contract.serving.stream.broker_kinds import Kafka
from tests.waiting import until

pytestmark = pytest.mark.integration
FLOW = {
    "host": "10.0.0.1",
    "proto": "icmp",
    "state": "ECO",
    "sport": -1,
    "dport": -1,
    "duration": 0.0,
    "packets": 1,
    "bytes": 1066,
    "src_bytes": 1066,
}


@pytest.fixture
def kafka():
    from tests.fakes import kafka_broker

    return Kafka(is_transactional=False, protocol="consumer", broker=kafka_broker.shared())


@pytest.fixture
def settings(flows_store, tmp_path):
    """A store of the test's own with a trained detector."""
    shutil.copytree(flows_store, tmp_path / "store", ignore=shutil.ignore_patterns("audit", "risk.db*"))
    return ServingSettings(store_dir=tmp_path / "store", audit="off", cache="off")


@pytest.fixture
def stream(kafka):
    topics = {what: kafka.topic() for what in ("verdicts", "investigate", "risks")}
    return StreamSettings(servers=kafka.broker.address, group=f"hybrid-{time.time_ns()}", http_port=0, **topics)


@pytest.fixture
def run():
    """Starts a process's main in a thread; all are told to stop at the end."""
    stopping, threads = threading.Event(), []

    def start(main, *arguments):
        threads.append(threading.Thread(target=main, args=(*arguments, stopping)))
        threads[-1].start()

    yield start
    stopping.set()
    for thread in threads:
        thread.join(60)


def verdict(number, entity, word="alert", probability=0.6):
    return VerdictMessage(
        schema=VERDICT_SCHEMA, id=f"events/0/{number}", entity={"host": entity}, verdict=word, model="flows", version="1",
        revision="sha256:x", variant="stable", source="model", receipt="r", row=number, scored_at="2026-01-05T09:00:01Z",
        event_time="2026-01-05T09:00:00Z", probability=probability,
    )  # fmt: skip


def record(topic, message, key):
    from serving.stream.ports import OutRecord

    return OutRecord(topic, msgspec.json.encode(message), key.encode())


def test_verdicts_update_risks_and_a_closer_look_completes_them(kafka, settings, stream, run):
    now_us = time.time_ns() // 1000
    verdicts = [verdict(number, f"10.0.0.{number}") for number in range(30)]
    doubtful = [verdict(100 + number, "10.0.1.1", "investigate", 0.1) for number in range(3)]
    asked = [
        InvestigateMessage(schema=INVESTIGATE_SCHEMA, verdict=one, asked_us=now_us, due_us=now_us + 60_000_000, event=FLOW)
        for one in doubtful
    ]
    kafka.produce(stream.verdicts, [record(stream.verdicts, one, one.entity["host"]) for one in [*verdicts, *doubtful]])
    kafka.produce(stream.investigate, [record(stream.investigate, one, "10.0.1.1") for one in asked])
    run(follow, settings, stream)
    ledger = open_ledger(settings.store_dir, None)
    until(lambda: len(ledger.highest(100, now_us)) == 31)
    until(lambda: (risk := ledger.find("10.0.1.1", now_us)) is not None and len(risk.pending) == 3)
    run(enrich, settings, stream)
    risk = until(lambda: (found := ledger.find("10.0.1.1", now_us)) is not None and not found.pending and found)
    (look,) = [part.signal for part in risk.parts if part.signal.kind == "enrichment"]
    assert (look.name, look.id.startswith("events/0/10"), look.receipt is not None) == ("flows", True, True)
    assert risk.is_complete
    changes = until(lambda: [msgspec.json.decode(one.value) for one in kafka.read(stream.risks)])
    assert {one["schema"] for one in changes} == {"vedette.risk/1"}
    ledger.close()
