"""Pods of a real API server run on the kubelet of the tests as they would on a node. What the other tests here stand on."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.pods import installed
from tests.cluster.pods.cluster import Cluster, why_not
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pods of a cluster")]

Json = dict[str, Any]


class Space:
    """A namespace of one test's own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.http = cluster.http()

    def apply(self, *documents: Json) -> None:
        installed.apply(self.cluster, [{"apiVersion": "v1", **d} for d in documents], "-n", self.name)

    def run(self, name: str, script: str, **spec: Any) -> None:
        """A pod of one container that runs a shell script. `container`: further fields of it."""
        container = {"name": "c", "image": "machine", "command": ["sh", "-c", script], **spec.pop("container", {})}
        body = {"terminationGracePeriodSeconds": 2, "containers": [container], **spec}
        self.apply({"kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": body})

    def pod(self, name: str) -> Json:
        found: Json = self.http.get(f"/api/v1/namespaces/{self.name}/pods/{name}").json()
        return found

    def state(self, name: str) -> Json:
        """Of the pod's only container."""
        found = self.pod(name).get("status", {}).get("containerStatuses") or [{}]
        return dict(found[0])

    def said(self, name: str, container: str = "c") -> str:
        return self.cluster.log(self.name, name, container)

    def until_phase(self, name: str, phase: str) -> None:
        until(
            lambda: self.pod(name).get("status", {}).get("phase") == phase,
            lambda: f"{self.pod(name)}\n{self.said(name)}",
            every_s=0.1,
        )

    def until_ready(self, name: str) -> None:
        until(lambda: self.state(name).get("ready"), lambda: f"{self.pod(name)}\n{self.said(name)}", every_s=0.1)

    def delete(self, name: str) -> None:
        at = f"/api/v1/namespaces/{self.name}/pods/{name}"
        self.http.delete(at).raise_for_status()
        until(lambda: self.http.get(at).status_code == 404, f"pod {name} is gone", every_s=0.1)


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Space]:
    made = Space(cluster, f"test-{uuid.uuid4().hex[:8]}")
    made.apply({"kind": "Namespace", "metadata": {"name": made.name}})
    until(lambda: made.http.get(f"/api/v1/namespaces/{made.name}/serviceaccounts/default").status_code == 200)
    yield made
    made.http.delete(f"/api/v1/namespaces/{made.name}")
    made.http.close()


CONFINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
ALL_KINDS = """
echo user $(id -u) $(id -g) $(id -G)
echo env $FROM_SECRET $FROM_MAP $URL $LIMIT
echo files $(cat /conf/a.txt) $(cat /one.txt) $(cat /secret/password) $(cat /info/app)
echo made before: $(cat /data/made)
echo first process $$$$
touch /etc/x 2>&1; touch /conf/x 2>&1; touch /data/mine && echo may write /data
echo limit $(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)
at=/var/run/secrets/kubernetes.io/serviceaccount
python3 - <<END
import json, ssl, urllib.request
token, folder = open("$at/token").read(), open("$at/namespace").read()
asked = urllib.request.Request("https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews", method="POST",
    data=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode(),
    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
trusted = ssl.create_default_context(cafile="$at/ca.crt")
print("i am", json.load(urllib.request.urlopen(asked, context=trusted))["status"]["userInfo"]["username"])
END
"""


