"""Every overlay is applied the one way of kubectl after the other, and no field is fought over.

`kubectl apply` writes as an update, which owns what the server fills in, too. A later `--server-side` conflicts wherever a value is
one to Kubernetes (a reference, a list without keys) and the manifest leaves a part of it to the server: so manifests leave none."""

import copy
import json
import uuid

import pytest

from operators.api.crds import definitions
from tests import quick_yaml as yaml
from tests.contract.operator.installed import APPLY, ROOT, STRIMZI, foreign_definitions, http, kubectl, namespaces
from tests.fakes.apiserver import Handle
from tests.manifests.platform.definitions import known

__all__ = ["foreign_definitions", "http", "kubectl", "namespaces"]
OVERLAYS = {folder.name for folder in (ROOT / "manifests/overlays").iterdir()}
BUILT_IN = {"operator", "operator-namespaced"}
"""Those that ask for no kind of others."""
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "ValidatingWebhookConfiguration"}


@pytest.fixture
def twice(http, kubectl, namespace, tmp_path):
    """Applies documents in the test's own namespace, the one way and then the other; answers what the second said."""
    made = []

    def apply(documents):
        file = tmp_path / "documents.yaml"
        file.write_text(yaml.safe_dump_all([moved(d, namespace) for d in documents]))
        made.append(file)
        first = kubectl("apply", "-f", str(file))
        assert first.returncode == 0, first.stderr
        return kubectl("apply", "--server-side", "-f", str(file))

    yield apply
    for file in made:
        kubectl("delete", "--wait=false", "--ignore-not-found", "-f", str(file))


def moved(document, namespace):
    """The same in another namespace: what belongs to the cluster under another name, a webhook asked about that namespace only."""
    found = copy.deepcopy(document)
    if found["kind"] in CLUSTER_SCOPED:
        found["metadata"]["name"] += f"-{namespace}"
    else:
        found["metadata"]["namespace"] = namespace
    for subject in found.get("subjects", ()):
        subject["namespace"] = namespace
    for hook in found.get("webhooks", ()):
        hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return found


def rendered(kubectl, path):
    shown = kubectl("kustomize", f"manifests/{path}")
    assert shown.returncode == 0, shown.stderr
    return [d for d in yaml.safe_load_all(shown.stdout) if d and d["kind"] != "CustomResourceDefinition"]


@pytest.mark.parametrize("path", [*(f"overlays/{name}" for name in sorted(BUILT_IN)), "examples"])
def test_what_kubernetes_knows_by_itself(kubectl, twice, path):
    documents = rendered(kubectl, path)
    again = twice(documents)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("serverside-applied") == len(documents)


@pytest.mark.parametrize("overlay", sorted(OVERLAYS - BUILT_IN))
@pytest.mark.usefixtures("foreign_definitions")
def test_what_needs_others_definitions(kubectl, twice, overlay):
    had = {d["spec"]["names"]["kind"] for d in known().values()}
    documents = [d for d in rendered(kubectl, f"overlays/{overlay}") if d["kind"] not in STRIMZI - had]
    again = twice(documents)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("serverside-applied") == len(documents)


@pytest.mark.parametrize("name", definitions())
def test_our_definitions(kubectl, http, tmp_path, name):
    """In a group of the test's own, so that it is the test who writes them first."""
    body = copy.deepcopy(definitions()[name])
    body["spec"]["group"] = f"g{uuid.uuid4().hex[:8]}.example.com"
    body["metadata"]["name"] = f"{body['spec']['names']['plural']}.{body['spec']['group']}"
    body["spec"]["names"]["categories"] = ["all"]
    file = tmp_path / "definition.yaml"
    file.write_text(yaml.safe_dump(body))
    first = kubectl("apply", "-f", str(file))
    again = kubectl("apply", "--server-side", "-f", str(file))
    http.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr


def _deployment(reference):
    labels = {"app": "x"}
    env = [{"name": "E", "valueFrom": {"fieldRef": reference}}]
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        pytest.param({"fieldPath": "metadata.name"}, 409, id="a part is left to the server"),
        pytest.param({"apiVersion": "v1", "fieldPath": "metadata.name"}, 200, id="it is whole"),
    ],
)
def test_a_reference_is_one_value_with_what_the_server_fills_in(api_server: Handle, namespace, reference, status):
    at = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    with api_server.http() as client:
        kept = client.post(at, json=_deployment(reference)).json()["spec"]["template"]["spec"]["containers"][0]
        assert kept["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.name"}
        answer = client.patch(
            f"{at}/d", params={"fieldManager": "m"}, content=json.dumps(_deployment(reference)), headers=APPLY
        )
    assert answer.status_code == status, answer.text
    if status == 409:
        (cause,) = answer.json()["details"]["causes"]
        assert cause["field"].endswith('.env[name="E"].valueFrom.fieldRef')


@pytest.mark.parametrize(("more", "status"), [({"required": []}, 409), ({}, 200)], ids=["an empty list", "nothing"])
def test_an_empty_list_of_a_definition_is_dropped_and_so_conflicts(http, more, status):
    names = {"plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList"}
    schema = {"openAPIV3Schema": {"type": "object", **more}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    at = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    kept = http.post(at, json=body).json()
    assert kept["spec"]["versions"][0]["schema"] == {"openAPIV3Schema": {"type": "object"}}
    answer = http.patch(f"{at}/things.{group}", params={"fieldManager": "m"}, content=json.dumps(body), headers=APPLY)
    http.delete(f"{at}/things.{group}")
    assert answer.status_code == status, answer.text
