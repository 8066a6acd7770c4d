"""The operator's manifests: that they fit each other and the code, that rights are the fewest, that pods are confined."""

import re

import jsonschema
import kubernetes.client
import pytest

from operators.api.crds import definitions
from operators.api.lint import lint
from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS, OPERATORS, ROOT
from tests.manifests.schemas import crd_schema

KINDS = {
    "ClusterRole": kubernetes.client.V1ClusterRole,
    "ClusterRoleBinding": kubernetes.client.V1ClusterRoleBinding,
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "PodDisruptionBudget": kubernetes.client.V1PodDisruptionBudget,
    "Role": kubernetes.client.V1Role,
    "RoleBinding": kubernetes.client.V1RoleBinding,
    "Service": kubernetes.client.V1Service,
    "ServiceAccount": kubernetes.client.V1ServiceAccount,
    "ValidatingWebhookConfiguration": kubernetes.client.V1ValidatingWebhookConfiguration,
}
CERTIFICATES = {"Certificate": "cert-manager.io_certificates.yaml", "Issuer": "cert-manager.io_issuers.yaml"}
DOES = {
    ("vedette.dev", "modelservices"): {"get", "list", "watch", "patch"},
    ("vedette.dev", "modelservices/status"): {"patch"},
    ("vedette.dev", "modelservices/finalizers"): {"update"},
    ("vedette.dev", "rolloutpolicies"): {"get", "list", "watch"},
    ("vedette.dev", "rolloutpolicies/status"): {"patch"},
    ("ray.io", "rayservices"): {"get", "list", "watch", "patch"},
    ("ray.io", "rayclusters"): {"get", "patch"},
    ("serving.kserve.io", "inferenceservices"): {"get", "list", "watch", "create", "patch", "delete"},
    ("", "pods"): {"list"},
    ("", "events"): {"create"},
}
"""What the operator asks of the API server, besides its Lease."""


def _one(resources, kind, name=None):
    (found,) = (r for r in resources if r["kind"] == kind and name in (None, r["metadata"]["name"]))
    return found


def _template(resources):
    return _one(resources, "Deployment")["spec"]["template"]


def _container(resources):
    (found,) = _template(resources)["spec"]["containers"]
    return found


def _granted(role):
    out = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                out.setdefault((group, resource), set()).update(rule["verbs"])
    return out


def _rights(resources):
    (role,) = (r for r in resources if r["kind"] in {"Role", "ClusterRole"} and r["metadata"]["name"] == "vedette-operator")
    return role


def test_kubernetes_knows_every_field(control_plane):
    for resource in control_plane:
        if resource["kind"] not in CERTIFICATES:
            KINDS[resource["kind"]].model_validate(resource)


def test_cert_manager_accepts_its_part(rendered, data_dir):
    found = [r for r in yaml.safe_load_all(rendered("overlays/operator-webhook")) if r["kind"] in CERTIFICATES]
    assert len(found) == 2
    for resource in found:
        schema = crd_schema(data_dir / "crds" / "crds.tar.xz", f"crds/cert-manager/{CERTIFICATES[resource['kind']]}", "v1")
        problems = [f"{e.json_path}: {e.message[:200]}" for e in jsonschema.Draft202012Validator(schema).iter_errors(resource)]
        assert problems == []


def test_rights_are_what_the_operator_does_and_no_more(control_plane):
    assert _granted(_rights(control_plane)) == DOES


def test_nothing_is_granted_by_a_star_or_on_secrets(control_plane):
    for role in (r for r in control_plane if r["kind"] in {"Role", "ClusterRole"}):
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "secrets", "configmaps", "escalate", "bind", "impersonate"}


def test_the_lease_is_one_by_name(control_plane):
    rules = _one(control_plane, "Role", "vedette-operator-lease")["rules"]
    assert {tuple(r["verbs"]) for r in rules if not r.get("resourceNames")} == {("create",)}
    assert [r["resourceNames"] for r in rules if "update" in r["verbs"]] == [["vedette-operator"]]


def test_every_binding_is_to_the_account_of_the_pods(control_plane):
    account = _one(control_plane, "ServiceAccount")["metadata"]
    assert _template(control_plane)["spec"]["serviceAccountName"] == account["name"] == "vedette-operator"
    for binding in (r for r in control_plane if r["kind"].endswith("Binding")):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]
        _one(control_plane, binding["roleRef"]["kind"], binding["roleRef"]["name"])


