"""The programs that a load test starts on this machine: a trained store, a server of it, a broker and a worker. They end with the block."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.process import LOGS, ServerUnderTest, running
from operators.control.local_kafka import LocalKafka

_CLI: Final = (sys.executable, "-m", "operators.cli.main")
_SETUP_S: Final = 600.0
_PARTITIONS: Final = 4


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """Where to send. environment: settings of the users, in addition to those that are set."""

    host: str
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def local_target(folder: Path, models: Sequence[str], data_dir: Path | None, *, streams: bool) -> Iterator[LoadTarget]:
    """Start a server with these models, which are trained the first time on the data or on generated rows. Raises BenchError,
    LocalKafkaError.

    folder: where its store is, and stays. streams: start a broker too, and a stream worker of the first model on the same store."""
    store = folder / f"store-{'-'.join(models)}-{'real' if data_dir else 'generated'}"
    for model in models:
        command_line("train", model, "--store-dir", str(store), *(["--data-dir", str(data_dir)] if data_dir else []))
    with ExitStack() as stack:
        up = stack.enter_context(running(_server(store)))
        environment = {"VEDETTE_LOAD_GRPC": f"127.0.0.1:{up.grpc_port}"}
        if streams:
            broker = stack.enter_context(LocalKafka())
            # VEDETTE_STREAM_OPTIONS, e.g. a password, would be another broker's
            environment |= {
                "VEDETTE_STREAM_SERVERS": broker.address,
                "VEDETTE_STREAM_OPTIONS": "{}",
                "VEDETTE_STREAM_MODEL": models[0],
            }
            command_line("stream", "topics", "--partitions", str(_PARTITIONS), environment=environment)
            stack.enter_context(running(_worker(store, environment)))
        yield LoadTarget(f"http://127.0.0.1:{up.http_port}", environment)


def command_line(*words: str, environment: Mapping[str, str] | None = None) -> None:
    """Run one verb of `vedette` to its end. Raises BenchError, with what the verb printed, if it fails or takes too long."""
    try:
        done = subprocess.run(
            [*_CLI, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SETUP_S,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired as problem:
        raise BenchError(f"vedette {' '.join(words)}: did not end within {_SETUP_S:.0f} s") from problem
    if done.returncode:
        raise BenchError(f"vedette {' '.join(words)}: {done.stderr.strip()[-600:]}")


def _server(store: Path) -> ServerUnderTest:
    ports = ("--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    return ServerUnderTest("load-server", (*_CLI, "up", "--no-train", "--store-dir", str(store), *ports))


def _worker(store: Path, environment: Mapping[str, str]) -> ServerUnderTest:
    settings = {**environment, "VEDETTE_STORE_DIR": str(store), "VEDETTE_STREAM_HTTP_PORT": "{http_port}"}
    return ServerUnderTest("load-worker", (*_CLI, "stream"), environment=tuple(settings.items()))


def log_of(name: str) -> Path:
    """The file with the output of a program of this name."""
    return LOGS / f"{name}.log"


def run_users(
    classes: Sequence[str], target: LoadTarget, page: Path, settings: Mapping[str, str | None], limit_s: float
) -> tuple[int, str]:
    """Run Locust with these users and write its page; its exit status and what it printed. Raises BenchError after limit_s seconds.

    settings: variables of the users; None takes one away."""
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", *classes, "--headless", "--only-summary"]
    command += ["--host", target.host, "--html", str(page), "--stop-timeout", "10"]
    environment = {k: v for k, v in {**os.environ, **settings, **target.environment}.items() if v is not None}
    log = log_of("load-users")
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as out:
            done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired as problem:
        raise BenchError(f"the users did not end within {limit_s:.0f} s; their log is {log}") from problem
    return done.returncode, log.read_text(encoding="utf-8", errors="replace")
