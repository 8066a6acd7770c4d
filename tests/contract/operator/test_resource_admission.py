"""Laws of our resources: the fake API server and a real one take and refuse the same, in words that say what, where, the way out.

The corpus is tests.fakes.operator.resources; `lint` is held to it by tests/unit/operators/api/test_api_problems.py."""

import copy
from datetime import UTC, datetime

import pytest

from operators.api.read import read, read_service
from operators.rollout.spec import Revision, RolloutSpec
from operators.rollout.status import FinishedRollout, RolloutStatus
from tests import quick_yaml as yaml
from tests.contract.operator.installed import APPLY, GROUP, PLURALS, foreign_definitions, http, kubectl, namespaces
from tests.fakes.operator.resources import BAD, GOOD, service

__all__ = ["foreign_definitions", "http", "kubectl", "namespaces"]
MERGE = {"Content-Type": "application/merge-patch+json"}


def _path(namespace: str, kind: str, name: str = "") -> str:
    return f"{GROUP}/namespaces/{namespace}/{PLURALS[kind]}" + (f"/{name}" if name else "")


def _create(http, namespace, document, **params):
    return http.post(_path(namespace, document["kind"]), json=document, params=params)


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_good_resources_are_taken_and_read_back_as_they_were_meant(http, namespace, document):
    answer = _create(http, namespace, document, fieldValidation="Strict")
    assert answer.status_code == 201, answer.text
    kept = http.get(_path(namespace, document["kind"], document["metadata"]["name"])).json()
    meant = {**document, "spec": {k: v for k, v in document["spec"].items() if v is not None}}
    assert read(kept).spec == read(meant).spec


@pytest.mark.parametrize("bad", [pytest.param(b, id=b.rule) for b in BAD if b.old is None])
def test_bad_resources_are_refused_with_place_value_and_way_out(http, namespace, bad):
    answer = _create(http, namespace, bad.document)
    assert answer.status_code == 422, answer.text
    said = answer.json()
    causes = [f"{c['field']}: {c['message']}" for c in said["details"]["causes"] if c["field"] == bad.path]
    assert any(all(fragment in cause for fragment in bad.says) for cause in causes), said["message"]


@pytest.mark.parametrize("bad", [pytest.param(b, id=b.rule) for b in BAD if b.old is not None])
def test_changes_that_cannot_be_made_are_refused(http, namespace, bad):
    assert _create(http, namespace, bad.old).status_code == 201
    kept = http.get(_path(namespace, "ModelService", bad.old["metadata"]["name"])).json()
    changed = {**copy.deepcopy(bad.document), "metadata": kept["metadata"]}
    answer = http.put(_path(namespace, "ModelService", bad.old["metadata"]["name"]), json=changed)
    assert answer.status_code == 422, answer.text
    causes = [f"{c['field']}: {c['message']}" for c in answer.json()["details"]["causes"] if c["field"] == bad.path]
    assert any(all(fragment in cause for fragment in bad.says) for cause in causes), answer.json()["message"]


def test_a_misspelt_field_is_refused_where_strictness_is_asked_for(http, namespace):
    answer = _create(http, namespace, service(paus=True), fieldValidation="Strict")
    assert answer.status_code == 400
    assert 'unknown field "spec.paus"' in answer.json()["message"]


def test_an_old_operators_status_locks_nobody_out_of_the_spec(http, namespace):
    _create(http, namespace, service())
    where = _path(namespace, "ModelService", "flows")
    strange = {"status": {"phase": "Nobody knows", "weight": 900, "rollout": {"stepIndex": -4, "ledger": {"a": {"b": [1]}}}}}
    answer = http.patch(f"{where}/status", json=strange, headers=MERGE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"]["rollout"] == {"stepIndex": -4, "ledger": {"a": {"b": [1]}}}
    assert http.patch(where, json={"spec": {"paused": True}}, headers=MERGE).status_code == 200


def test_a_null_of_the_status_that_says_something_comes_back(http, namespace):
    _create(http, namespace, service())
    where = _path(namespace, "ModelService", "flows")
    at = datetime(2026, 1, 2, tzinfo=UTC)
    revision = Revision.model_validate(service()["spec"]["revision"])
    first = FinishedRollout(candidate=revision, stable=None, started=at, ended=at, outcome="promoted")
    rollout = RolloutStatus(policy=RolloutSpec(progress_deadline=None), history=(first,))
    status = {"rollout": rollout.model_dump(mode="json", by_alias=True, exclude_defaults=True)}
    body = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "flows"}, "status": status}
    answer = http.patch(
        f"{where}/status", json=body, headers=APPLY, params={"fieldManager": "vedette-operator", "force": "true"}
    )
    assert answer.status_code == 200, answer.text
    assert read_service(http.get(where).json()).status.rollout == rollout


def test_people_cannot_write_a_status_by_the_way(http, namespace):
    answer = _create(http, namespace, {**service(), "status": {"phase": "Healthy"}})
    assert "status" not in answer.json()


def test_a_count_is_scaled_unless_the_autoscaler_owns_it(http, namespace):
    _create(http, namespace, service("counted", replicas=2))
    _create(http, namespace, service("scaled", scaling={}))
    scale = _path(namespace, "ModelService", "counted") + "/scale"
    assert http.get(scale).json()["spec"]["replicas"] == 2
    assert http.patch(scale, json={"spec": {"replicas": 5}}, headers=MERGE).json()["spec"]["replicas"] == 5
    refused = http.patch(_path(namespace, "ModelService", "scaled") + "/scale", json={"spec": {"replicas": 5}}, headers=MERGE)
    assert refused.status_code == 422
    assert "one owner" in refused.json()["message"]


