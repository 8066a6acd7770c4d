"""A short headless Locust run over both doors against a small real server; the exit status is the judgement."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.bench.process import ServerUnderTest, python, running
from loadtests.bench.workload import build_workload

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_folder")]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    workload = build_workload(tmp_path_factory.mktemp("locust"), requests=4)
    common = ("--model", str(workload.model), "--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    with running(ServerUnderTest("locust-test", python("loadtests.bench.servers.bare", *common))) as up:
        yield up


def _locust(server, *arguments, **settings):
    settings = {"VEDETTE_LOAD_MODEL": "bench", "VEDETTE_LOAD_GRPC": f"127.0.0.1:{server.grpc_port}"} | settings
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--only-summary", *arguments]
    command += ["--host", f"http://127.0.0.1:{server.http_port}", "-u", "4", "-r", "4", "-t", "2s", "--stop-timeout", "2"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VEDETTE_")} | settings
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_both_doors_are_asked_and_judged(server):
    done = _locust(server, VEDETTE_LOAD_P99_MS="5000", VEDETTE_LOAD_WAIT_S="0.01", VEDETTE_LOAD_MIN_REQUESTS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "met     http: " in done.stdout
    assert "met     grpc: " in done.stdout
    assert "NOT MET" not in done.stdout


def test_a_missed_objective_is_the_exit_status(server):
    done = _locust(server, "HttpDoor", VEDETTE_LOAD_P99_MS="0.001", VEDETTE_LOAD_MIN_REQUESTS="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT MET http: p99" in done.stdout
    assert "grpc: " not in done.stdout


def test_a_model_that_is_not_there_fails_both_doors(server):
    done = _locust(server, VEDETTE_LOAD_MODEL="nothing")
    assert done.returncode == 1
    assert "NOT MET http: " in done.stdout
    assert "NOT MET grpc: " in done.stdout


def test_users_that_cannot_begin_are_failures_and_not_fewer_users(server):
    limits = {"VEDETTE_LOAD_P99_MS": "5000", "VEDETTE_LOAD_MIN_REQUESTS": "1", "VEDETTE_LOAD_WAIT_S": "0.01"}
    done = _locust(server, "HttpDoor", VEDETTE_LOAD_MODEL="bench,nothing", **limits)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT MET http: 2 of " in done.stdout