def test_a_pod_finds_what_its_specification_says(space: Space):
    """Init containers, volumes of all kinds, variables, user, confinement, memory limit, its token at the API server's Service."""
    space.apply(
        {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a.txt": "mapped", "FROM_MAP": "m"}},
        {"kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"password": "s3cret"}},
    )
    volumes = [
        {"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "info", "downwardAPI": {"items": [{"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}}]}},
    ]  # fmt: skip
    data = {"name": "data", "mountPath": "/data"}
    mounts = [
        data, {"name": "conf", "mountPath": "/conf"}, {"name": "conf", "mountPath": "/one.txt", "subPath": "a.txt"},
        {"name": "keys", "mountPath": "/secret", "readOnly": True}, {"name": "info", "mountPath": "/info"},
    ]  # fmt: skip
    env = [
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP):80"},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    first = {"name": "first", "image": "machine", "command": ["sh", "-c", "echo first > /data/made"], "volumeMounts": [data]}
    limits = {"limits": {"memory": "128Mi"}}
    container = {
        "env": env, "envFrom": [{"configMapRef": {"name": "conf"}}], "volumeMounts": mounts,
        "securityContext": CONFINED, "resources": limits,
    }  # fmt: skip
    context = {"runAsUser": 10001, "runAsGroup": 10001, "runAsNonRoot": True, "fsGroup": 10001}
    space.run(
        "all",
        ALL_KINDS,
        container=container,
        initContainers=[first],
        volumes=volumes,
        securityContext=context,
        restartPolicy="Never",
    )
    space.until_phase("all", "Succeeded")
    said, address = space.said("all"), space.pod("all")["status"]["podIP"]
    for line in (
        "user 10001 10001 10001",
        f"env s3cret m http://{address}:80 128",
        "files mapped mapped s3cret all",
        "made before: first",
        "first process 1",
        "touch: cannot touch '/etc/x': Read-only file system",
        "touch: cannot touch '/conf/x': Read-only file system",
        "may write /data",
        f"limit {128 << 20}",
        f"i am system:serviceaccount:{space.name}:default",
    ):
        assert line in said.splitlines(), said


SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/index.html; cd /tmp/w; exec python3 -m http.server 8000"


def test_a_service_leads_to_ready_pods_by_name(space: Space):
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    space.apply(
        {"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}},
        {
            "kind": "Service",
            "metadata": {"name": "each"},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": ports},
        },
    )
    probe = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1}
    space.run("web", SERVE, container={"ports": [{"name": "web", "containerPort": 8000}], "readinessProbe": probe})
    space.until_ready("web")
    address = space.pod("web")["status"]["podIP"]
    ask = f"""
    until [ "$(getent hosts each | cut -d' ' -f1)" = {address} ]; do sleep 0.1; done
    python3 -c "
import time, urllib.request
while True:
    try:
        print('answered by', urllib.request.urlopen('http://web.{space.name}.svc.cluster.local').read().decode())
        break
    except OSError:
        time.sleep(0.1)  # the Service's address is not yet listened on
"
    """
    space.run("ask", ask, restartPolicy="Never")
    space.until_phase("ask", "Succeeded")
    assert "answered by web" in space.said("ask")


def test_probes_hold_traffic_back_and_restart_what_hangs(space: Space):
    """startupProbe, then readinessProbe; a livenessProbe that fails three times restarts the container, which has its files anew."""
    script = "trap 'exit 0' TERM; touch /tmp/began; sleep 1; touch /tmp/ready; touch /tmp/alive; while :; do sleep 0.1; done"

    def probe(file: str) -> Json:
        return {"exec": {"command": ["test", "-e", f"/tmp/{file}"]}, "periodSeconds": 1, "failureThreshold": 3}

    probes = {
        "startupProbe": {**probe("ready"), "failureThreshold": 30},
        "readinessProbe": probe("ready"),
        "livenessProbe": probe("alive"),
    }
    space.run("slow", script, container=probes)
    space.until_ready("slow")
    (pid,) = _processes(space.pod("slow")["metadata"]["uid"], "/tmp/began")
    os.unlink(f"/proc/{pid}/root/tmp/alive")
    until(lambda: space.state("slow").get("restartCount") == 1, lambda: str(space.pod("slow")), every_s=0.1)
    space.until_ready("slow")
    assert space.state("slow")["lastState"]["terminated"]["exitCode"] == 0


