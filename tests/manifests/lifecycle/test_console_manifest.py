"""The console's Deployment: confined, without a right to act, with an access policy that can be used."""

import kubernetes.client
import pytest
import typer.main

from lifecycle.governance.acts import LABELS
from lifecycle.governance.acts import LOG as ACTS
from operators.cli.main import app
from operators.console.application import HEALTH
from operators.console.front_door import OwnOrigins
from operators.console.log_index.index_writer import MOST_ALERTS, MOST_ANSWERS
from operators.console.roles import ConsoleRole, roles_in
from serving.access.policy_file import parse_policy
from tests import quick_yaml as yaml
from tests.manifests.conftest import CONSOLE, MONITOR

KINDS = {
    "ConfigMap": kubernetes.client.V1ConfigMap,
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "PodDisruptionBudget": kubernetes.client.V1PodDisruptionBudget,
    "Role": kubernetes.client.V1Role,
    "RoleBinding": kubernetes.client.V1RoleBinding,
    "Service": kubernetes.client.V1Service,
    "ServiceAccount": kubernetes.client.V1ServiceAccount,
}


@pytest.fixture
def documents(rendered):
    return list(yaml.safe_load_all(rendered(CONSOLE)))


@pytest.fixture
def resources(documents):
    return {r["kind"]: r for r in documents}


@pytest.fixture
def pod(resources):
    return resources["Deployment"]["spec"]["template"]["spec"]


def test_kubernetes_knows_every_field(documents):
    assert {r["kind"] for r in documents} == KINDS.keys()
    for resource in documents:
        KINDS[resource["kind"]].model_validate(resource)


def test_its_account_looks_and_cannot_act(resources, pod):
    (rule,) = resources["Role"]["rules"]
    assert rule["apiGroups"] == ["vedette.dev"]
    assert set(rule["verbs"]) == {"get", "list"}
    assert resources["RoleBinding"]["subjects"][0]["name"] == resources["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == resources["ServiceAccount"]["metadata"]["name"]


def test_it_is_confined_and_writes_no_log_but_labels_and_acts(pod, rendered):
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert container["resources"]["limits"]["memory"]
    claim = {m["subPath"]: m for m in container["volumeMounts"] if m["name"] == "log"}
    assert {name for name, mount in claim.items() if not mount.get("readOnly")} == {LABELS, ACTS}
    (monitor,) = [r for r in yaml.safe_load_all(rendered(MONITOR)) if r["kind"] == "Deployment"]
    (watcher,) = monitor["spec"]["template"]["spec"]["containers"]
    there = {m["subPath"]: m["mountPath"] for m in watcher["volumeMounts"] if m["name"] == "log"}
    assert {name: mount["mountPath"] for name, mount in claim.items()}.items() <= there.items()


def test_what_it_writes_is_signed_by_the_key_of_the_logs(pod):
    (container,) = pod["containers"]
    (key,) = [v["secret"] for v in pod["volumes"] if v["name"] == "audit-key"]
    assert key["optional"], "a cluster without a key chains its logs too"
    (place,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "audit-key"]
    (path,) = [e["value"] for e in container["env"] if e["name"] == "VEDETTE_AUDIT_KEY"]
    assert path == f"{place}/audit.pem"


def test_its_arguments_are_options_of_the_verb_and_its_ports_agree(resources, pod):
    (container,) = pod["containers"]
    options = typer.main.get_command(app).commands["console"].make_context("console", list(container["args"])).params
    (port,) = container["ports"]
    assert (options["port"], options["host"], options["is_proxied_tls"]) == (port["containerPort"], "0.0.0.0", True)
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert all(probe == {"path": HEALTH, "port": port["name"]} for probe in probes)
    (exposed,) = resources["Service"]["spec"]["ports"]
    assert (exposed["port"], exposed["targetPort"]) == (port["containerPort"], port["name"])
    variables = {e["name"] for e in container["env"]}
    assert {a[2:-1] for a in container["args"] if a.startswith("$(")} <= variables
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert str(options["access"].parent) == mounts["access"]


def test_its_access_policy_gives_every_role_of_the_console(documents, tmp_path):
    (policy,) = [r["data"]["access.yaml"] for r in documents if r["metadata"]["name"] == "vedette-console-access"]
    parsed = parse_policy(policy, tmp_path / "access.yaml")
    assert roles_in(frozenset(parsed.roles)) == set(ConsoleRole)


def test_browsers_reach_it_under_its_name_without_the_port_that_they_leave_out(documents):
    (name,) = [r["data"]["name"] for r in documents if r["kind"] == "ConfigMap" and "name" in r["data"]]
    origins = OwnOrigins.of([name], 8090, is_tls=True)
    host = name.removesuffix(":443")
    assert origins.is_own(host)
    assert origins.is_origin(f"https://{host}")
    assert not origins.is_origin(f"http://{host}")


def test_its_volume_holds_the_index_at_its_bounds(pod):
    (store,) = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "store"]
    assert int(store.removesuffix("Gi")) * 2**30 > 1.5 * 300 * (MOST_ANSWERS + MOST_ALERTS), (
        "300 bytes a row, and what is not yet in it"
    )
