"""Servers for comparison whose packages do not fit into this environment.

Each has its own environment under build/bench/venvs, from hashed requirements. It is made when a benchmark first needs it. If it cannot
be made, the BenchError becomes a row of the report."""

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.process import ServerUnderTest
from loadtests.bench.report import FOLDER
from loadtests.bench.workload import MODEL, Workload

ROOT: Final = Path(__file__).resolve().parents[2]
VENVS: Final = FOLDER / "venvs"
MINUTES: Final = 5


def environment(name: str, venvs: Path = VENVS) -> Path:
    """The folder of the peer's programs. Its environment is made if it is missing, or if its requirements or our Python changed. Raises
    BenchError."""
    requirements, folder = ROOT / "requirements" / "peers" / f"{name}.txt", (venvs / name).resolve()
    if not requirements.is_file():
        raise BenchError(f"{name} is not measured: {requirements} is missing; its .in file says why")
    sign, digest = folder / ".ready", hashlib.sha256(requirements.read_bytes() + platform.python_version().encode()).hexdigest()
    if not sign.is_file() or sign.read_text(encoding="utf-8") != digest:
        sys.stderr.write(f"setting up {folder} (once; about a minute)\n")
        _run(name, [sys.executable, "-m", "venv", "--clear", str(folder)])
        sync = [str(Path(sys.executable).parent / "uv"), "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
        _run(name, [*sync, "--python", str(folder / "bin/python"), str(requirements)])
        sign.write_text(digest, encoding="utf-8")
    return folder / "bin"


def mlserver(workload: Workload, folder: Path) -> ServerUnderTest:
    """MLServer with one model in its own process and no workers, because their queue would add a hop."""
    programs = environment("mlserver")
    model = folder / "mlserver" / MODEL
    model.mkdir(parents=True)
    runtime = "loadtests.bench.servers.mlserver_runtime.Bench"
    settings = {"name": MODEL, "implementation": runtime, "parameters": {"uri": str(workload.model), "version": "1"}}
    (model / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    own = {
        "HTTP_PORT": "{http_port}",
        "GRPC_PORT": "{grpc_port}",
        "METRICS_PORT": "{other_port}",
        "HOST": "127.0.0.1",
        "PARALLEL_WORKERS": "0",
        "DEBUG": "false",
    }
    variables = (("PYTHONPATH", str(ROOT)), *((f"MLSERVER_{name}", value) for name, value in own.items()))
    command = (str(programs / "python"), str(programs / "mlserver"), "start", str(folder / "mlserver"))
    return ServerUnderTest("mlserver", command, environment=variables)


def bentoml(workload: Workload) -> ServerUnderTest:
    """BentoML with one worker."""
    programs = environment("bentoml")
    serve = ("serve", "loadtests.bench.servers.bentoml_service:Bench", "--host", "127.0.0.1", "--port", "{http_port}")
    variables = {
        "PYTHONPATH": str(ROOT),
        "BENCH_MODEL": str(workload.model),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(workload.model.parent / "bentoml"),
    }
    command = (str(programs / "python"), str(programs / "bentoml"), *serve)
    return ServerUnderTest("bentoml", command, ready_path="/readyz", environment=tuple(variables.items()))


def _run(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTES * 60, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise BenchError(f"{name} could not be set up: {problem}") from problem
    if done.returncode != 0:
        raise BenchError(f"{name} could not be set up: {' '.join(command)}: {done.stderr[-600:]}")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(environment(wanted, ROOT / VENVS))
