"""A cluster for the operator: an API server with our CRDs and those of others, RayServices whose pods serve, and ModelServices.

The operator itself is started by the test: in this process, or in one of its own that can be killed."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from operators.api.types import REQUESTS_ANNOTATION
from operators.rollout.status import VerbRequest
from tests import quick_yaml as yaml
from tests.fakes.apiserver import Handle
from tests.fakes.operator.serving_pods import FOREIGN_CRDS, Group, ServingPods, pod, ray_cluster, ray_service, worker_group
from tests.waiting import HANG_S, until

ROOT = Path(__file__).parents[3]
API = "/apis/vedette.dev/v1alpha1"
SSA = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}
QUICK_STEPS: list[dict[str, Any]] = [
    {"mirror": {"percent": 100}},
    {"analysis": {"minRequests": 100}},
    {"setWeight": 5},
    {"analysis": {"minRequests": 100}},
    {"setWeight": 25},
    {"analysis": {"minRequests": 100}},
    {"setWeight": 100},
    {"analysis": {"minRequests": 100}},
]
QUICK: dict[str, Any] = {
    "steps": QUICK_STEPS,
    "analysis": {"gates": [{"name": "errors", "margin": 0.02}], "minRequests": 100, "staleAfter": "60s"},
}


def digest(letter: str) -> str:
    return "sha256:" + letter.encode().hex() * 32


class World:
    """One API server and its pods. A follower thread tells the pods what their RayService says, as KubeRay would."""

    def __init__(self, api: Handle, pods: ServingPods) -> None:
        self.api, self.pods = api, pods
        self.http: httpx.Client = api.http()
        self._services: set[str] = set()
        self._stopping = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="kuberay", daemon=True)

    def __enter__(self) -> "World":
        crds = [
            *FOREIGN_CRDS,
            *(
                yaml.safe_load(p.read_text(encoding="utf-8"))
                for p in sorted((ROOT / "manifests/crds").glob("*.yaml"))
                if "custom" not in p.name
            ),
        ]
        for crd in crds:
            if crd.get("kind") == "CustomResourceDefinition":
                self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        self._until_served()
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._follower.join(10)
        for path in (
            self._services
        ):  # the operators have ended; what waited for one would keep its namespace, for other tests' operators to find
            self.http.patch(path, json={"metadata": {"finalizers": None}}, headers=MERGE)
        self.http.close()

    def create(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=document)
        if answer.status_code == 409:
            return {}
        assert answer.status_code < 300, f"{path}: {answer.text}"
        found: dict[str, Any] = answer.json()
        if document.get("status") and document["kind"] == "Pod":
            where = f"{path}/{document['metadata']['name']}/status"
            answer = self.http.patch(where, json={"status": document["status"]}, headers=MERGE)
            assert answer.status_code < 300, answer.text
        return found

    def namespace(self, name: str) -> None:
        self.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def ray(self, namespace: str, name: str, replicas: int = 2, most: int | None = None) -> Group:
        """A RayService with pods that serve nothing yet. most: it has a worker group that may grow so far, and a RayCluster."""
        group = self.pods.add(namespace, name, replicas=replicas)
        path = f"/apis/ray.io/v1/namespaces/{namespace}/rayservices"
        groups = [worker_group(replicas, 1, most)] if most is not None else None
        self.create(path, ray_service(namespace, name, replicas=replicas, groups=groups))
        if groups is not None:
            self.create(f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters", ray_cluster(namespace, f"{name}-c1", groups))
        status = {"status": {"activeServiceStatus": {"rayClusterName": f"{name}-c1"}}}
        assert self.http.patch(f"{path}/{name}/status", json=status, headers=MERGE).status_code < 300
        labels = {"ray.io/cluster": f"{name}-c1", "ray.io/node-type": "worker"}
        for number, address in enumerate(group.addresses):
            self.create(f"/api/v1/namespaces/{namespace}/pods", pod(namespace, f"{name}-{number}", address, labels))
        return group

    def service(self, namespace: str, name: str, letter: str = "a", ray: str | None = None, **spec: Any) -> None:
        """A ModelService on the RayService of its name."""
        body = {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "revision": {"version": "1", "bundle": digest(letter)},
                "rollout": {"policy": QUICK},
                "backend": {"ray": {"rayService": ray or name, "metricsPort": self.pods.port or 8080}},
                **spec,
            },
        }
        self.create(f"{API}/namespaces/{namespace}/modelservices", body)
        self._services.add(f"{API}/namespaces/{namespace}/modelservices/{name}")

    def get(self, namespace: str, name: str) -> dict[str, Any]:
        answer = self.http.get(f"{API}/namespaces/{namespace}/modelservices/{name}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def patch(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        where = f"{API}/namespaces/{namespace}/modelservices/{name}"
        answer = self.http.patch(where, json=patch, headers=MERGE)
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def want(self, namespace: str, name: str, letter: str, version: str = "2") -> None:
        """Ask for another revision."""
        self.patch(namespace, name, {"spec": {"revision": {"version": version, "bundle": digest(letter)}}})

    def say(self, namespace: str, name: str, request: VerbRequest) -> None:
        found = self.get(namespace, name)
        notes = found["metadata"].get("annotations") or {}
        waiting = json.loads(notes.get(REQUESTS_ANNOTATION) or "[]")
        text = json.dumps([*waiting, request.model_dump(mode="json", by_alias=True)])
        version = found["metadata"]["resourceVersion"]
        self.patch(namespace, name, {"metadata": {"resourceVersion": version, "annotations": {REQUESTS_ANNOTATION: text}}})

    def status(self, namespace: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(namespace, name).get("status") or {}
        return found

    def events(self, namespace: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get(f"/api/v1/namespaces/{namespace}/events").json()["items"]
        return items

    def until(
        self, namespace: str, name: str, holds: Callable[[dict[str, Any]], object], seconds: float = 2 * HANG_S
    ) -> dict[str, Any]:
        """Wait for a status. Raises AssertionError with the last one."""
        end = time.monotonic() + seconds
        status: dict[str, Any] = {}
        while time.monotonic() < end:
            status = self.status(namespace, name)
            if status and holds(status):
                return status
            time.sleep(0.03)
        brief = {k: v for k, v in status.items() if k != "rollout"}
        raise AssertionError(f"{namespace}/{name} never came to it within {seconds} s; it is {json.dumps(brief, indent=1)}")

    def _until_served(self) -> None:
        paths = (f"{API}/modelservices", "/apis/ray.io/v1/rayservices")
        until(lambda: all(self.http.get(path).status_code == 200 for path in paths), "the CRDs are not served", every_s=0.1)

    def _follow(self) -> None:
        """KubeRay's part: hand each RayService's configuration to its pods."""
        with self.api.http() as http:
            while not self._stopping.is_set():
                version = "0"
                try:
                    listed = http.get("/apis/ray.io/v1/rayservices").json()
                    version = listed["metadata"]["resourceVersion"]
                    for item in listed["items"]:
                        self._tell({**item, "kind": "RayService"})
                    query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3600"}
                    with http.stream(
                        "GET", "/apis/ray.io/v1/rayservices", params=query, timeout=httpx.Timeout(5, read=1)
                    ) as lines:
                        for line in lines.iter_lines():
                            event = json.loads(line)
                            if event["type"] in {"ADDED", "MODIFIED"}:
                                self._tell(event["object"])
                            if self._stopping.is_set():
                                return
                except (httpx.HTTPError, KeyError, ValueError):
                    continue

    def _tell(self, document: dict[str, Any]) -> None:
        try:
            self.pods.told(document)
        except KeyError:
            return


QUICK_SETTINGS = {
    "REST_INTERVAL_S": "0.5",
    "ACTIVE_INTERVAL_S": "0.1",
    "BACKOFF_FIRST_S": "0.1",
    "BACKOFF_MOST_S": "1",
    "RECORD_INTERVAL_S": "0.5",
    "STARTUP_SPREAD_S": "0",
    "WATCH_CHECK_INTERVAL_S": "0.5",
    "LEADER_ELECTION": "false",
    "HTTP_PORT": "0",
    "LOG_LEVEL": "info",
}


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["operators.handlers.main"])  # imported once, not at each of fifty starts


def _operate(settings: dict[str, str], log: str) -> None:
    from operators.handlers.main import run
    from operators.handlers.settings import OperatorSettings

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.exit(run(OperatorSettings.model_validate(settings)))


class OperatorProcess:
    """The operator in a process of its own, to be killed. settings: over QUICK_SETTINGS; None: the operator's own default."""

    def __init__(self, kubeconfig: Path, log: Path, **settings: str | None) -> None:
        told = {k.lower(): v for k, v in {**QUICK_SETTINGS, "KUBECONFIG": str(kubeconfig), **settings}.items() if v is not None}
        self.process = _FORKS.Process(target=_operate, args=(told, str(log)), daemon=True)
        self.process.start()

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()

    def stop(self, number: int = signal.SIGTERM, within_s: float = 60) -> int | None:
        """Tell it to end by a signal; the exit status, or that it is still running (None), in which case it is killed."""
        os.kill(int(self.process.pid or 0), number)
        self.process.join(within_s)
        code = self.process.exitcode
        self.kill()
        return code
