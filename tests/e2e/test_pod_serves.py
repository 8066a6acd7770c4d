"""A pod as KServe starts it: the command and settings of the ServingRuntime, one bundle mounted, what to serve in its environment."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from operators.api.types import KserveBackend
from operators.backends.inference_service import fields_of
from operators.labs.simple_model import build_simple
from operators.ports import ServiceRef
from operators.rollout.spec import Revision
from operators.rollout.status import Target
from tests.e2e.running.processes import ROOT
from tests.e2e.running.vedette import environment
from tests.ports import free_port
from tests.waiting import HANG_S, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("a pod as KServe starts it")]
RUNTIME = ROOT / "manifests" / "overlays" / "kserve" / "runtime.yaml"


def test_the_runtime_serves_what_the_inference_service_says(tmp_path: Path):
    bundle = build_simple(tmp_path / "models")
    revision = Revision(version="1", bundle=bundle.digest)
    place = KserveBackend(storage_uri="s3://bundles/{digest}")
    fields = fields_of(ServiceRef("soc", "simple", "simple"), place, Target(stable=revision), 1)
    (told,) = fields["spec"]["predictor"]["model"]["env"]
    (container,) = yaml.safe_load(RUNTIME.read_text())["spec"]["containers"]
    python, *command = container["command"]
    assert python == "python"
    given = {e["name"]: e["value"] for e in container["env"]} | {told["name"]: told["value"]}
    assert given["VEDETTE_BUNDLE_DIR"] == "/mnt/models"
    port = free_port()
    given |= {"VEDETTE_BUNDLE_DIR": str(bundle.folder), "VEDETTE_STORE_DIR": str(tmp_path / "store"), "HOME": str(tmp_path)}
    given |= {"VEDETTE_HTTP_PORT": str(port), "VEDETTE_GRPC_PORT": "0", "VEDETTE_TRACE_RATIO": "0"}
    with (tmp_path / "log").open("wb") as log:
        pod = subprocess.Popen([sys.executable, *command], cwd=tmp_path, env=environment(**given), stdout=log, stderr=log)
        try:
            _until_ready(pod, port, tmp_path / "log")
            until(lambda: "serving simple 1 on port" in (tmp_path / "log").read_text())  # until then signals are Ray's
            answer = _infer(port)
            assert answer["parameters"]["revision"] == revision.digest
            assert answer["outputs"][0]["data"] == list(range(1, 17))
        finally:
            pod.send_signal(signal.SIGTERM)
            status = pod.wait(HANG_S)
    assert status == 0, (tmp_path / "log").read_text()[-3000:]


def _infer(port: int) -> dict:
    tensor = {"datatype": "INT32", "shape": [1, 16]}
    inputs = [{"name": "INPUT0", "data": list(range(16)), **tensor}, {"name": "INPUT1", "data": [1] * 16, **tensor}]
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/simple/infer", body, timeout=HANG_S) as reply:
        return json.loads(reply.read())


def _until_ready(pod: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def is_ready() -> bool:
        assert pod.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=HANG_S) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    until(is_ready, lambda: f"not ready in time:\n{log.read_text()[-3000:]}", every_s=0.3)
