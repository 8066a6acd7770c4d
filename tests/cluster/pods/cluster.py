"""The cluster: Kubernetes' own control plane, and `tests.cluster.kubelet` for its nodes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.cluster.kubelet.control_groups import ControlGroups
from tests.cluster.kubelet.images import ROOT
from tests.cluster.kubelet.networking import bridge
from tests.fakes.apiserver.real import GIVEN, RealApiServer, assets, guard, unavailable
from tests.ports import free_port
from tests.waiting import until

Json = dict[str, Any]
FIRST: Final = -10
"""The niceness of pods that run Ray: it gives up a node whose agents need more than 15 s to start, as they do beside other work. Not for
pods in the ordinary suite: other tests start Ray beside them."""
SCHEDULER: Final = "kube-scheduler"
MANAGER: Final = "kube-controller-manager"
CONTROLLERS: Final = ",".join(
    f"{name}-controller"
    for name in (
        "namespace", "garbage-collector", "clusterrole-aggregation", "serviceaccount", "root-ca-certificate-publisher",
        "deployment", "replicaset", "statefulset", "job", "cronjob", "endpointslice", "node-lifecycle", "taint-eviction",
        "pod-garbage-collector", "disruption",
    )
)  # fmt: skip


def why_not() -> str:
    """Why no cluster whose pods run can be had here; "" when it can."""
    if os.environ.get(GIVEN):
        return f"{GIVEN} names a cluster, which has nodes of its own"
    if why := unavailable() or bridge.why_not():
        return why
    missing = [p for p in (MANAGER, SCHEDULER) if not (Path(str(assets())) / p).exists()]
    return (
        f"no {' and no '.join(missing)} in {assets()}: `make cluster-tools` builds it (needs Go, some minutes, once)"
        if missing
        else ""
    )


class Cluster(RealApiServer):
    """nodes: names. capacity: of each. store: the folder with `.vedette` that the image vedette-bundles is made of.

    eviction_s: how long a pod stays bound to a node that went silent, once that was noticed (grace_s). niceness: of the pods."""

    def __init__(
        self,
        nodes: Sequence[str] = ("node-1", "node-2", "node-3"),
        capacity: Mapping[str, str] | None = None,
        store: Path | None = None,
        *,
        grace_s: int = 8,
        eviction_s: int = 2,
        niceness: int = 0,
    ) -> None:
        if why := why_not():
            raise RuntimeError(why)
        super().__init__()
        self.number, self._lock = bridge.reserve()
        self.nodes, self._capacity, self._store = tuple(nodes), capacity or {}, store
        services = f"198.19.{self.number}"
        self.names = (
            f"{services}.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        )
        self.api_options = {
            "service-cluster-ip-range": f"{services}.0/24",
            "disable-admission-plugins": "",
            "default-not-ready-toleration-seconds": str(eviction_s),
            "default-unreachable-toleration-seconds": str(eviction_s),
        }
        self.controllers = CONTROLLERS
        self.manager_options = {
            "root-ca-file": str(self.folder / "ca.crt"),
            "node-monitor-period": "1s",
            "node-eviction-rate": "10",
            "node-monitor-grace-period": f"{grace_s}s",
        }
        self.pods_folder = self.folder / "pods"
        self._niceness = niceness
        self._kubelet: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()
        self._second_guard: subprocess.Popen[bytes] | None = None
        self.machine = f"198.18.{self.number}.2"

    def start(self) -> Self:
        super().start()
        try:
            port = free_port()
            options = [f"--kubeconfig={self.kubeconfig(name='scheduler')}", "--leader-elect=false"]
            self._run(SCHEDULER, [*options, "--bind-address=127.0.0.1", f"--secure-port={port}"])
            self._second_guard = guard([self._started[-1].pid])
            self._start_kubelet()
            until(self._nodes_take_pods, "the nodes take pods", every_s=0.1)
        except BaseException:
            self.stop()
            raise
        return self

    def _start_kubelet(self) -> None:
        self.pods_folder.mkdir(exist_ok=True)
        command = [
            "nice",
            "-n",
            str(self._niceness),
            sys.executable,
            "-m",
            "tests.cluster.kubelet",
            f"--kubeconfig={self.kubeconfig(name='kubelet')}",
        ]
        command += [f"--folder={self.pods_folder}", f"--network={self.number}", *(f"--node={n}" for n in self.nodes)]
        command += [f"--capacity={json.dumps(dict(self._capacity))}"]
        command += [f"--store={self._store}"] if self._store else []
        command += [f"--program=kuberay-operator={found}" for found in Path(str(assets())).glob("kuberay-*/kuberay-operator")]
        with (self.folder / "kubelet.log").open("wb") as log:
            self._kubelet = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, start_new_session=True
            )
        self._told()

    def _nodes_take_pods(self) -> bool:
        """Whether every node is ready and free of the taints of a node that is not: until then pods are not spread over all."""
        with self.http() as http:
            found = http.get("/api/v1/nodes").json()["items"]
        ready = [
            n for n in found if any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"].get("conditions", ()))
        ]
        return len([n for n in ready if not n["spec"].get("taints")]) == len(self.nodes)

    def _told(self) -> Json:
        """The next line that the kubelet says."""
        assert self._kubelet
        assert self._kubelet.stdout
        line = self._kubelet.stdout.readline()
        if not line:
            raise RuntimeError(f"the kubelet ended with {self._kubelet.wait()}:\n{self.tail()}")
        told: Json = json.loads(line)
        return told

    @property
    def kubelet_pid(self) -> int:
        assert self._kubelet
        return self._kubelet.pid

    def lose(self, node: str) -> None:
        """Cut a node's power."""
        self._ask(f"lose {node}")

    def behind(self, namespace: str, service: str) -> list[str]:
        """The addresses of the pods that get new connections of a Service now, as its nodes have learned it."""
        found: list[str] = self._ask(f"behind {namespace}/{service}")["behind"]
        return found

    def _ask(self, line: str) -> Json:
        """Say a line to the kubelet; its answer. From any thread."""
        with self._asking:
            assert self._kubelet
            assert self._kubelet.stdin
            self._kubelet.stdin.write(f"{line}\n".encode())
            self._kubelet.stdin.flush()
            return self._told()

    def log(self, namespace: str, pod: str, container: str) -> str:
        """All that a container said, of every pod of this name and every attempt."""
        files = sorted(self.pods_folder.glob(f"{namespace}/{pod}/*/{container}/*.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    def stop(self) -> None:
        if self._kubelet is not None:
            assert self._kubelet.stdin
            self._kubelet.stdin.close()  # it ends its pods, and so itself
            try:
                self._kubelet.wait(30)
            except subprocess.TimeoutExpired:
                self._kubelet.kill()
                self._kubelet.wait()
            ControlGroups(self.number).sweep()  # what a killed kubelet left
            bridge.delete(self.number)
        if self._second_guard is not None:
            self._second_guard.kill()
            self._second_guard.communicate()
        super().stop()
        self._lock.close()
