"""Runs tests where everything that they must not see is there, and wrong.

    python -m tests.odd_surroundings                   the unit and docs tests, a store beside them, the default ports taken
    python -m tests.odd_surroundings --up [tests ...]  beside a running `vedette up` with a rollout under way; all tests if none are named

Beside the tests stand a `.vedette` with a service document (the clone's own, where there is one), and something that
listens on every default port and remembers who asked it. Every setting is
nonsense, HOME cannot be written, locale and time zone are far away.
Arguments that it does not know go to pytest. Exit code: pytest's, or 1 where a test reached what it must not see."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtests.settings import LoadSettings
from operators.handlers.settings import OperatorSettings
from serving.settings import ServingSettings
from tests.surroundings import FOR_TESTS

ROOT = Path(__file__).parents[1]
STORE = ROOT / ".vedette"
QUICK = ("-n", "2", "--dist", "worksteal", "tests/unit", "tests/docs")
NONSENSE = "nonsense"
DEFAULT_PORTS = (8080, 8081, 8000, 8265, 6379, 9090, 4318, 8001)
"""HTTP and gRPC doors, Ray Serve and its dashboard, Redis, Prometheus, OTLP, `kubectl proxy`."""

ODD = {
    "KUBECONFIG": "/proc/version", "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "8001",
    "RAY_ADDRESS": "127.0.0.1:6379", "RAY_SERVE_HTTP_PORT": NONSENSE, "OTEL_SDK_DISABLED": "true",
    "LOCUST_HOST": NONSENSE, "LOCUST_USERS": NONSENSE, "FEAST_USAGE": NONSENSE,
    "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    "HOME": "/proc", "XDG_CONFIG_HOME": "/proc", "XDG_CACHE_HOME": "/proc", "XDG_DATA_HOME": "/proc",
    "COLUMNS": "20", "LINES": "5", "TERM": "dumb", "FORCE_COLOR": "1", "GIT_DIR": "/proc",
    "TZ": "<+1245>-12:45", "LC_ALL": "C", "LANG": "C", "LANGUAGE": "tlh", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
}  # fmt: skip
"""/proc as a home: nobody may write there, root neither. The locale's encoding is ASCII: text files are UTF-8 because the code says so."""


def settings() -> Iterator[str]:
    """Every variable that a part of the product reads."""
    for model in (ServingSettings, OperatorSettings, LoadSettings):
        for field, info in model.model_fields.items():
            alias = info.validation_alias
            yield alias if isinstance(alias, str) else f"{model.model_config['env_prefix']}{field.upper()}"


def odd_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Of pytest: what is meant for tests stays, the rest is nonsense."""
    wrong = {name: NONSENSE for name in settings() if name not in FOR_TESTS}
    return {**given, **wrong, **ODD}


class Tripwire:
    """Listens on a port and remembers that it was asked; an asker is hung up on."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port, self.asked = self._socket.getsockname()[1], 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                asker, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            asker.close()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def tripwires() -> Iterator[list[Tripwire]]:
    """One on every default port that is free; where another server has it, that is what the tests must not disturb."""
    with ExitStack() as stack:
        wires = []
        for port in DEFAULT_PORTS:
            try:
                wires.append(Tripwire(port))
            except OSError:
                print(f"port {port} is taken; nobody watches who asks there")
            else:
                stack.callback(wires[-1].close)
        yield wires


@contextmanager
def store_beside() -> Iterator[None]:
    """A `.vedette` as a rollout leaves it; the clone's own, where there is one."""
    if STORE.exists():
        yield
        return
    control = STORE / "control"
    try:
        for folder in (control / "services", control / "policies", STORE / "bundles", STORE / "feast"):
            folder.mkdir(parents=True)
        meta = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "flows"}}
        spec = {"model": "flows", "revision": {"version": "7", "bundle": "sha256:" + "5f" * 32}}
        (control / "services" / "flows.yaml").write_text(json.dumps({**meta, "spec": spec}), encoding="utf-8")
        (control / "flows.status.json").write_text(NONSENSE, encoding="utf-8")
        (STORE / "feast" / "registry.db").write_text(NONSENSE, encoding="utf-8")
        (STORE / "served.json").write_text(NONSENSE, encoding="utf-8")
        yield
    finally:
        shutil.rmtree(STORE)


@contextmanager
def up_beside() -> Iterator[None]:
    """A `vedette up` on the default ports with a rollout under way; its store is `.vedette`, made for this run."""
    if STORE.exists():
        raise SystemExit(f"{STORE} is yours and is left alone; run --up in a clone without one")
    vedette = [sys.executable, "-m", "operators.cli.main"]
    with subprocess.Popen([*vedette, "up", "--json"], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            if not any(line.startswith(b"}") for line in process.stdout):
                raise SystemExit("`vedette up` ended before it was ready")
            subprocess.run([*vedette, "train", "flows", "--seed", "7"], cwd=ROOT, check=True)
            subprocess.run([*vedette, "rollout", "start", "flows", "--why", "beside the tests"], cwd=ROOT, check=True)
            yield
            assert process.poll() is None, "the tests ended the `vedette up` beside them"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
            shutil.rmtree(STORE, ignore_errors=True)


def contents(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in sorted(folder.rglob("*"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--up", action="store_true", help="beside a running `vedette up`; takes the default ports")
    known, rest = parser.parse_known_args()
    command = [sys.executable, "-m", "pytest", *(rest or (() if known.up else QUICK))]
    with up_beside() if known.up else store_beside(), tripwires() as wires:
        before = contents(STORE)
        code = subprocess.run(command, cwd=ROOT, env=odd_environment(os.environ), check=False).returncode
        touched = sorted(before.items() ^ contents(STORE).items()) if not known.up else []
    for wire in wires:
        if wire.asked:
            print(f"the tests asked port {wire.port} of this machine {wire.asked} times: a default port is never a test's")
    for path, _ in touched:
        print(f"the tests touched {path}")
    return code or int(any(wire.asked for wire in wires) or bool(touched))


if __name__ == "__main__":
    sys.exit(main())
