"""`vedette monitor`: looks at the log, says what drifts, hands it on once; `vedette monitor show` has what is known."""

import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from lifecycle.monitoring.alarm import AlarmLog
from lifecycle.monitoring.watch.reference import NoReference
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.watch.state_files import StateFiles
from operators.cli.main import app
from operators.cli.monitoring.monitor_run import MonitorRun, RunOptions
from operators.telemetry.monitor_names import MONITOR_METRICS as METRICS
from serving.models.build import build_bundle
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from serving.sinks.forms.standard_webhooks import verify
from tests.fakes.monitoring.stream import MODEL, START_US, answered, append_to_log, values
from tests.unit.serving.scoring.variants import POINT, graph
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.heavy


def bundle(folder, *, with_reference=True, name=MODEL, **fields):
    found = values(np.random.default_rng(99), 1000)
    sample = {"columns": {name: list(column) for name, column in found["columns"].items()}, "score": found["score"].tolist()}
    return build_bundle(
        folder, model=graph(1.0), files={"reference/sample.json": json.dumps(sample).encode()} if with_reference else {},
        name=name, version="1", score={"output": "risk"}, operating_points={"all": POINT}, default_operating_point="all", **fields,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    BundleStore(tmp_path / "store").add(bundle(tmp_path / "bundle"))
    rng = np.random.default_rng(0)
    append_to_log(tmp_path / "store" / "audit", answered(rng, 400))
    return tmp_path / "store"


def drift(store, begin=400, rows=400):
    append_to_log(store / "audit", answered(np.random.default_rng(1), rows, begin=begin, shift=1.2))


def monitor(store, *words):
    return CliRunner().invoke(app, ["monitor", *words, "--store-dir", str(store)])


def test_a_model_that_does_not_drift_is_quiet(store):
    done = monitor(store, "--once")
    assert (done.exit_code, done.stdout) == (0, "")
    assert StateFiles(store / "monitoring").read(MODEL).rows == 400


def test_a_drift_is_told_once_and_is_an_act(store):
    assert monitor(store, "--once").exit_code == 0
    drift(store)
    done = monitor(store, "--once", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert {alarm["subject"] for alarm in told} == {"bytes"}
    assert "major" in {alarm["severity"] for alarm in told}
    again = monitor(store, "--once", "--json")
    assert (again.exit_code, again.stdout) == (0, "")
    acts = CliRunner().invoke(app, ["audit", "acts", "--store-dir", str(store), "--json"])
    assert "monitor.alarm" in acts.stdout


def test_show_has_evidence_size_and_alarms(store):
    drift(store)
    monitor(store, "--once", "--by", "proto")
    said = json.loads(monitor(store, "show", "--json").stdout)
    (model,) = said
    assert model["subjects"][0]["subject"] == "bytes"
    assert model["subjects"][0]["alarmed"] == "major"
    assert model["subjects"][0]["psi"] > 0.25
    assert set(model["segments"]) == {"tcp", "udp", "icmp"}
    assert [alarm["subject"] for alarm in model["alarms"]][:1] == ["bytes"]
    table = monitor(store, "show", MODEL).stdout
    assert "bytes" in table
    assert "MAJOR  Column bytes of flows" in table


def test_show_of_a_model_that_was_never_watched_says_what_to_do(store):
    assert "vedette monitor --once" in str(monitor(store, "show").exception)
    assert "vedette monitor --once" in str(monitor(store, "show", "other").exception)


def test_without_a_log_or_with_a_wrong_url_it_says_so(tmp_path, store):
    assert "has no log" in str(monitor(tmp_path / "none", "--once").exception)
    assert "expected a URL" in str(monitor(store, "--once", "--webhook", "soc.example.com").exception)


def test_a_port_that_is_taken_is_told_and_changes_no_handler_of_signals(store):
    before = signal.getsignal(signal.SIGTERM)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = monitor(store, "--once", "--metrics-port", str(taken.getsockname()[1]))
    assert isinstance(done.exception, OSError)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_bundle_without_reference_is_told_as_not_watched(tmp_path):
    BundleStore(tmp_path / "store").add(bundle(tmp_path / "bundle", with_reference=False))
    append_to_log(tmp_path / "store" / "audit", answered(np.random.default_rng(0), 30))
    done = monitor(tmp_path / "store", "--once")
    assert "not watched" in done.stderr
    assert "reference/sample.json" in done.stderr
    assert "not watched" in monitor(tmp_path / "store", "show").stdout


def test_personal_columns_are_not_watched(tmp_path, store):
    fields = {"request_fields": [{"name": "bytes", "datatype": "FP64"}, {"name": "proto", "datatype": "BYTES"}]}
    other = tmp_path / "other"
    BundleStore(other).add(bundle(tmp_path / "personal", personal={"proto": "hash"}, **fields))
    append_to_log(other / "audit", answered(np.random.default_rng(0), 50))
    monitor(other, "--once")
    (model,) = json.loads(monitor(other, "show", "--json").stdout)
    assert {row["subject"] for row in model["subjects"]} == {"bytes", "count", "score", "verdict"}


class Receiver:
    """An HTTP server that takes alarms, or refuses them with a status."""

    def __init__(self):
        self.taken, self.came, self.status = [], [], 200
        receiver = self

        class Page(BaseHTTPRequestHandler):
            def do_POST(self):
                text = self.rfile.read(int(self.headers["content-length"]))
                body = json.loads(text)
                receiver.came.append(({name.lower(): value for name, value in self.headers.items()}, text))
                if receiver.status == 200:
                    receiver.taken.append((self.headers["idempotency-key"], body["alarm_id"]))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/alarms"


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_webhook_gets_each_alarm_once_with_its_id_also_after_it_was_away(store, receiver):
    drift(store)
    receiver.status = 503
    away = monitor(store, "--once", "--webhook", receiver.url)
    assert "HTTP 503" in away.stderr
    receiver.status = 200
    monitor(store, "--once", "--webhook", receiver.url)
    monitor(store, "--once", "--webhook", receiver.url)
    kept = [alarm.alarm_id for alarm in AlarmLog(store / "monitoring").read()]
    assert kept
    assert receiver.taken == [(name, name) for name in kept]


def test_a_webhook_is_signed_where_a_secret_is_named_and_waits_for_the_secret(store, receiver, tmp_path):
    drift(store)
    secret = tmp_path / "secret"
    without = monitor(store, "--once", "--webhook", receiver.url, "--webhook-secret", str(secret))
    assert "the secret that signs alarms cannot be used" in without.stderr
    assert receiver.came == [], "an alarm is not sent unsigned where it should be signed"
    secret.write_text("whsec_c2VjcmV0\n", encoding="utf-8")
    monitor(store, "--once", "--webhook", receiver.url, "--webhook-secret", str(secret))
    assert receiver.taken
    for headers, body in receiver.came:
        assert verify(b"secret", headers, body, int(headers["webhook-timestamp"]))
        assert headers["webhook-id"] == headers["idempotency-key"]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=HANG_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


@pytest.fixture
def running(store):
    """A monitor that goes on, in this process; signals come to its main thread in the test of the process below."""
    options = RunOptions(
        store=store, models=(), every_s=0.05, is_once=False, is_from_now=False, webhook=None,
        metrics=("127.0.0.1", 0), as_json=True, watch=WatchSettings(),
    )  # fmt: skip
    return MonitorRun(options, ServingSettings())


def test_it_goes_on_until_a_signal_and_has_metrics_meanwhile(store, running, capfd):
    seen = {"words": ""}

    def has_said(words):
        seen["words"] += capfd.readouterr().err
        return words in seen["words"]

    def visitor():
        until(lambda: has_said("/metrics"))
        url = seen["words"].split("metrics on ")[1].split("/metrics")[0]
        drift(store)
        counted = 'vedette_monitor_alarms_total{kind="data_drift",model="flows",severity="major"} 1.0'  # after the gauges
        until(lambda: counted in get(f"{url}/metrics")[1])
        seen["metrics"], seen["healthz"], seen["other"] = get(f"{url}/metrics"), get(f"{url}/healthz"), get(f"{url}/x")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=visitor)
    thread.start()
    before = signal.getsignal(signal.SIGTERM)
    raised = running.run()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert raised >= 1
    status, text = seen["metrics"]
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert status == 200
    silent = {m.name for m in METRICS} - names
    assert silent == {"vedette_monitor_newest_label_seconds", "vedette_monitor_fallen", "vedette_monitor_judged_seconds"}, (
        "no label"
    )
    assert 'vedette_monitor_failures_total{what="deliver"} 0.0' in text, "a counter begins at 0"
    assert 'vedette_monitor_alarms_total{kind="performance",model="flows",severity="major"} 0.0' in text
    assert 'vedette_monitor_open{model="flows",severity="major"} 1.0' in text
    assert seen["healthz"] == (200, "ok\n")
    assert seen["other"][0] == 404
    assert StateFiles(store / "monitoring").read(MODEL).rows == 800


def test_labels_of_alerts_are_followed_too(store):
    labels = LabelLog(store / "labels")
    monitor(store, "--once")
    rng = np.random.default_rng(5)
    labels.give_all(
        [
            Label(label_id=f"l{n}", event=f"e{n}", model=MODEL, verdict="benign" if rng.random() < (0.2 if n < 400 else 0.7) else "attack",
                  analyst="ada", time_us=START_US, selection="alert")
            for n in range(700)
        ]
    )  # fmt: skip
    done = monitor(store, "--once", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {alarm["kind"] for alarm in told} == {"concept_drift"}
    assert json.loads(monitor(store, "show", "--json").stdout)[0]["labels"] == 700


def test_a_bundle_that_gets_its_reference_later_is_watched_then(tmp_path, running, store):
    """A revision without a reference is read again after some looks, not at each."""
    watch = running._opened(MODEL)
    reads = []

    def find(model, version):
        reads.append(version)
        if len(reads) < 2:
            raise NoReference("not yet")
        return BundleStore(store).resolve(model, version)

    watch._find = find
    for n in range(40):
        append_to_log(store / "audit", answered(np.random.default_rng(n), 5, begin=400 + 5 * n))
        watch.look(START_US)
    assert (len(reads), watch.state.unwatched) == (2, "")
    assert watch.state.whole.rows > 0


def test_a_state_that_cannot_be_read_stops_its_model_only(tmp_path, running, store, capfd):
    BundleStore(store).add(bundle(tmp_path / "other", name="other"))
    monitor(store, "--once")
    (store / "monitoring" / "states" / f"{MODEL}.json").write_text("{}", encoding="utf-8")
    assert [watch.state.model for watch in running._wanted()] == ["other"]
    assert "remove it" in capfd.readouterr().err
    assert "remove it" in str(monitor(store, "--once").exception)


def test_two_do_not_run_on_one_store(store):
    with StateFiles(store / "monitoring").held():
        assert "another `vedette monitor`" in str(monitor(store, "--once").exception)


def test_once_reads_all_that_was_there_whatever_the_size_of_answers(store, monkeypatch):
    """Also where a look takes less than it may because the next answer does not fit."""
    from lifecycle.monitoring.watch import keep_watch

    monkeypatch.setattr(keep_watch.ModelWatch.look, "__defaults__", (7,))
    monitor(store, "--once")
    assert StateFiles(store / "monitoring").read(MODEL).rows == 400
