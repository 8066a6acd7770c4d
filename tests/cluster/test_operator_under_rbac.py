"""Who may do what: the operator under its own service account's token, two operators, and the admission webhook."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from lifecycle.governance.approvals.desk import ApprovalDesk
from operators.cli.rollout.app import app
from operators.rollout.status import VerbRequest
from tests import quick_yaml as yaml
from tests.cluster.test_operator_rollouts import is_healthy, weights
from tests.fakes.certificates import write_certificate
from tests.fakes.operator.operator_world import MERGE, QUICK, ROOT, World, digest
from tests.ports import free_port
from tests.waiting import until

POLICY = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"}}
ACCOUNT = "vedette-operator"
SOMEBODY_ELSE_S = '[{"id":"r1","verb":"abort","by":"somebody-else","at":"2026-01-05T08:00:00Z"}]'


def manifests(folder: str) -> list[dict]:
    return [d for p in sorted((ROOT / "manifests" / folder).glob("*.yaml")) for d in yaml.safe_load_all(p.read_text())]


def give_rights(world: World, home: str, *, cluster: bool, without: dict[str, set[str]] | None = None) -> str:
    """Apply the operator's RBAC as the manifests have it, less some verbs by resource; a token of its service account."""
    world.namespace(home)
    world.create(f"/api/v1/namespaces/{home}/serviceaccounts", {"kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
    rights = "components/operator-cluster" if cluster else "components/operator-namespaced"
    for document in [*manifests("base/operator"), *manifests(rights)]:
        kind = document["kind"]
        if kind not in {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}:
            continue
        for subject in document.get("subjects", []):
            subject["namespace"] = home
        for rule in document.get("rules", []):
            rule["verbs"] = [v for v in rule["verbs"] if v not in (without or {}).get(rule["resources"][0], ())]
        where = "" if kind.startswith("Cluster") else f"namespaces/{home}/"
        if kind == "ClusterRoleBinding":
            document["metadata"]["name"] += f"-{home}"
        world.create(f"/apis/rbac.authorization.k8s.io/v1/{where}{kind.lower()}s", document)
    answer = world.http.post(
        f"/api/v1/namespaces/{home}/serviceaccounts/{ACCOUNT}/token",
        json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
    )
    assert answer.is_success, answer.text
    return str(answer.json()["status"]["token"])


@pytest.mark.parametrize("cluster", [True, False], ids=["all namespaces", "its own namespace"])
def test_its_rights_are_enough(world, namespace, operators, cluster):
    """A rollout, a verb, a policy, an event, the Lease, a deletion: nothing is refused."""
    home = f"{namespace}-home" if cluster else namespace
    token = give_rights(world, home, cluster=cluster)
    world.namespace(namespace)
    group = world.ray(namespace, "ids")
    world.service(namespace, "ids")
    settings = {"LEADER_ELECTION": "true", "LEASE_NAMESPACE": home, "NAMESPACES": "" if cluster else namespace}
    operators.start(world.api.kubeconfig(token, "operator", home), **settings)
    world.until(namespace, "ids", is_healthy("1"), 180)
    world.want(namespace, "ids", "b")
    world.until(namespace, "ids", is_healthy("2"), 180)
    assert weights(group) == [0, 5, 25, 100]
    request = VerbRequest(id="r1", verb="undo", by="alice", at=datetime.now(UTC))
    world.say(namespace, "ids", request)
    world.until(namespace, "ids", lambda s: s["stable"].startswith("1 "), 180)
    where = f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices/ids"
    world.http.delete(where).raise_for_status()
    until(lambda: world.http.get(where).status_code == 404)
    assert "RolloutPromoted" in [e["reason"] for e in world.events(namespace)]
    missing = [line for line in operators.log.read_text().splitlines() if "is forbidden: User" in line]
    assert not missing, missing[:3]  # a namespace of another test that is going refuses too, in other words


def test_no_right_is_superfluous(fake_world, operators):
    """Every verb that the ClusterRole gives on what is ours and Ray's is used within one service's life."""
    world = fake_world
    token = give_rights(world, "home", cluster=True)
    world.namespace("soc")
    world.ray("soc", "ids", most=4)
    policy = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"}, "spec": {}}
    operators.start(world.api.kubeconfig(token, "operator", "home"), LEADER_ELECTION="true", LEASE_RETRY_S="0.5")
    user = f"system:serviceaccount:home:{ACCOUNT}"

    def used() -> set[tuple[str, str]]:
        calls = [c for c in list(world.api.log) if c.user == user]
        return {(c.verb, f"{c.plural}/{c.subresource}" if c.subresource else c.plural) for c in calls}

    until(lambda: ("list", "modelservices") in used())
    world.api.faults.order(verb="patch", plural="modelservices", subresource="status", status=409)  # it reads again
    world.service("soc", "ids", rollout={"policyRef": {"name": "careful"}}, replicas=3)
    world.until("soc", "ids", lambda s: s.get("conditions"), 180)
    world.create("/apis/vedette.dev/v1alpha1/namespaces/soc/rolloutpolicies", policy)
    world.until("soc", "ids", is_healthy("1"), 180)
    world.say("soc", "ids", VerbRequest(id="r1", verb="abort", by="alice", at=datetime.now(UTC)))
    given = set()
    for document in [*manifests("components/operator-cluster"), *manifests("base/operator")]:
        for rule in document.get("rules", []):
            given |= {(verb, resource) for verb in rule["verbs"] for resource in rule["resources"]}
    elsewhere = {
        *((verb, "inferenceservices") for verb in ("get", "list", "watch", "create", "patch", "delete")),  # services on KServe
        ("update", "modelservices/finalizers"),  # asked by the admission plugin that guards blocking owners
    }
    until(lambda: not (given - elsewhere - used()), lambda: f"never used: {given - elsewhere - used()}")


def test_without_the_right_to_watch_ray_services_the_operator_is_ready_and_looks_every_few_seconds(world, namespace, operators):
    world.namespace(namespace)
    token = give_rights(world, namespace, cluster=False, without={"rayservices": {"list", "watch"}})
    port = free_port()
    told = {"NAMESPACES": namespace, "LEADER_ELECTION": "true", "LEASE_NAMESPACE": namespace}
    told |= {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)}
    operators.start(world.api.kubeconfig(token, "operator", namespace), **told)
    world.ray(namespace, "other")  # the pods' port is known from then on
    world.service(namespace, "ids")
    world.until(namespace, "ids", lambda s: s["phase"] == "Waiting", 60)
    until(lambda: "rayservices are not watched" in operators.said)
    world.ray(namespace, "ids")
    world.until(namespace, "ids", is_healthy("1"), 60)
    assert operators.said.count("rayservices are not watched") == 1
    until(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200, "it is ready all the same")


def test_of_two_operators_one_acts_and_the_other_takes_over(world, namespace, operators):
    world.namespace(namespace)
    group = world.ray(namespace, "ids")
    world.service(namespace, "ids", rollout={"policy": {**QUICK, "rollbackWindow": "0s"}})
    told = {
        "LEADER_ELECTION": "true",
        "LEASE_NAMESPACE": namespace,
        "LEASE_DURATION_S": "3",
        "LEASE_RENEW_S": "2",
        "LEASE_RETRY_S": "0.3",
        "NAMESPACES": namespace,
    }
    kubeconfig = world.api.kubeconfig()
    both = {name: operators.start(kubeconfig, IDENTITY=name, **told) for name in ("one", "two")}
    world.until(namespace, "ids", is_healthy("1"), 180)

    def holder() -> str:
        where = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/vedette-operator"
        return str(world.http.get(where).json()["spec"]["holderIdentity"]).partition("_")[0]

    first = holder()
    world.want(namespace, "ids", "b")
    world.until(namespace, "ids", lambda s: s.get("candidate"), 180)
    both[first].kill()
    status = world.until(namespace, "ids", is_healthy("2"), 180)
    assert holder() != first
    assert weights(group) == [0, 5, 25, 100]
    assert [m["weight"] for m in status["rollout"]["history"][0]["moves"] if m["move"] == "setWeight"] == [5, 25, 100]
    assert operators.said.count("no longer leads") == 0


@contextmanager
def webhooked(world: World, namespace: str, operators, folder: Path, **more: str) -> Iterator[None]:
    """An operator whose webhook the API server asks about one namespace, and a service that it made healthy."""
    write_certificate(folder)
    port = free_port()
    settings = {"WEBHOOK_PORT": str(port), "WEBHOOK_CERT_DIR": str(folder), "HTTP_HOST": "127.0.0.1", "NAMESPACES": namespace}
    world.namespace(namespace)
    world.ray(namespace, "ids")
    operators.start(world.api.kubeconfig(), **settings, **more)
    _until_listening(port)
    (configuration,) = [d for d in manifests("components/operator-webhook") if d["kind"] == "ValidatingWebhookConfiguration"]
    configuration["metadata"] = {"name": f"vedette-{namespace}"}
    hook = configuration["webhooks"][0]
    ca = base64.b64encode((folder / "tls.crt").read_bytes()).decode()
    hook["clientConfig"] = {"url": f"https://localhost:{port}/validate", "caBundle": ca}
    hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    where = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    label = {"metadata": {"labels": {"kubernetes.io/metadata.name": namespace}}}
    world.http.patch(f"/api/v1/namespaces/{namespace}", json=label, headers={"Content-Type": "application/merge-patch+json"})
    world.create(where, configuration)
    try:
        until(
            lambda: "a request must carry your own name" in tried(world, namespace),
            "the API server never called it",
            every_s=0.1,
        )
        world.service(namespace, "ids")
        world.until(namespace, "ids", is_healthy("1"), 180)
        yield
    finally:
        world.http.delete(f"{where}/vedette-{namespace}")


def test_the_webhook_holds_people_to_their_own_name(world, namespace, operators, tmp_path: Path):
    """A real admission call of the API server to the operator: TLS, AdmissionReview, its words in the refusal."""
    with webhooked(world, namespace, operators, tmp_path):
        refused = world.http.patch(
            f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices/ids",
            json={"metadata": {"annotations": {"vedette.dev/requests": SOMEBODY_ELSE_S}}},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert refused.status_code >= 400, refused.text
        assert "a request must carry your own name" in refused.json()["message"]
        world.want(namespace, "ids", "b")
        world.until(namespace, "ids", is_healthy("2"), 180)
        approved = {"steps": [{"setWeight": 5}, {"approval": {}}, {"setWeight": 100}]}
        change = {"rollout": {"policy": {**QUICK, **approved}}, "revision": {"version": "1", "bundle": digest("a")}}
        assert "changed-by is missing" in change_spec(world, namespace, change)
        assert "says 'bob'" in change_spec(world, namespace, change, "bob")
        status = _rolls_out(world, namespace, tmp_path, change["rollout"]["policy"])
        assert "it is not known who started it" not in status["waitingFor"]
        by = world.get(namespace, "ids")["metadata"]["annotations"]["vedette.dev/changed-by"]
        assert status["rollout"]["startedBy"] == by
        assert "says" in change_spec(world, namespace, {"revision": {"version": "1", "bundle": digest("a")}}, "bob")


def test_a_role_comes_by_a_group_that_the_webhook_checked(world, namespace, operators, tmp_path: Path):
    """Whoever started it is in the group too and is refused; another member's approval brings it through and is on record."""
    folder = tmp_path / "governance"
    members = f"system:serviceaccounts:{namespace}"
    with webhooked(world, namespace, operators, tmp_path, GOVERNANCE_DIR=str(folder)):
        steps = [{"setWeight": 5}, {"approval": {"roles": ["soc-manager"]}}, {"setWeight": 100}]
        policy = {**QUICK, "steps": steps, "roleGroups": {"soc-manager": [members, "system:masters"]}}
        _rolls_out(world, namespace, tmp_path, policy)
        _says(world.api.kubeconfig(), namespace, "approve")
        world.until(namespace, "ids", lambda s: any(m["move"] == "refuse approve" for m in s["rollout"]["moves"]), 180)
        world.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"kind": "ServiceAccount", "metadata": {"name": "zoe"}})
        _bind_admin(world, namespace, "zoe")
        token = world.http.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/zoe/token",
            json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
        ).json()["status"]["token"]
        _says(world.api.kubeconfig(token, "zoe", namespace), namespace, "approve")
        world.until(namespace, "ids", is_healthy("3"), 180)
    acts = ApprovalDesk(folder, None, now_us=lambda: 0).acts()
    said = [(a.actor, a.outcome) for a in acts if a.action == "rollout.approve"]
    assert [outcome for _, outcome in said] == ["refused", "accepted"]
    assert said[1][0] == f"system:serviceaccount:{namespace}:zoe"


