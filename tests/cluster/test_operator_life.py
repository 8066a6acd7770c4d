"""The operator's life as a process: it waits for what it needs, says whether it is ready, leads alone, and ends when told to."""

import re
import signal

import httpx
import pytest

from tests import quick_yaml as yaml
from tests.cluster.test_operator_rollouts import is_healthy
from tests.fakes.operator.operator_world import API, MERGE, ROOT, World
from tests.ports import free_port
from tests.waiting import HANG_S, until

PLURALS = ("modelservices", "rolloutpolicies")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OURS = [yaml.safe_load(p.read_text()) for p in sorted((ROOT / "manifests/crds").glob("*s.yaml"))]


def page(port: int, path: str) -> tuple[int, str]:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=HANG_S)
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.text


def is_ready(port: int) -> bool:
    return page(port, "/readyz")[0] == 200


def leads(world: World, namespace: str) -> str:
    where = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/vedette-operator"
    return str((world.http.get(where).json().get("spec") or {}).get("holderIdentity", ""))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_leader_with_fifty_services_ends_and_lets_go_of_the_lease(world, namespace, operators, number):
    world.namespace(namespace)
    world.ray(namespace, "ids")
    for i in range(50):
        world.service(namespace, f"m{i}", ray="ids")
    told = {"LEADER_ELECTION": "true", "LEASE_NAMESPACE": namespace, "NAMESPACES": namespace, "LEASE_RETRY_S": "0.3"}
    process = operators.start(world.api.kubeconfig(), REST_INTERVAL_S="0.05", **told)
    until(lambda: all(world.status(namespace, f"m{i}") for i in (0, 25, 49)), "the services are looked at")
    assert leads(world, namespace)
    assert process.stop(number, HANG_S) == 0, "it did not end by itself"
    assert "did not end within" not in operators.log.read_text()
    assert leads(world, namespace) == "", "another may lead at once"


def test_of_two_operators_on_one_host_one_leads(world, namespace, operators):
    world.namespace(namespace)
    ports = free_port(), free_port()
    for port in ports:
        told = {"LEADER_ELECTION": "true", "LEASE_NAMESPACE": namespace, "LEASE_RETRY_S": "0.2", "NAMESPACES": namespace}
        operators.start(world.api.kubeconfig(), HTTP_PORT=str(port), HTTP_HOST="127.0.0.1", **told)
    until(lambda: all(map(is_ready, ports)), "both are ready")

    def leading() -> int:
        return sum("vedette_operator_leader 1.0" in page(port, "/metrics")[1] for port in ports)

    def tries(port: int) -> float:
        found = re.search(r'requests_total{resource="leases",status="200",verb="get"} (\S+)', page(port, "/metrics")[1])
        return float(found[1]) if found else 0.0

    for number in range(2, 8):
        until(lambda number=number: all(tries(port) >= number for port in ports), "both have tried again")
        assert leading() == 1


def test_started_before_its_crds_it_waits_for_them_and_follows_when_they_are_replaced(world, namespace, operators):
    """The definitions go, with everything of their kinds, and come back: as an upgrade that goes wrong does it."""
    port = free_port()
    world.namespace(namespace)
    world.ray(namespace, "ids")
    remove_definitions(world)
    try:
        operators.start(world.api.kubeconfig(), HTTP_PORT=str(port), HTTP_HOST="127.0.0.1", NAMESPACES=namespace)
        for _ in range(2):
            until(lambda: "kubectl apply" in page(port, "/readyz")[1], "it says that it waits for the definitions")
            assert page(port, "/readyz")[0] == 503
            assert page(port, "/healthz")[0] == 200
            add_definitions(world)
            until(lambda: is_ready(port), "both kinds are listed")
            world.service(namespace, "ids")
            world.until(namespace, "ids", is_healthy("1"))
            remove_definitions(world)
    finally:
        add_definitions(world)


def add_definitions(world: World) -> None:
    for crd in OURS:
        world.create(CRDS, crd)
    until(lambda: all(world.http.get(f"{API}/{plural}").status_code == 200 for plural in PLURALS), "the kinds are served")


def remove_definitions(world: World) -> None:
    """With everything of their kinds, which nobody's finalizer holds."""
    for plural in PLURALS:
        for item in world.http.get(f"{API}/{plural}").json()["items"]:
            where = f"{API}/namespaces/{item['metadata']['namespace']}/{plural}/{item['metadata']['name']}"
            world.http.delete(where)
            world.http.patch(where, json={"metadata": {"finalizers": None}}, headers=MERGE)
    for crd in OURS:
        world.http.delete(f"{CRDS}/{crd['metadata']['name']}")
    until(lambda: all(world.http.get(f"{API}/{plural}").status_code == 404 for plural in PLURALS), "the kinds are gone")


@pytest.mark.parametrize("verbs", [["get", "watch"], ["get", "list"]], ids=["list is forbidden", "watch is forbidden"])
def test_what_it_may_not_watch_keeps_it_from_being_ready(world, namespace, operators, verbs):
    world.namespace(namespace)
    role, binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles", "rolebindings"
    world.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"kind": "ServiceAccount", "metadata": {"name": "weak"}})
    rule = {"apiGroups": ["vedette.dev"], "resources": ["modelservices", "rolloutpolicies"], "verbs": verbs}
    world.create(role, {"kind": "Role", "metadata": {"name": "weak"}, "rules": [rule]})
    bound = {
        "kind": "RoleBinding",
        "metadata": {"name": "weak"},
        "subjects": [{"kind": "ServiceAccount", "name": "weak", "namespace": namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weak"},
    }
    world.create(role.replace("roles", binding), bound)
    spec = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = world.http.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/weak/token", json=spec).json()["status"]["token"]
    port = free_port()
    told = {"HTTP_PORT": str(port), "HTTP_HOST": "127.0.0.1", "NAMESPACES": namespace}
    operators.start(world.api.kubeconfig(token, "weak", namespace), **told)
    until(lambda: "403" in page(port, "/readyz")[1], "readiness says what is forbidden")
    assert page(port, "/readyz")[0] == 503
    assert page(port, "/healthz")[0] == 200, "to restart it would not help"
    rule["verbs"] = ["get", "list", "watch"]
    answer = world.http.put(f"{role}/weak", json={"kind": "Role", "metadata": {"name": "weak"}, "rules": [rule]})
    assert answer.is_success, answer.text
    until(lambda: is_ready(port), "it is ready once it may")
