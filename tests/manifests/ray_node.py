"""A Ray node as KubeRay starts one (`ray start --block`, token from the environment), and Serve's REST interface as KubeRay uses it."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port, free_ports
from tests.waiting import HANG_S

START_S = 600.0
"""A hanging start ends then."""
STARTS = 4


@dataclass(frozen=True)
class RayNode:
    """A running node; what Serve's REST interface says and takes."""

    dashboard: int
    agent: int
    token: str

    def call(self, method: str, path: str, body: object = None, port: int | None = None) -> Any:
        """One request to the dashboard (or another port of the node); its JSON, or text."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.dashboard}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=HANG_S) as answer:
            text = answer.read().decode()
        with suppress(json.JSONDecodeError):
            return json.loads(text)
        return text


@contextmanager
def ray_node(folder: Path, environment: Mapping[str, str]) -> Iterator[RayNode]:
    """Start a head node that also holds replicas; stop it whatever happens. folder: short, Ray keeps sockets there."""
    gcs, dashboard, agent, metrics = free_ports(4)
    node = RayNode(dashboard, agent, secrets.token_hex(24))
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": node.token, "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(folder)}
    own["RAY_worker_niceness"] = "0"  # as in the image: with Ray's 15, a replica gets no processor time beside other tests
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        "--num-cpus=1",
        f"--temp-dir={folder / 'r'}",
    ]
    command += [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--metrics-export-port={metrics}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += ["--ray-client-server-port=" + str(free_port()), "--object-store-memory=100000000"]
    with (folder / "ray.log").open("wb") as log:

        def started() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **environment, **own}
            )

        process, starts = started(), 1

        def answers() -> bool:
            """A node that ended is started again, as a kubelet does: Ray gives its agents 15 s, and a machine may be busy."""
            nonlocal process, starts
            if process.poll() is not None and starts < STARTS:
                process, starts = started(), starts + 1
            return "version" in node.call("GET", "/api/version")

        try:
            wait_for(answers, "the Ray node")
            yield node
        finally:
            with suppress(OSError):  # an empty node has nothing to drain
                node.call("DELETE", "/api/serve/applications/")
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=45)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=HANG_S)


def wait_for(claim: Any, what: str) -> None:
    """Until the claim holds; an answer that does not come yet is no answer."""
    deadline = time.monotonic() + START_S
    while True:
        with suppress(OSError, urllib.error.URLError):
            if claim():
                return
        assert time.monotonic() < deadline, f"{what} was not there within {START_S:.0f} s"
        time.sleep(0.25)
