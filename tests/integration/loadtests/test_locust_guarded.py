"""Locust's users at doors that ask for certificates and for who asks. What they show comes from files. One of two models has limits."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.doors.tls.files import TlsFiles
from tests.fakes.serving.authority import Authority
from tests.fakes.serving.doors import open_doors
from tests.fakes.serving.guarded.gate_world import FakeWorld

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_folder")]
ROOT = Path(__file__).resolve().parents[3]
EASY = "{failure_ratio: 0, min_requests: 1}"
HARD = "{failure_ratio: 0, min_requests: 1, p99_ms: 0.001}"
OBJECTIVES = f"default: {{http: {EASY}, grpc: {EASY}, http/simple: {EASY}, grpc/words: {HARD}, http/elsewhere: {EASY}}}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Doors that require a client certificate and an API key, and the settings of users who have both."""
    folder, authority = tmp_path_factory.mktemp("guarded"), Authority("load")
    world = FakeWorld(now_s=time.time())
    (folder / "key").write_text(f"{world.key(roles=['admin'])}\n")
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "objectives.yaml").write_text(OBJECTIVES)
    issued = authority.issue("users", client=True)
    (folder / "client.pem").write_bytes(issued.certificate + issued.key)
    server = authority.issue().write(folder)
    with open_doors(gate=world.gate, tls=TlsFiles(*server.paths, folder / "ca.pem", "required")) as doors:
        settings = {
            "VEDETTE_API_KEY_FILE": str(folder / "key"),
            "VEDETTE_LOAD_CA": str(folder / "ca.pem"),
            "VEDETTE_LOAD_CERT": str(folder / "client.pem"),
            "VEDETTE_LOAD_OBJECTIVES": str(folder / "objectives.yaml"),
            "VEDETTE_LOAD_MODEL": "simple,words",
            "VEDETTE_LOAD_GRPC": f"localhost:{doors.grpc_port}",
            "VEDETTE_LOAD_WAIT_S": "0.01",
        }
        yield doors, settings


def _locust(doors, settings):
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--only-summary"]
    command += ["--host", f"https://localhost:{doors.http_port}", "-u", "4", "-r", "4", "-t", "2s", "--stop-timeout", "2"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VEDETTE_")} | settings
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_users_who_show_what_is_asked_for_are_answered_and_each_model_is_judged(guarded, tmp_path):
    """As `make load` does it, with its options. A variable that would be shown instead is wrong. The shape begins with four users: of each
    door one for each model."""
    doors, settings = guarded
    (tmp_path / "loadtests").symlink_to(ROOT / "loadtests")
    places = ["--host", f"https://localhost:{doors.http_port}", "--grpc", settings["VEDETTE_LOAD_GRPC"], "--doors", "http,grpc"]
    files = {
        "--api-key-file": "VEDETTE_API_KEY_FILE",
        "--ca": "VEDETTE_LOAD_CA",
        "--cert": "VEDETTE_LOAD_CERT",
        "--objectives": "VEDETTE_LOAD_OBJECTIVES",
    }
    command = [sys.executable, "-m", "loadtests.run", "--shape", "steps", "--users", "32", "--seconds", "5", "--json", *places]
    command += ["--model", "simple,words", *(word for option, name in files.items() for word in (option, settings[name]))]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VEDETTE_")}
    environment |= {"VEDETTE_TOKEN": "wrong", "VEDETTE_LOAD_WAIT_S": "0.1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["findings"]
    assert [(f["kind"], f["what"]) for f in found if not f["is_met"]] == [("grpc/words", "p99_ms")], done.stdout
    assert {f["kind"] for f in found} == {"http", "grpc", "http/simple", "grpc/words"}
    assert "not judged, because this run does not ask it: http/elsewhere" in done.stderr
    assert "NOT every objective is met" in (tmp_path / "build/load/steps.html").read_text()


@pytest.mark.parametrize("without", ["VEDETTE_API_KEY_FILE", "VEDETTE_LOAD_CERT"])
def test_users_who_do_not_are_not(guarded, without):
    doors, settings = guarded
    done = _locust(doors, {k: v for k, v in settings.items() if k != without})
    assert done.returncode == 1
    assert re.search(r"NOT MET http: (\d+) of \1 .*failed", done.stdout), (
        done.stdout
    )  # a user who cannot begin is a failed request
    assert "NOT MET grpc: " in done.stdout
