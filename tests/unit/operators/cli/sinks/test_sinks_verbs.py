"""`vedette sinks`, as it is typed."""

import json
import signal
import socket

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from operators.cli.sinks.examples import SHOWN
from tests.fakes.sinks.alerts import an_alert, record
from tests.fakes.sinks.receivers import WebhookReceiver
from tests.open_files import open_below


def run(*words):
    return CliRunner().invoke(app, ["sinks", *map(str, words)], env={"COLUMNS": "200"})


@pytest.fixture
def webhook():
    receiver = WebhookReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def config(tmp_path, webhook):
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    to = {"type": "webhook", "url": webhook.url, "secret": {"file": str(tmp_path / "secret")}}
    (tmp_path / "sinks.yaml").write_text(
        json.dumps({"spool_dir": "spool", "sinks": [{"name": "soar", "to": to}]}), encoding="utf-8"
    )
    return tmp_path / "sinks.yaml"


@pytest.mark.parametrize("form", SHOWN)
def test_each_form_is_shown(form):
    done = run("show", form)
    assert done.exit_code == 0, done.output
    assert "vedette" in done.stdout.lower()


def test_another_form_is_refused_with_those_there_are():
    done = run("show", "xml")
    assert done.exit_code == 1
    assert "there are ocsf, ecs" in str(done.exception)


def test_each_sink_is_tried(config, webhook):
    done = run("test", "--config", config, "--json")
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert (found["sink"], found["taken"], found["to"]) == ("soar", True, webhook.url)
    assert webhook.kept[found["id"]]["title"] == "Test of a sink: no attack"


@pytest.mark.heavy
def test_a_sink_that_does_not_take_it_ends_with_1_and_says_why(config, webhook):
    webhook.script = [(401, {}, b"who are you?")]
    done = run("test", "--config", config)
    assert done.exit_code == 1
    assert "not taken" in done.stdout
    assert "HTTP 401: who are you?; check url, token and index of the sink" in done.stdout
    webhook.stop()
    assert "Connect call failed" in run("test", "--config", config).stdout


def test_a_sink_that_is_not_there_is_told(config):
    assert "has no sink siem; it has soar" in str(run("test", "--config", config, "--sink", "siem").exception)


@pytest.mark.heavy
def test_a_file_is_sent(config, webhook):
    (config.parent / "alerts.jsonl").write_bytes(record(an_alert(1)) + b"\n")
    done = run("run", "--config", config, "--from-file", config.parent / "alerts.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["soar"]["sent"] == 1
    assert set(webhook.kept) == {an_alert(1).id}


def test_a_run_that_cannot_begin_leaves_nothing_open(tmp_path, config, webhook):
    (tmp_path / "alerts").write_bytes(record(an_alert("a")) + b"\n")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("run", "--config", config, "--from-file", tmp_path / "alerts", "--metrics-port", port)
    assert isinstance(done.exception, OSError)
    assert open_below(tmp_path) == []
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    done = run("run", "--config", config, "--from-file", tmp_path / "alerts", "--metrics-port", port, "--json")
    assert done.exit_code == 0, done.output
    assert len(webhook.kept) == 1
    socket.create_server(("127.0.0.1", port)).close()
