"""A cluster with everything installed and a model served by it: what the end-to-end tests and `make demo ARGS=--cluster` play on."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from tests.cluster.pods import installed
from tests.cluster.pods.cluster import FIRST, Cluster
from tests.fakes.operator.operator_world import API, MERGE

Json = dict[str, Any]
SPACE: Final = "soc"
MODEL: Final = "flows"
WAIT_S: Final = 300.0
RAY: Final = f"/apis/ray.io/v1/namespaces/{SPACE}"


class Stage:
    """The namespace with the replicas. http: of the API server, as its administrator."""

    def __init__(self, cluster: Cluster, http: httpx.Client) -> None:
        self.cluster, self.http = cluster, http

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return installed.kubectl(self.cluster, *words, stdin=stdin)

    def get(self, path: str) -> Json:
        answer = self.http.get(path)
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    @property
    def address(self) -> str:
        """Of the Service in front of the replicas."""
        return str(self.get(f"/api/v1/namespaces/{SPACE}/services/vedette")["spec"]["clusterIP"])

    @property
    def service(self) -> Json:
        """The ModelService."""
        return self.get(f"{API}/namespaces/{SPACE}/modelservices/{MODEL}")

    @property
    def status(self) -> Json:
        found: Json = self.service.get("status") or {}
        return found

    def pods(self, namespace: str = SPACE, labels: str = "") -> list[Json]:
        """Those that are not ending, the oldest first."""
        items = self.http.get(f"/api/v1/namespaces/{namespace}/pods", params={"labelSelector": labels}).json()["items"]
        present = [pod for pod in items if not pod["metadata"].get("deletionTimestamp")]
        return sorted(present, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    @property
    def workers(self) -> list[Json]:
        return self.pods(labels="app.kubernetes.io/component=replica")

    @property
    def operators(self) -> list[Json]:
        return self.pods(installed.HOME, "app.kubernetes.io/component=operator")

    def want(self, digest: str, version: str, policy: Mapping[str, Any] | None = None, **spec: Any) -> datetime:
        """Ask for a revision; the moment before."""
        asked = datetime.now(UTC)
        wanted: Json = {"revision": {"version": version, "bundle": digest}, **spec}
        if policy is not None:
            wanted["rollout"] = {"policy": dict(policy)}
        self.patch({"spec": wanted})
        return asked

    def patch(self, patch: Json) -> None:
        answer = self.http.patch(f"{API}/namespaces/{SPACE}/modelservices/{MODEL}", json=patch, headers=MERGE)
        assert answer.is_success, answer.text

    def ended(self, digest: str, since: datetime) -> Json | None:
        """The rollout of this bundle that was begun after `since`, once it is over."""
        history = self.status.get("rollout", {}).get("history") or ()
        found = (h for h in history if h["candidate"]["bundle"] == digest and datetime.fromisoformat(h["started"]) >= since)
        return next(found, None)

    def until(self, holds: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
        """Look again and again. Raises AssertionError with how things stand."""
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s\n{self.picture()}"
            time.sleep(0.2)
        return found

    def picture(self) -> str:
        """How things stand, for people."""
        seen = self.kubectl("get", "pods,rayservices,rayclusters,modelservices", "-A", "-o", "wide")
        kubelet = (self.cluster.folder / "kubelet.log").read_text(errors="replace").splitlines()[-30:]
        return seen + "\n".join(kubelet)

    def is_healthy(self, version: str) -> bool:
        """The ModelService serves this version, on as many workers as it should."""
        status = self.status
        conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
        return (
            status.get("phase") == "Healthy"
            and conditions.get("Ready") == "True"
            and str(status.get("stable", "")).startswith(f"{version} ")
        )

    def owners(self, field: str) -> set[str]:
        """Who owns a field of the RayService's spec, by managed fields."""
        entries = self.get(f"{RAY}/rayservices/vedette")["metadata"]["managedFields"]
        return {e["manager"] for e in entries if f"f:{field}" in e["fieldsV1"].get("f:spec", {})}


@contextmanager
def staged(
    context: Path, digest: str, version: str, tell: Callable[[str], None] = lambda line: None, **spec: Any
) -> Iterator[Stage]:
    """Start and install everything, serve one model. context: the folder with the `.vedette` that the image of bundles is made of."""
    began = time.monotonic()

    def say(line: str) -> None:
        tell(f"{time.monotonic() - began:6.1f} s  {line}")

    with Cluster(store=context, niceness=FIRST) as cluster, cluster.http() as http:
        stage = Stage(cluster, http)
        say(f"etcd, kube-apiserver, its controllers and scheduler run; {len(cluster.nodes)} nodes")
        installed.install_kuberay(cluster)
        installed.install_operator(cluster)
        installed.install_serving(cluster, SPACE)
        installed.apply(cluster, [installed.model_service(MODEL, digest, version, **spec)], "-n", SPACE)
        say("KubeRay's operator, ours, a RayService and a ModelService are applied")
        stage.until(lambda: stage.is_healthy(version), "the model is served")
        stage.until(lambda: len([p for p in stage.workers if is_ready(p)]) == 2, "two workers are ready")
        say(f"version {version} is served by {len(stage.workers)} pods of replicas")
        yield stage


def is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def printed(value: object) -> str:
    return json.dumps(value, indent=1)
