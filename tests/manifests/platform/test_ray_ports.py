"""The ports between a real Ray head and a real worker, each in a network namespace of its own, are those that the policies allow."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.labs.simple_model import build_simple
from serving.models.store import BundleStore
from tests import quick_yaml as yaml
from tests.cluster.kubelet.networking import bridge
from tests.manifests.conftest import ROOT
from tests.manifests.platform.rendering import whole
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.soak]
HEAD, WORKER = "10.77.0.1", "10.77.0.2"
ESTABLISHED = "01"


class Nodes:
    """Two network namespaces with a wire between them, and what runs in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._of = {HEAD: f"vh{os.getpid()}", WORKER: f"vw{os.getpid()}"}
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(24),
            "HOME": str(folder),
        }
        self._environment |= {"PYTHONPATH": str(ROOT), "VEDETTE_STORE_DIR": str(folder / "store"), "VEDETTE_HOST": "0.0.0.0"}

    def __enter__(self) -> "Nodes":
        try:
            self._connect()
        except BaseException:
            self._delete()
            raise
        return self

    def _connect(self) -> None:
        a, b = self._of.values()
        for name in (a, b):
            _ip("netns", "add", name)
        _ip("link", "add", a, "type", "veth", "peer", "name", b)
        for address, name in self._of.items():
            _ip("link", "set", name, "netns", name)
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
            for link in ("lo", name):
                _ip("-n", name, "link", "set", link, "up")

    def _delete(self) -> None:
        for name in self._of.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        for name in self._of.values():
            for pid in _ip("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        self._delete()

    def start(self, address: str, *words: str) -> None:
        command = ["ip", "netns", "exec", self._of[address], *words]
        with (self.folder / f"{address}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, start_new_session=True)
            )

    def ask(self, address: str, url: str, *words: str) -> str | None:
        """An answer of 200 from within a node; None without one."""
        token = f"Authorization: Bearer {self._environment['RAY_AUTH_TOKEN']}"
        command = ["ip", "netns", "exec", self._of[address], "curl", "-sf", "-H", token, *words, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout if done.returncode == 0 else None

    def reached(self, address: str) -> set[int]:
        """Ports of a node that the other one is connected to now."""
        pid = _ip("netns", "pids", self._of[address]).split()[0]
        listened, connected = set(), set()
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                _, local, remote, state, *_ = line.split()
                port = int(local.rpartition(":")[2], 16)
                if state == "0A":
                    listened.add(port)
                elif state == ESTABLISHED and _address(remote) in self._of and _address(remote) != address:
                    connected.add(port)
        return connected & listened


def _address(of_kernel: str) -> str:
    """The IPv4 address of an entry of /proc/net/tcp or, mapped, tcp6."""
    word = of_kernel.partition(":")[0][-8:]
    return ".".join(str(b) for b in bytes.fromhex(word)[::-1])


def _ip(*words: str) -> str:
    return subprocess.check_output(["ip", *words], text=True, timeout=20)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="vp", dir="/tmp"))  # short: Ray keeps sockets there
    yield made
    shutil.rmtree(made, ignore_errors=True)


def _options(group: dict, **more: str) -> list[str]:
    given = {**group["rayStartParams"], **more}
    return [f"--{name}={value}" for name, value in given.items()]


def test_head_and_worker_use_no_port_that_the_policies_close(folder):
    if why := bridge.why_not() or ("" if shutil.which("curl") else "curl is not installed"):
        pytest.skip(why)
    (service,) = [r for r in whole("overlays/local") if r["kind"] == "RayService"]
    cluster = service["spec"]["rayClusterConfig"]
    head, (group,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    BundleStore(folder / "store").add(build_simple(folder / "draft"))
    config = folder / "serve.json"
    config.write_text(json.dumps(yaml.safe_load(service["spec"]["serveConfigV2"])))
    ray = str(Path(sys.executable).with_name("ray"))
    memory = {"object-store-memory": "100000000"}
    dashboard = f"http://{HEAD}:8265"
    with Nodes(folder) as nodes:
        own = {"node-ip-address": HEAD, "temp-dir": f"{folder}/h", "dashboard-host": "0.0.0.0"}
        nodes.start(HEAD, ray, "start", "--head", "--block", "--port=6379", *_options(head, **own, **memory))
        until(lambda: nodes.ask(HEAD, f"{dashboard}/api/version"), "the head")
        own = {"node-ip-address": WORKER, "temp-dir": f"{folder}/w"}
        nodes.start(WORKER, ray, "start", f"--address={HEAD}:6379", "--block", *_options(group, **own, **memory))
        put = ("-X", "PUT", "-H", "Content-Type: application/json", "-d", f"@{config}")
        until(lambda: nodes.ask(HEAD, f"{dashboard}/api/serve/applications/", *put) is not None, "the deployment")
        seen: set[int] = set()

        def is_ready() -> bool:
            seen.update(nodes.reached(HEAD) | nodes.reached(WORKER))
            return nodes.ask(WORKER, f"http://{WORKER}:8080/v2/health/ready") is not None

        until(is_ready, "the replica")
        is_ready()
        nodes.ask(HEAD, f"{dashboard}/api/serve/applications/", "-X", "DELETE")
    (policy,) = [r for r in whole("overlays/production") if r["metadata"]["name"] == "vedette-ray"]
    allowed = [(p["port"], p["endPort"]) for p in policy["spec"]["ingress"][0]["ports"]]
    assert {6379, 6380} <= seen, "what is looked at is Ray's own traffic"
    assert [port for port in seen if not any(low <= port <= high for low, high in allowed)] == []