def _rolls_out(world: World, namespace: str, folder: Path, policy: dict) -> dict:
    """Start version 3 as a person does; the status in which it waits for approval."""
    (folder / "careful.yaml").write_text(yaml.safe_dump({**POLICY, "spec": policy}))
    options = ["--version", "3", "--bundle", digest("c"), "--policy", str(folder / "careful.yaml"), "-n", namespace]
    CliRunner().invoke(app, ["start", "ids", *options, "--kubeconfig", str(world.api.kubeconfig())], catch_exceptions=False)
    return world.until(namespace, "ids", lambda s: "approval" in s.get("waitingFor", ""), 180)


def _says(kubeconfig: Path, namespace: str, verb: str) -> None:
    CliRunner().invoke(app, [verb, "ids", "--why", "seen", "-n", namespace, "--kubeconfig", str(kubeconfig)])


def _bind_admin(world: World, namespace: str, name: str) -> None:
    """The account may do all that concerns our resources in its namespace."""
    where = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [
        {"apiGroups": ["vedette.dev"], "resources": ["modelservices", "rolloutpolicies"], "verbs": ["get", "list", "patch"]}
    ]
    world.create(f"{where}/roles", {"metadata": {"name": name}, "kind": "Role", "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    world.create(
        f"{where}/rolebindings", {"metadata": {"name": name}, "kind": "RoleBinding", "roleRef": ref, "subjects": [subject]}
    )


def tried(world: World, namespace: str) -> str:
    """What the API server would say to a service that comes with a request of somebody else's; it makes none."""
    body = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "tried", "annotations": {"vedette.dev/requests": SOMEBODY_ELSE_S}},
        "spec": {"revision": {"version": "1", "bundle": digest("a")}},
    }
    answer = world.http.post(f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices?dryRun=All", json=body)
    return str(answer.json().get("message"))


def change_spec(world: World, namespace: str, spec: dict, by: str | None = None) -> str:
    """What the API server says to a change of the spec."""
    notes = {"metadata": {"annotations": {"vedette.dev/changed-by": by}}} if by else {}
    where = f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices/ids"
    answer = world.http.patch(where, json={"spec": spec, **notes}, headers=MERGE)
    return "" if answer.is_success else str(answer.json()["message"])


def test_without_a_webhook_an_approval_says_that_nobody_knows_who_started(world, namespace, operators):
    world.namespace(namespace)
    world.ray(namespace, "ids")
    steps = [{"setWeight": 5}, {"approval": {}}, {"setWeight": 100}]
    world.service(namespace, "ids", rollout={"policy": {**QUICK, "steps": steps}})
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace)
    world.until(namespace, "ids", is_healthy("1"), 180)
    world.want(namespace, "ids", "b")
    status = world.until(namespace, "ids", lambda s: "approval" in s.get("waitingFor", ""), 180)
    assert "it is not known who started it" in status["waitingFor"]
    world.say(namespace, "ids", VerbRequest(id="r1", verb="approve", by="alice", at=datetime.now(UTC)))
    world.until(namespace, "ids", is_healthy("2"), 180)


def _until_listening(port: int) -> None:
    import socket

    def listens() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False

    until(listens, "the webhook never listened", every_s=0.1)


def test_without_a_cluster_it_says_so_and_ends(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "operators.handlers.main"],
        env={"VEDETTE_OPERATOR_KUBECONFIG": str(tmp_path / "none"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no cluster to talk to" in done.stdout + done.stderr
