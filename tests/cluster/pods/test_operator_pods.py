"""The operator's own Deployment, as manifests/overlays/operator has it, in pods: its rights, probes, hand-over, upgrade."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.cluster.pods import installed
from tests.cluster.pods.cluster import Cluster
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pods of a cluster")]

Json = dict[str, Any]
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{installed.HOME}/leases/vedette-operator"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{installed.HOME}/deployments/vedette-operator"


@pytest.fixture(scope="module")
def http(cluster: Cluster) -> Any:
    installed.install_operator(cluster)
    installed.until_available(cluster, installed.HOME, "vedette-operator")
    with cluster.http() as found:
        yield found


def leader(http: httpx.Client) -> str:
    """The pod that the Lease names."""
    lease: Json = http.get(LEASE).json()
    return str(lease.get("spec", {}).get("holderIdentity", "")).rpartition("_")[0]


def pods(http: httpx.Client) -> dict[str, Json]:
    """The operators that are ready, by name."""
    items = http.get(f"/api/v1/namespaces/{installed.HOME}/pods").json()["items"]
    return {p["metadata"]["name"]: p for p in items if _is_ready(p) and not p["metadata"].get("deletionTimestamp")}


def _is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def test_it_is_available_under_its_own_rights_and_one_of_two_leads(cluster: Cluster, http: httpx.Client):
    until(lambda: leader(http) in pods(http), every_s=0.2)
    assert len(pods(http)) == 2
    assert _log(cluster, bool)
    assert not _log(cluster, lambda line: "forbidden" in line)
    (node,), (other,) = ([p["spec"]["nodeName"]] for p in pods(http).values())
    assert node != other, "the scheduler spreads them"


def test_when_the_leader_is_killed_the_other_leads_and_a_new_one_comes(cluster: Cluster, http: httpx.Client):
    before = leader(http)
    http.request(
        "DELETE", f"/api/v1/namespaces/{installed.HOME}/pods/{before}", json={"gracePeriodSeconds": 0}
    ).raise_for_status()
    until(lambda: leader(http) not in ("", before), every_s=0.2)
    until(lambda: len(pods(http)) == 2, every_s=0.2)
    assert before not in pods(http)


def test_an_upgrade_replaces_them_one_by_one_and_never_none_is_ready(cluster: Cluster, http: httpx.Client):
    before = set(pods(http))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "operator", "image": "vedette-operator:0.2.0"}]}}}}
    http.patch(DEPLOYMENT, json=patch, headers={"Content-Type": "application/strategic-merge-patch+json"}).raise_for_status()
    fewest = 2

    def is_done() -> bool:
        nonlocal fewest
        ready = pods(http)
        fewest = min(fewest, len(ready))
        return len(ready) == 2 and not before & set(ready)

    until(is_done, lambda: str(sorted(pods(http))), every_s=0.2)
    assert fewest >= 1
    until(lambda: leader(http) in pods(http), every_s=0.2)
    gone = [name for name in before if "did not end within" in _said(cluster, name)]
    assert not gone, "an operator ends when it is told to"


def _said(cluster: Cluster, pod: str) -> str:
    lines = (cluster.folder / "kubelet.log").read_text().splitlines()
    return "\n".join(line for line in lines if pod in line)


def _log(cluster: Cluster, holds: Callable[[str], bool]) -> list[str]:
    return [line for line in cluster.log(installed.HOME, "*", "operator").splitlines() if holds(line)]
