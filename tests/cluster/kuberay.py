"""KubeRay's own operator on a real API server, and what stands in for the nodes that are missing there.

`make cluster-tools` builds KubeRay's operator. Nothing runs a pod, so two parts are played: `run` and `leave` write a pod's status as
its kubelet would, and `RayHead` answers as the dashboard of each Ray cluster's head. Everything else is KubeRay's."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from tests import quick_yaml as yaml
from tests.fakes.apiserver import Handle
from tests.fakes.apiserver.real import assets, guard, unavailable
from tests.fakes.operator.operator_world import MERGE, SSA

Json = dict[str, Any]
PROGRAM = "kuberay-operator"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def folder() -> Path | None:
    """The folder of the newest KubeRay beside the API server's programs."""
    beside = assets()
    found = [] if beside is None else [p.parent for p in beside.glob(f"kuberay-*/{PROGRAM}")]
    return max(found, key=lambda f: [int(n) for n in f.name.partition("-")[2].split(".")], default=None)


def no_kuberay() -> str:
    """Why KubeRay cannot be run; "" when it can."""
    if folder():
        return ""
    if assets() is None:
        return unavailable() or "KubeRay is not run on a cluster that was given: it may have its own"
    return f"no {PROGRAM} in {assets()}/kuberay-*: `make cluster-tools` builds it (needs Go, some minutes, once)"


class RayHead:
    """The dashboards of all heads. KubeRay reaches a head by a name that only a cluster resolves; as it honours HTTP_PROXY, this is its
    proxy. An application runs, as in Ray Serve, once `ready(namespace, cluster)` workers hold the replicas that its configuration asks
    for. told: what is done with a configuration, by (namespace, cluster)."""

    def __init__(self, ready: Callable[[str, str], int], told: Callable[[str, str, Json], None]) -> None:
        self._ready, self._told = ready, told
        self._configs: dict[tuple[str, str], Json] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="ray-heads", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        head = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(head.details(*self._who()))

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head.deploy(*self._who(), json.loads(body))
                self._answer({})

            def _who(self) -> tuple[str, str]:
                service, namespace, *_ = (urlsplit(self.path).hostname or "").split(".")
                return namespace, service.removesuffix("-head-svc")

            def _answer(self, body: Json) -> None:
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler

    def deploy(self, namespace: str, cluster: str, config: Json) -> None:
        self._configs[namespace, cluster] = config
        if config.get("applications"):
            self._told(namespace, cluster, config)

    def details(self, namespace: str, cluster: str) -> Json:
        """Of `GET /api/serve/applications/`."""
        config, ready = self._configs.get((namespace, cluster), {}), self._ready(namespace, cluster)
        return {"applications": {a["name"]: _application(a, ready) for a in config.get("applications") or ()}}


def _application(config: Json, ready: int) -> Json:
    wanted = sum(d["num_replicas"] for d in config["deployments"])
    is_there = ready >= wanted
    deployments = {
        d["name"]: {"name": d["name"], "status": "HEALTHY" if is_there else "UPDATING", "message": ""}
        for d in config["deployments"]
    }
    status = "RUNNING" if is_there else "DEPLOYING"
    return {"name": config["name"], "status": status, "message": "", "deployments": deployments}


class KubeRay:
    """KubeRay's operator, in a process of its own that listens nowhere. log: what it said."""

    def __init__(self, api: Handle, head: RayHead) -> None:
        found = folder()
        if found is None:
            raise RuntimeError(no_kuberay())
        self.folder, self._api, self._head = found, api, head
        self.log = api.folder / "kuberay.log"

    def __enter__(self) -> Self:
        with self._api.http() as http:
            for file in sorted(self.folder.glob("ray.io_*.yaml")):
                definition = yaml.safe_load(file.read_text(encoding="utf-8"))
                where = f"{DEFINITIONS}/{definition['metadata']['name']}"
                answer = http.patch(where, params={"fieldManager": "kubectl"}, json=definition, headers=SSA)
                assert answer.is_success, answer.text
        options = [f"--kubeconfig={self._api.kubeconfig(name='kuberay')}", "--enable-leader-election=false"]
        options += ["--metrics-addr=0", "--health-probe-bind-address=0"]  # no ports
        environment = {"PATH": os.environ["PATH"], "HTTP_PROXY": self._head.url}
        with self.log.open("wb") as log:
            command = [str(self.folder / PROGRAM), *options]
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        self._guard = guard([self._process.pid])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._guard.kill()
        self._guard.communicate()
        self._process.kill()
        self._process.wait()

    def fitted(self, ray_service: Json) -> Json:
        return fitted(ray_service)


def fitted(ray_service: Json) -> Json:
    """A RayService without the workers' `priority`, where the KubeRay that is here does not know it (before 1.7)."""
    definition = yaml.safe_load((Path(str(folder())) / "ray.io_rayservices.yaml").read_text(encoding="utf-8"))
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == "v1"]
    config = schema["properties"]["spec"]["properties"]["rayClusterConfig"]["properties"]
    if "priority" not in config["workerGroupSpecs"]["items"]["properties"]:
        for group in ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
            group.pop("priority", None)
    return ray_service


def run(http: httpx.Client, pod: Json, address: str) -> None:
    """A pod runs and its readiness probe passes, as its kubelet says."""
    _report(http, pod, {"phase": "Running", "podIP": address}, "True")


def leave(http: httpx.Client, pod: Json) -> None:
    """A worker's replica has left it, so that its readiness probe fails."""
    _report(http, pod, {}, "False")


def _report(http: httpx.Client, pod: Json, status: Json, ready: str) -> None:
    where = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
    body = {"status": {**status, "conditions": [{"type": "Ready", "status": ready}]}}
    http.patch(where, json=body, headers=MERGE).raise_for_status()