def _groups(pattern: str) -> list[Path]:
    return [found for at in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory") for found in Path(at).glob(pattern)]


def _processes(uid: str, file: str) -> list[str]:
    """First processes of a pod's containers: those that have a file, in its control group."""
    groups = _groups(f"vedette-pods-*/{uid}-*/cgroup.procs")
    found = {pid for group in groups for pid in group.read_text().split() if Path(f"/proc/{pid}/root{file}").exists()}
    return sorted(found, key=int)[:1]


def test_a_pod_ends_in_order(space: Space):
    """preStop first, then SIGTERM; what ignores it is killed after its grace period."""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo before > /proc/1/fd/1"]}}}
    space.run("polite", "trap 'echo told; exit 0' TERM; while :; do sleep 0.1; done", container={"lifecycle": hook})
    space.run("deaf", "echo begun; while :; do sleep 0.1; done")  # the first process of a container: no handler, no end
    for name in ("polite", "deaf"):
        space.until_phase(name, "Running")
    until(lambda: "begun" in space.said("deaf"))
    space.delete("polite")
    assert space.said("polite").split() == ["before", "told"]
    space.delete("deaf")
    assert "deaf c did not end within 2 s and is killed" in (space.cluster.folder / "kubelet.log").read_text()


def test_what_a_pod_lacks_is_said(space: Space):
    space.run("lacks", "true", container={"envFrom": [{"secretRef": {"name": "none"}}]})
    space.run("root", "true", securityContext={"runAsNonRoot": True})
    space.run("image", "true", container={"image": "nowhere/else:1"})
    reasons = {"lacks": "CreateContainerConfigError", "root": "CreateContainerConfigError", "image": "ErrImagePull"}
    for name, reason in reasons.items():
        until(lambda name=name, reason=reason: space.state(name).get("state", {}).get("waiting", {}).get("reason") == reason)
    assert 'secret "none" not found' in space.state("lacks")["state"]["waiting"]["message"]
    space.apply({"kind": "Secret", "metadata": {"name": "none"}})
    until(lambda: space.state("lacks").get("restartCount", 0) > 0 or "terminated" in space.state("lacks").get("lastState", {}))


def test_who_takes_more_memory_than_its_limit_is_killed(space: Space):
    script = "exec python3 -c 'held = bytearray(200 << 20)'"
    space.run("greedy", script, container={"resources": {"limits": {"memory": "64Mi"}}}, restartPolicy="Never")
    space.until_phase("greedy", "Failed")
    assert space.state("greedy")["state"]["terminated"]["reason"] == "OOMKilled"


@pytest.mark.soak
def test_when_a_node_is_lost_its_pods_come_up_elsewhere(tmp_path: Path):
    """On a cluster of its own. Kubernetes' controllers notice, evict and replace; the lost pod stays until somebody hears of its node."""
    if why := why_not():
        pytest.skip(why)
    with Cluster(eviction_s=1) as cluster:
        space = Space(cluster, "default")
        labels = {"app": "web"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "machine", "command": ["sh", "-c", SERVE]}]},
        }
        body = {"selector": {"matchLabels": labels}, "template": template}
        space.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": body})

        def running() -> list[tuple[str, str]]:
            pods = space.http.get("/api/v1/namespaces/default/pods").json()["items"]
            return [
                (p["metadata"]["name"], p["spec"].get("nodeName"))
                for p in pods
                if p["status"].get("phase") == "Running" and not p["metadata"].get("deletionTimestamp")
            ]

        ((name, node),) = until(running, every_s=0.1)
        address = space.pod(name)["status"]["podIP"]
        cluster.lose(node)
        ((other, elsewhere),) = until(lambda: [p for p in running() if p[0] != name], every_s=0.2)
        assert (other, elsewhere) != (name, node)
        assert space.pod(name)["metadata"]["deletionTimestamp"], "it is told to end, and its node does not hear it"
        assert space.pod(name)["status"]["podIP"] == address
        number, kubelet = cluster.number, cluster.kubelet_pid
        seen = _left(number)
        assert seen or not _groups(f"vedette-pods-{number}"), "its pods are seen"
        os.kill(kubelet, signal.SIGKILL)  # at last, as by somebody who has no time
        until(lambda: not _left(number), lambda: f"left behind: {_left(number)}", every_s=0.1)
        space.http.close()


def _left(number: int) -> list[str]:
    """Processes of a cluster's pods."""
    roots = _groups(f"vedette-pods-{number}/*/cgroup.procs")
    return [pid for root in roots for pid in root.read_text().split()]


def test_mounts_of_containers_are_in_namespaces_of_their_own(cluster: Cluster):
    mounts = Path("/proc/self/mounts").read_text()
    assert str(cluster.pods_folder) not in mounts, "containers' mounts are in namespaces of their own"
