"""A broker that asks for TLS and a password: whatever speaks to Kafka signs in with a password from a file, and a wrong one is said."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import pytest

from operators.control.labels.kafka_topic import KafkaTopic
from serving.audit.anchors.port import AnchorError
from serving.audit.anchors.urls import open_anchor
from serving.audit.checkpoint import Checkpoint
from serving.audit.signed_note import Signer
from serving.files.option_files import with_option_files
from serving.launch.stream import StreamProcess
from serving.loading.served_file import ServedFile
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from serving.sinks.worker import OwnedPartitions
from serving.stream.kafka.cluster import open_cluster
from serving.stream.kafka.source import KafkaSource
from serving.stream.kafka.topics import KafkaTopics
from serving.stream.ports import StreamError
from tests.fakes import kafka_broker
from tests.fakes.stream.secured_kafka import SecuredKafka
from tests.integration.stream.stream_runs import StreamRun, working
from tests.unit.serving.scoring.variants import spec, threat
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.integration
WRONG = "hush-wrong"


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    if why := kafka_broker.unavailable():
        pytest.skip(why)
    broker = SecuredKafka(tmp_path_factory.mktemp("secured"))
    try:
        broker.wait()
        broker.add_user()
        yield broker
    finally:
        broker.remove()


@pytest.fixture
def wrong(tmp_path) -> dict[str, Path]:
    (tmp_path / "wrong").write_text(WRONG, encoding="utf-8")
    return {"sasl.password": tmp_path / "wrong"}


def right(secured: SecuredKafka) -> dict[str, Path]:
    return {"sasl.password": secured.password_file}


@pytest.mark.parametrize("mode", ["exactly_once", "low_latency"])
def test_events_become_verdicts_and_the_password_is_in_no_log(secured, tmp_path, caplog, mode):
    bundle = threat(tmp_path / "bundle", "1")
    BundleStore(tmp_path / "store").add(bundle)
    ServedFile(tmp_path / "store").write(spec(bundle))
    how = {"options": {**secured.options, "log_level": "7"}, "option_files": right(secured)}
    with caplog.at_level(logging.DEBUG):
        run = StreamRun(secured.address, 1, model="threat", mode=mode, **how)
        own = ServingSettings(store_dir=tmp_path / "store", cache="off", audit="off")
        with working(StreamProcess(own, run.settings, threading.Event())):
            run.produce([("a", json.dumps({"host": "a", "level": 3.0, "event_id": str(n)}).encode()) for n in range(20)])
            until(lambda: len(run.verdicts()) == 20, every_s=0.2)
    assert secured.password not in caplog.text
    assert secured.password not in repr(run.settings)


def test_the_verb_makes_topics_and_its_arguments_have_no_password(secured):
    made = topics(secured, right(secured))
    assert made.returncode == 0, made.stderr
    assert {one["topic"] for one in json.loads(made.stdout)} >= {"vedette.events", "vedette.state"}


def test_a_wrong_password_ends_the_verb_at_once_with_the_way_out(secured, wrong):
    refused = topics(secured, wrong)
    assert refused.returncode != 0
    said = " ".join(refused.stderr.split())
    assert f"kafka://{secured.address}: list topics: " in said
    assert "Authentication failed" in said
    assert "check sasl.mechanism, the user name and the password" in said
    assert WRONG not in refused.stdout + refused.stderr


def topics(secured: SecuredKafka, files: dict[str, Path]) -> "subprocess.CompletedProcess[str]":
    settings = {
        "VEDETTE_STREAM_SERVERS": secured.address,
        "VEDETTE_STREAM_OPTIONS": json.dumps(secured.options),
        "VEDETTE_STREAM_OPTION_FILES": json.dumps({name: str(file) for name, file in files.items()}),
    }
    command = [sys.executable, "-m", "operators.cli.main", "stream", "topics", "--partitions", "1", "--json"]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, encoding="utf-8", timeout=HANG_S, check=False
    )


def test_a_worker_with_a_wrong_password_says_so_once_and_waits(secured, wrong, caplog):
    cluster = open_cluster(secured.address, secured.options, wrong)
    with caplog.at_level(logging.WARNING, "vedette.stream"):
        source = KafkaSource(cluster, ["events"], "workers", OwnedPartitions(), protocol="classic")
        until(lambda: (source.poll(1, 0.05), "_AUTHENTICATION" in caplog.text)[1], lambda: caplog.text)
        for _ in range(30):  # it is tried again meanwhile
            assert source.poll(1, 0.05) == []
        source.close()
    (said,) = [line for record in caplog.records if "_AUTHENTICATION" in (line := record.getMessage())]
    assert said.startswith(f"kafka://{secured.address}: ")
    assert "check sasl.mechanism, the user name and the password" in said
    assert said.endswith("the client goes on trying")
    assert WRONG not in caplog.text


def test_an_authority_that_did_not_sign_the_broker_is_refused(secured, tmp_path):
    from tests.fakes.certificates import write_certificate

    write_certificate(tmp_path)
    options = {**secured.options, "ssl.ca.location": str(tmp_path / "tls.crt")}
    with pytest.raises(StreamError, match=r"verify failed.*check security.protocol and ssl.ca.location"):
        KafkaTopics(open_cluster(secured.address, options, right(secured))).partitions()


def test_labels_and_anchors_sign_in_too(secured, wrong, tmp_path):
    topic = secured.topic("secured")
    chosen = with_option_files(secured.options, right(secured))
    with KafkaTopic(secured.address, topic, "labels", chosen) as labels:
        until(lambda: (labels.poll(0.1), labels._consumer.assignment())[1])
    query = urlencode({**secured.options, "file:sasl.password": str(secured.password_file)})
    anchor = open_anchor(f"kafka://{secured.address}/{topic}?{query}")
    signer = Signer.create(tmp_path / "audit.pem")
    note = signer.sign(Checkpoint("log", 1, 1, b"\1" * 32, 1_700_000_000_000_000, 0, None).text())
    anchor.publish(note)
    assert anchor.newest(1) == [note]
    assert secured.password not in anchor.label

    query = urlencode({**secured.options, "file:sasl.password": str(wrong["sasl.password"])})
    refused = open_anchor(f"kafka://{secured.address}/{topic}?{query}")
    for use in (lambda: refused.publish(note), lambda: refused.newest(1)):
        with pytest.raises(AnchorError, match=r"Authentication failed.*; check the user name, the password") as said:
            use()
        assert WRONG not in str(said.value)


def test_labels_with_a_wrong_password_are_waited_for_and_it_is_said(secured, wrong, caplog):
    with (
        caplog.at_level(logging.WARNING, "vedette.labels"),
        KafkaTopic(secured.address, "labels", "labels", with_option_files(secured.options, wrong)) as labels,
    ):
        until(lambda: (labels.poll(0.1), "check sasl.mechanism, the user name and the password" in caplog.text)[1])
    assert "Authentication failed" in caplog.text
    assert WRONG not in caplog.text
