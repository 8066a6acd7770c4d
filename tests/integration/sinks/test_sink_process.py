"""`vedette sinks run` as a process: nothing that was acknowledged is lost when it is killed, and its metrics say what it does."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

from serving.stream.ports import OutRecord
from tests.fakes.sinks.alerts import an_alert, record
from tests.fakes.sinks.receivers import WebhookReceiver
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.integration


@pytest.fixture
def webhook():
    receiver = WebhookReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def folder(tmp_path, webhook):
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    config = {
        "spool_dir": "spool",
        "sinks": [
            {
                "name": "soar",
                "to": {"type": "webhook", "url": webhook.url, "secret": {"file": str(tmp_path / "secret")}},
                "batch": {"first_wait_s": 0.01, "most_wait_s": 0.05, "most_alerts": 20},
            }
        ],
    }
    (tmp_path / "sinks.yaml").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


@contextmanager
def running(folder, *words):
    process = subprocess.Popen(
        [sys.executable, "-m", "operators.cli.main", "sinks", "run", "--config", "sinks.yaml", *words],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "log").open("ab"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write(folder, numbers):
    with (folder / "alerts.jsonl").open("ab") as file:
        for number in numbers:
            file.write(record(an_alert(number, host=f"h{number % 7}")) + b"\n")


def test_a_file_is_delivered_to_its_end_and_not_again(folder, webhook):
    write(folder, range(200))
    for more, total in ((range(0), 200), (range(200, 230), 230)):
        write(folder, more)
        with running(folder, "--from-file", "alerts.jsonl", "--json") as process:
            out, _ = process.communicate(timeout=HANG_S)
            assert process.returncode == 0, (folder / "log").read_text(encoding="utf-8")
        assert len(webhook.kept) == total
        assert len(webhook.requests) == total  # each once
    assert json.loads(out)["soar"]["sent"] == 30


def test_what_is_no_alert_is_set_aside_and_the_others_arrive(folder, webhook):
    (folder / "alerts.jsonl").write_bytes(b'{"no": "alert"}\n\n' + record(an_alert(1)) + b"\nnot json\n")
    with running(folder, "--from-file", "alerts.jsonl", "--json") as process:
        process.communicate(timeout=HANG_S)
    assert set(webhook.kept) == {an_alert(1).id}
    letters = [
        json.loads(line) for line in (folder / "spool" / "dead" / "_topic.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [letter["record"].rsplit("/", 1)[1] for letter in letters] == ["0", str(17 + len(record(an_alert(1))) + 1)]


@pytest.mark.parametrize("turns", [4, pytest.param(40, marks=pytest.mark.soak)])
def test_a_killed_process_loses_no_alert(folder, webhook, turns):
    """Killed again and again, in the middle of reading, spooling and delivering; the receiver is away half of the time."""
    for turn in range(turns):
        write(folder, range(turn * 600, (turn + 1) * 600))  # more than one batch
        with running(folder, "--from-file", "alerts.jsonl") as process:
            before = len(webhook.kept)
            if turn % 2:
                webhook.stop()
                spool = folder / "spool" / "soar"
                size = _size(spool)
                until(lambda spool=spool, size=size: _size(spool) != size or process.poll() is not None)
            else:
                until(lambda before=before: len(webhook.kept) > before + 50 or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
            process.wait(HANG_S)
        if turn % 2:
            webhook.start()
    with running(folder, "--from-file", "alerts.jsonl") as process:
        while process.poll() is None:
            before = len(webhook.requests)
            until(lambda before=before: len(webhook.requests) > before or process.poll() is not None)
        assert process.returncode == 0, (folder / "log").read_text(encoding="utf-8")
    assert set(webhook.kept) == {an_alert(number).id for number in range(turns * 600)}


def _size(spool):
    return sum(path.stat().st_size for path in spool.glob("*.spool")) if spool.exists() else 0


def test_a_pipe_is_followed_metrics_tell_and_a_signal_ends_it(folder, webhook):
    with running(folder, "--from-file", "-", "--metrics-port", "0", "--json") as process:
        assert process.stdin is not None
        process.stdin.write(record(an_alert(1)) + b"\n" + record(an_alert(1)) + b"\n")
        process.stdin.flush()
        log = folder / "log"
        url = until(lambda: re.search(r"metrics on (http://\S+)/metrics", log.read_text(encoding="utf-8")))[1]
        until(lambda: len(webhook.kept) == 1)
        page = until(lambda: 'outcome="sent",sink="soar"} 1.0' in _get(f"{url}/metrics") and _get(f"{url}/metrics"))
        assert 'vedette_sink_alerts_total{outcome="repeated",sink="soar"} 1.0' in page
        assert "vedette_sink_waiting" in page
        assert (_get(f"{url}/healthz"), _get(f"{url}/readyz")) == ("ok\n", "ok\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["soar"]["sent"] == 1


def _get(url):
    with urllib.request.urlopen(url, timeout=HANG_S) as answer:
        return answer.read().decode()


def test_alerts_of_a_kafka_topic_are_delivered_and_the_group_goes_on_where_it_was(folder, webhook, kafka):
    from confluent_kafka import Producer

    topic = kafka.topic("alerts")
    config = json.loads((folder / "sinks.yaml").read_text(encoding="utf-8"))
    config["source"] = {"servers": kafka.address, "topic": topic, "group": f"{topic}-sinks"}
    (folder / "sinks.yaml").write_text(json.dumps(config), encoding="utf-8")
    producer = Producer(
        {"bootstrap.servers": kafka.address, "enable.idempotence": True}
    )  # else a retried batch comes after the next

    def produce(numbers):
        for number in numbers:
            alert = an_alert(number, host=f"h{number % 7}")
            producer.produce(topic, record(alert), alert.entity)
        assert producer.flush(HANG_S) == 0

    produce(range(100))
    with running(folder) as process:
        until(lambda: len(webhook.kept) == 100, lambda: (folder / "log").read_text(encoding="utf-8"))
        process.kill()
        process.wait(HANG_S)
    produce(range(100, 150))
    with running(folder, "--json") as process:
        until(lambda: len(webhook.kept) == 150, lambda: (folder / "log").read_text(encoding="utf-8"))
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=HANG_S)
    found = json.loads(out)["soar"]
    assert found["sent"] + found["repeated"] >= 50
    assert len(webhook.requests) <= 150 + 20  # at most the batch that was under way when it was killed
    for host in (f"h{n}" for n in range(7)):
        ids = [
            document["verdict"]["id"] for document in webhook.kept.values() if document["verdict"]["entity"] == {"host": host}
        ]
        assert ids == sorted(ids, key=lambda name: int(name.rsplit("/", 1)[1]))


def test_alerts_of_a_kinesis_stream_are_delivered_and_not_again(folder, webhook):
    pytest.importorskip("moto.server", reason="moto's server is not installed")
    from tests.contract.serving.stream.kinesis_kind import opened

    with opened() as kinesis:
        stream = kinesis.topic(2)
        config = json.loads((folder / "sinks.yaml").read_text(encoding="utf-8"))
        place = kinesis.place
        config["source"] = {
            "type": "kinesis",
            "region": place.region,
            "endpoint": place.endpoint,
            "stream": stream,
            "table": f"{stream}-leases",
        }
        (folder / "sinks.yaml").write_text(json.dumps(config), encoding="utf-8")
        for numbers in (range(30), range(30, 40)):
            alerts = [an_alert(number, host=f"h{number % 7}") for number in numbers]
            kinesis.produce(stream, [OutRecord(stream, record(alert), alert.entity.encode()) for alert in alerts])
            with running(folder, "--json") as process:
                until(lambda all_=numbers.stop: len(webhook.kept) == all_, lambda: (folder / "log").read_text(encoding="utf-8"))
                process.send_signal(signal.SIGTERM)
                out, _ = process.communicate(timeout=HANG_S)
            assert json.loads(out)["soar"]["sent"] == len(numbers)
