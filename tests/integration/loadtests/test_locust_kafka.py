"""The load test's user of Kafka, against a real broker: without a worker every event fails, with one every event has its verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_folder")]
ROOT = Path(__file__).resolve().parents[3]


def test_events_without_a_verdict_are_failures(kafka, tmp_path):
    topics = {f"VEDETTE_STREAM_{what.upper()}": kafka.topic(f"load-{what}") for what in ("events", "verdicts", "dead_letters")}
    findings = tmp_path / "findings.json"
    settings = {
        "VEDETTE_STREAM_SERVERS": kafka.address,
        "VEDETTE_LOAD_VERDICT_S": "0.5",
        "VEDETTE_LOAD_MIN_REQUESTS": "1",
        "VEDETTE_LOAD_FINDINGS": str(findings),
        **topics,
    }
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "KafkaDoor", "--headless", "--only-summary"]
    command += ["--host", "http://127.0.0.1:9", "-u", "2", "-r", "2", "-t", "2s"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VEDETTE_")} | settings
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1, done.stdout + done.stderr
    (failed,) = [f for f in json.loads(findings.read_text())["findings"] if f["what"] == "failure_ratio"]
    assert (failed["kind"], failed["measured"], failed["is_met"]) == ("kafka", 1.0, False)
    assert "no verdict within 0.5 s" in done.stdout + done.stderr


@pytest.mark.soak
def test_a_spike_on_servers_of_its_own_loses_no_event(kafka):
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.run", "--seconds", "30", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    findings = json.loads(done.stdout)["findings"]  # how fast this machine is, is no matter of right or wrong
    assert done.returncode == (0 if all(f["is_met"] for f in findings) else 1), done.stdout + done.stderr
    found = {(f["kind"], f["what"]): f for f in findings}
    for kind in ("http", "grpc", "kafka"):
        assert found[kind, "failure_ratio"]["measured"] == 0
    assert "<section id='verdict'>" in (ROOT / "build" / "load" / "spike.html").read_text(encoding="utf-8")
