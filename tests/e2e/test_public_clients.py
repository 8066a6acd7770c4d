"""Public clients work unmodified, each in a process of its own: their stubs collide in one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running.vedette import Vedette, environment

pytestmark = pytest.mark.e2e
CLIENTS = Path(__file__).parent / "clients"


def check_passes(script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, str(CLIENTS / script), *arguments],
        capture_output=True, text=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("PASS")


@pytest.mark.parametrize(("script", "door"), [
    pytest.param("triton_http.py", "http", id="tritonclient over HTTP, JSON and binary, sync, async and compressed"),
    pytest.param("triton_http_aio.py", "http", id="tritonclient over HTTP on asyncio"),
    pytest.param("triton_grpc.py", "grpc", id="tritonclient over gRPC, raw and typed, sync and asyncio"),
    pytest.param("kserve_rest.py", "http", id="kserve's REST client, V2 JSON and binary, and V1"),
    pytest.param("kserve_grpc.py", "grpc", id="kserve's gRPC client, raw and typed"),
    pytest.param("reflection.py", "grpc", id="grpcurl's way: reflection, then calls by description alone"),
    pytest.param("tensorflow_rest.py", "http", id="TensorFlow Serving's REST shape by plain HTTP"),
])  # fmt: skip
def test_a_public_client_works_unmodified(vedette: Vedette, script: str, door: str):
    address = vedette.http if door == "http" else vedette.grpc
    check_passes(script, address)


def test_a_detector_is_asked_by_its_columns_through_a_public_client(vedette: Vedette):
    """Strings, numbers and a parameter; JSON, binary and gRPC give the same scores."""
    example = vedette.store / "examples" / f"{vedette.model}.json"
    check_passes("triton_detector.py", vedette.http, vedette.grpc, vedette.model, str(example))