def test_without_cluster_rights_it_looks_after_its_own_namespace(rendered):
    found = list(yaml.safe_load_all(rendered("overlays/operator-namespaced")))
    assert not [r["kind"] for r in found if "namespace" not in r["metadata"]]
    assert {r["metadata"]["namespace"] for r in found} == {"vedette"}
    (watched,) = (e for e in _container(found)["env"] if e["name"] == "VEDETTE_OPERATOR_NAMESPACES")
    assert watched["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_pods_are_confined(control_plane):
    pod, container = _template(control_plane)["spec"], _container(control_plane)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["resources"]["limits"].keys() == {"memory"}
    assert container["image"].partition(":")[2] not in {"", "latest"}


def test_one_operator_is_left_when_a_node_is_drained(control_plane):
    assert (
        _one(control_plane, "Deployment")["spec"]["replicas"]
        > _one(control_plane, "PodDisruptionBudget")["spec"]["maxUnavailable"]
    )


def test_selectors_find_the_operator_and_no_replica(control_plane, rendered):
    labels = _template(control_plane)["metadata"]["labels"]
    selectors = [_one(control_plane, "Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [r["spec"]["selector"] for r in control_plane if r["kind"] == "Service"]
    selectors += [_one(control_plane, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [_one(control_plane, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    (ray,) = (r for r in yaml.safe_load_all(rendered("base")) if r["kind"] == "RayService")
    replica = ray["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["metadata"]["labels"]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= replica.items()


def test_probes_and_ports_agree(control_plane):
    container = _container(control_plane)
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    env = {e["name"]: e.get("value") for e in container["env"]}
    assert ports["http"] == int(env["VEDETTE_OPERATOR_HTTP_PORT"])
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {p["port"] for p in probes.values()} == {"http"}
    assert (probes["liveness"]["path"], probes["readiness"]["path"]) == ("/healthz", "/readyz")
    allowed = {p["port"] for rule in _one(control_plane, "NetworkPolicy")["spec"]["ingress"] for p in rule["ports"]}
    assert set(ports.values()) <= allowed
    for service in (r for r in control_plane if r["kind"] == "Service"):
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports.keys()


def test_the_webhook_is_asked_where_it_listens(rendered):
    found = list(yaml.safe_load_all(rendered("overlays/operator-webhook")))
    (hook,) = _one(found, "ValidatingWebhookConfiguration")["webhooks"]
    where = hook["clientConfig"]["service"]
    service = _one(found, "Service", where["name"])
    assert service["metadata"]["namespace"] == where["namespace"]
    assert [p["port"] for p in service["spec"]["ports"]] == [where["port"]]
    container = _container(found)
    env = {e["name"]: e.get("value") for e in container["env"]}
    assert {"name": "webhook", "containerPort": int(env["VEDETTE_OPERATOR_WEBHOOK_PORT"])} in container["ports"]
    certificate = _one(found, "Certificate")["spec"]
    assert certificate["dnsNames"] == [f"{where['name']}.{where['namespace']}.svc"]
    volumes = {v["name"]: v for v in _template(found)["spec"]["volumes"]}
    assert volumes["webhook"]["secret"]["secretName"] == certificate["secretName"]
    injected = _one(found, "ValidatingWebhookConfiguration")["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert injected == f"{where['namespace']}/{_one(found, 'Certificate')['metadata']['name']}"


def test_the_webhook_is_asked_about_people_and_never_about_a_status_or_a_deletion(rendered):
    found = list(yaml.safe_load_all(rendered("overlays/operator-webhook")))
    (hook,) = _one(found, "ValidatingWebhookConfiguration")["webhooks"]
    (rule,) = hook["rules"]
    assert rule["resources"] == ["modelservices", "rolloutpolicies"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert (hook["failurePolicy"], hook["sideEffects"]) == ("Fail", "None")
    conditions = {c["name"]: c["expression"] for c in hook["matchConditions"]}
    account = _one(found, "ServiceAccount")["metadata"]
    user = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    assert conditions == {
        "is-not-being-deleted": "!has(object.metadata.deletionTimestamp)",
        "is-not-the-operator": f'request.userInfo.username != "{user}"',
    }


@pytest.mark.parametrize("name", OPERATORS)
def test_no_placeholder_is_left(name, rendered):
    assert not re.search(r"\bNAMESPACE\b", rendered(name))


def test_people_get_their_rights_by_the_roles_they_have(rendered):
    found = list(yaml.safe_load_all(rendered("overlays/operator")))
    roles = {r["metadata"]["name"]: r for r in found if r["kind"] == "ClusterRole"}
    joins = {n: {k.rpartition("-")[2] for k in r["metadata"]["labels"] if "aggregate-to" in k} for n, r in roles.items()}
    assert {n: joins[n] for n in ("vedette-view", "vedette-edit", "vedette-approve")} == {
        "vedette-view": {"view"},
        "vedette-edit": {"edit", "admin"},
        "vedette-approve": set(),
    }
    for name in joins:
        if name != "vedette-operator":
            writes = {r for (_, r), verbs in _granted(roles[name]).items() if verbs & {"patch", "update", "create", "delete"}}
            assert not {r for r in writes if r.endswith("/status")}, "only the operator writes a status"


@pytest.mark.parametrize("name", [*OPERATORS, "examples"])
def test_definitions_are_not_removed_with_the_operator(name, rendered):
    assert "CustomResourceDefinition" not in {r["kind"] for r in yaml.safe_load_all(rendered(name))}


def test_definitions_are_kept_by_what_prunes(rendered):
    found = list(yaml.safe_load_all(rendered("crds")))
    assert {r["metadata"]["name"] for r in found} == {d["metadata"]["name"] for d in definitions().values()}
    for definition in found:
        assert definition["metadata"]["annotations"] == {
            "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
            "kustomize.toolkit.fluxcd.io/prune": "disabled",
            "helm.sh/resource-policy": "keep",
        }


def test_the_examples_pass_lint_without_a_hint():
    files = sorted((MANIFESTS / "examples").glob("*.yaml"))
    report = lint([(str(f), f.read_text(encoding="utf-8")) for f in files])
    assert (report.resources, report.notes) == (2, ())


def test_the_image_runs_what_the_pod_runs(control_plane):
    python, flag, module = _container(control_plane)["command"]
    assert (python, flag) == ("python", "-m")
    assert f'CMD ["python", "-m", "{module}"]' in (ROOT / "manifests" / "images" / "operator.Dockerfile").read_text(
        encoding="utf-8"
    )
