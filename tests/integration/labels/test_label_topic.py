"""`vedette label follow` on a broker: librdkafka's own in this process, and Apache Kafka where its jars are."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from lifecycle.labels.label_log import LabelLog
from tests.fakes.labelled import PredictionLog, record
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.integration


@contextmanager
def in_process() -> Iterator[tuple[str, str]]:
    broker = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 2})
    (found,) = broker.list_topics(timeout=30).brokers.values()
    yield f"{found.host}:{found.port}", f"labels-{uuid.uuid4().hex[:8]}"


@contextmanager
def real() -> Iterator[tuple[str, str]]:
    from tests.fakes import kafka_broker

    broker = kafka_broker.shared()
    yield broker.address, broker.topic("labels")


@pytest.fixture(params=[in_process, real], ids=["in process", "Apache Kafka"])
def broker(request):
    with request.param() as found:
        yield found


@pytest.fixture
def store(tmp_path):
    PredictionLog(tmp_path / "audit").append(*(record(n) for n in range(20)))
    return tmp_path


def produce(servers: str, topic: str, *values: object) -> None:
    producer = Producer({"bootstrap.servers": servers, "log_level": 2, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value if isinstance(value, bytes) else json.dumps(value).encode())
    assert producer.flush(60) == 0


def said(number: int, **fields: object) -> dict[str, object]:
    return {"event": f"r-{number % 20:x}", "verdict": "attack", "analyst": "ada", "note": str(number), **fields}


def follow(store: Path, servers: str, topic: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "operators.cli.main", "label", "follow", "--bootstrap", servers, "--topic", topic]
    more = ["--store-dir", str(store), "--option", "log_level=2", "--option", "session.timeout.ms=6000", *words]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def test_labels_are_taken_once_and_poison_goes_to_a_topic_of_its_own(store, broker):
    servers, topic = broker
    produce(servers, topic, *(said(n) for n in range(30)), b"{", said(3, verdict="?"))
    dead = f"{topic}-dead"
    running = follow(store, servers, topic, "--drain", "1", "--json", "--dead-letters", dead)
    out, err = running.communicate(timeout=HANG_S)
    assert running.returncode == 0, err
    found = json.loads(out)
    assert (found["given"], found["corrected"], found["set_aside"]) == (20, 10, 2), err
    again = follow(store, servers, topic, "--drain", "1", "--json", "--group", "another", "--dead-letters", dead)
    assert json.loads(again.communicate(timeout=HANG_S)[0])["repeated"] == 30
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "auto.offset.reset": "earliest", "log_level": 2})
    consumer.subscribe([dead])
    letters = []
    until(lambda: letters.extend(consumer.consume(10, 0.5)) or len([one for one in letters if one.error() is None]) >= 2)
    consumer.close()
    good = [one for one in letters if one.error() is None]
    assert all(b"label" in dict(one.headers())["reason"] for one in good)
    assert b"{" in {one.value() for one in good}


def test_killed_while_labels_come_it_loses_and_doubles_nothing(store, broker):
    servers, topic = broker
    produce(servers, topic, *(said(n) for n in range(300)))
    log = LabelLog(store / "labels")
    first = follow(store, servers, topic)
    until(lambda: first.poll() is not None or len(log.read()) > 0, lambda: first.stderr.read())
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    produce(servers, topic, *(said(n) for n in range(300, 400)))
    second = follow(store, servers, topic)
    until(lambda: second.poll() is not None or len(log.read()) >= 400, lambda: f"{len(log.read())} labels are there")
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=HANG_S)
    assert second.returncode == 0, err
    assert sorted(int(one.note) for one in log.read()) == list(range(400))


def test_servers_that_do_not_answer_are_named_and_waited_for(store):
    running = follow(store, "127.0.0.1:1", "labels")
    told = [running.stderr.readline() for _ in range(2)]
    assert "Connection refused" in told[1] or "down" in told[1], told
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=HANG_S)
    assert running.returncode == 0
    assert not (store / "labels").exists()
