"""A real MLflow server on loopback, from an environment of its own (requirements/peers/mlflow.txt)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from loadtests.bench.errors import BenchError
from loadtests.bench.peers import ROOT, VENVS, environment
from tests.ports import free_port
from tests.waiting import until


def programs() -> Path:
    """The folder of its programs; skips the test where the environment cannot be made."""
    try:
        return environment("mlflow", ROOT / VENVS)
    except BenchError as problem:
        last = str(problem).strip().splitlines()[-1].strip()
        pytest.skip(
            f"no MLflow server: `python -m loadtests.bench.peers mlflow` makes its environment, from a clone ({last:.80})"
        )


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its address. It keeps everything in the folder."""
    port = free_port()
    kept = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.sqlite", "--artifacts-destination", str(folder / "artifacts")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "1",
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    bin_ = programs()
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(
            [str(bin_ / "python"), str(bin_ / "mlflow"), "server", *kept, *where],
            stdout=log,
            stderr=log,
            env={**quiet, "PATH": f"{bin_}:/usr/bin:/bin"},
            cwd=folder,
        )
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.poll() is None, (folder / "mlflow.log").read_text(errors="replace")[-3000:]
        try:
            return httpx.get(f"{url}/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(is_up, "the MLflow server did not come up", every_s=0.2)
        yield url
    finally:
        process.terminate()
        process.wait()