def test_the_list_has_the_columns_that_people_watch(http, namespace):
    _create(http, namespace, service())
    status = {
        "phase": "Progressing",
        "stable": "7@5f5f5f5f",
        "candidate": "8@77aa77aa",
        "step": "3/7",
        "weight": 5,
        "verdict": "undecided",
        "waitingFor": "N",
    }
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "Partly",
        "message": "",
        "lastTransitionTime": "2026-01-05T08:00:00Z",
    }
    body = {"status": {**status, "conditions": [ready | {"type": "Valid", "status": "True"}, ready]}}
    answer = http.patch(_path(namespace, "ModelService", "flows") + "/status", json=body, headers=MERGE)
    assert answer.status_code == 200, answer.text
    table = http.get(
        _path(namespace, "ModelService"), headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    ).json()
    names = [c["name"].upper() for c in table["columnDefinitions"] if not c.get("priority")]
    assert names == ["NAME", "PHASE", "READY", "STABLE", "CANDIDATE", "STEP", "WEIGHT", "VERDICT", "WAITING-FOR", "AGE"]
    shown = [status[k] for k in ("stable", "candidate", "step", "weight", "verdict", "waitingFor")]
    assert table["rows"][0]["cells"][1:9] == ["Progressing", "False", *shown]


@pytest.mark.parametrize("overlay", ["operator", "operator-namespaced"])
@pytest.mark.parametrize("how", ["--server-side=true", "--server-side=false"])
@pytest.mark.usefixtures("namespaces")
def test_definitions_rights_and_operator_are_accepted_by_a_dry_run(http, kubectl, overlay, how):
    done = kubectl("apply", "-k", f"manifests/overlays/{overlay}", "--dry-run=server", how)
    assert done.returncode == 0, done.stderr
    assert "deployment.apps/vedette-operator" in done.stdout


@pytest.mark.parametrize("overlay", ["local", "production", "kserve", "operator-webhook"])
@pytest.mark.usefixtures("foreign_definitions", "namespaces")
def test_what_others_operators_act_on_is_accepted_by_a_dry_run(kubectl, overlay):
    done = kubectl("apply", "-k", f"manifests/overlays/{overlay}", "--dry-run=server", "--server-side", "--validate=strict")
    assert done.returncode == 0, done.stderr


MAY = (
    ("watch", "vedette.dev", "modelservices", ""),
    ("patch", "vedette.dev", "modelservices", "status"),
    ("patch", "vedette.dev", "rolloutpolicies", "status"),
    ("patch", "ray.io", "rayservices", ""),
    ("watch", "ray.io", "rayservices", ""),
    ("create", "serving.kserve.io", "inferenceservices", ""),
    ("list", "", "pods", ""),
    ("create", "", "events", ""),
)
MAY_NOT = (
    ("update", "vedette.dev", "modelservices", ""),
    ("delete", "vedette.dev", "modelservices", ""),
    ("patch", "vedette.dev", "rolloutpolicies", ""),
    ("update", "ray.io", "rayservices", ""),
    ("list", "ray.io", "rayclusters", ""),
    ("get", "", "secrets", ""),
    ("watch", "", "pods", ""),
    ("create", "", "pods", ""),
    ("list", "", "namespaces", ""),
    ("list", "apiextensions.k8s.io", "customresourcedefinitions", ""),
    ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
    ("get", "coordination.k8s.io", "leases", ""),
)


@pytest.mark.usefixtures("namespaces")
def test_the_operators_rights_are_enough_and_no_more(http, kubectl):
    """As the API server answers for the operator's own account, not as the manifests read."""
    applied = kubectl("apply", "-k", "manifests/overlays/operator")
    assert applied.returncode == 0, applied.stderr
    answers = {asked: _may(http, "vedette-system", *asked) for asked in (*MAY, *MAY_NOT)}
    assert answers == dict.fromkeys(MAY, True) | dict.fromkeys(MAY_NOT, False)


@pytest.mark.usefixtures("namespaces")
def test_without_cluster_rights_the_operator_may_nothing_elsewhere(http, kubectl):
    applied = kubectl("apply", "-k", "manifests/overlays/operator-namespaced")
    assert applied.returncode == 0, applied.stderr
    assert all(_may(http, "vedette", *asked, namespace="vedette") for asked in MAY)
    assert not any(_may(http, "vedette", *asked, namespace="elsewhere") for asked in (*MAY, *MAY_NOT))


def _may(http, home: str, verb: str, group: str, resource: str, subresource: str, namespace: str = "anywhere") -> bool:
    user = f"system:serviceaccount:{home}:vedette-operator"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"]
    what = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace}
    body = {"spec": {"user": user, "groups": groups, "resourceAttributes": what}}
    answer = http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body)
    assert answer.status_code == 201, answer.text
    found: bool = answer.json()["status"]["allowed"]
    return found


def test_pods_of_the_operator_pass_the_restricted_standard(api_server, http, kubectl):
    if not api_server.real:
        pytest.skip("only a real API server judges pod security")
    name = "restricted-pods"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    http.post("/api/v1/namespaces", json={"metadata": {"name": name, "labels": labels}})
    rendered = kubectl("kustomize", "manifests/overlays/operator-webhook").stdout
    (deployment,) = (r for r in yaml.safe_load_all(rendered) if r["kind"] == "Deployment")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": deployment["spec"]["template"]["spec"]}
    answer = http.post(f"/api/v1/namespaces/{name}/pods", json=pod, params={"dryRun": "All"})
    assert answer.status_code == 201, answer.text


def test_what_is_written_is_read(http, namespace):
    at = f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices"
    http.post(at, json=service()).raise_for_status()
    (found,) = http.get(at).json()["items"]
    assert read({**found, "apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService"}).spec == read(service()).spec
