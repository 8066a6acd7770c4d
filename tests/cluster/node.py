"""A stand-in for the Deployment controller and a node, for API servers that have neither: runs the operator of a Deployment.

It starts as many operators as the Deployment has replicas, each in a process of its own under the Deployment's service account,
replaces them one by one when the template changes, says in the status what is ready, and ends them with the Deployment."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from tests.fakes.apiserver import Handle
from tests.fakes.operator.operator_world import MERGE, OperatorProcess
from tests.ports import free_port
from tests.waiting import until

Json = dict[str, Any]
GRACE_S = 30.0
Start = Callable[..., OperatorProcess]


class Node:
    """start: starts an operator with a kubeconfig and settings (`Operators.start`). running: a port of each, by process."""

    def __init__(self, api: Handle, namespace: str, name: str, start: Start) -> None:
        self._api, self._namespace, self._name, self._start = api, namespace, name, start
        self._at = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="node", daemon=True)
        self._generation = 0
        self._template: Json | None = None
        self._count = 0
        self.running: dict[OperatorProcess, int] = {}
        self.failed: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(60)
        self._end(list(self.running))
        if self.failed is not None and error is None:
            raise self.failed

    def _keep(self) -> None:
        try:
            with self._api.http() as http:
                while not self._stopping.wait(0.1):
                    answer = http.get(self._at)
                    if answer.status_code == 404 or answer.json()["metadata"].get("deletionTimestamp"):
                        self._end(list(self.running))
                        self._generation = 0
                    elif answer.json()["metadata"]["generation"] != self._generation:
                        self._follow(http, answer.json())
        except Exception as problem:  # told where the test waits
            self.failed = problem

    def _follow(self, http: httpx.Client, deployment: Json) -> None:
        template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
        old = list(self.running) if template != self._template else list(self.running)[wanted:]
        while len(self.running) - len(old) < wanted:
            self._add(http, template["spec"]["serviceAccountName"])
            self._end(old[:1])
            old = old[1:]
        self._end(old)
        self._template, self._generation = template, deployment["metadata"]["generation"]
        self._report(http, wanted)

    def _add(self, http: httpx.Client, account: str) -> None:
        asked = http.post(f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token", json={"spec": {}})
        asked.raise_for_status()
        self._count += 1
        pod, port = f"{self._name}-{self._count}", free_port()
        kubeconfig = self._api.kubeconfig(asked.json()["status"]["token"], pod, self._namespace)
        told = {"LEADER_ELECTION": "true", "LEASE_NAMESPACE": self._namespace, "LEASE_DURATION_S": "3", "LEASE_RENEW_S": "2"}
        process = self._start(kubeconfig, IDENTITY=pod, HTTP_HOST="127.0.0.1", HTTP_PORT=str(port), LEASE_RETRY_S="0.3", **told)
        self.running[process] = port
        until(lambda: _is_ready(port), f"{pod} is ready")

    def _end(self, processes: list[OperatorProcess]) -> None:
        """SIGTERM, and SIGKILL after the grace that the Deployment gives."""
        for process in processes:
            process.process.terminate()
        for process in processes:
            process.process.join(GRACE_S)
            process.kill()
            del self.running[process]

    def _report(self, http: httpx.Client, count: int) -> None:
        status: Json = {"observedGeneration": self._generation}
        status |= dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": ""}
        body = {"status": {**status, "conditions": [available]}}
        http.patch(f"{self._at}/status", json=body, headers=MERGE).raise_for_status()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False
