"""What people may do: every verb of the command line, said under each role of manifests/components/people by its own token.

MAY says who may say what, as docs/reference/operator.md has it."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
from typer.testing import CliRunner

from operators.api.crds import definitions
from operators.cli.console import CommandError
from operators.cli.kubectl import app
from operators.control import verb_requests
from tests import quick_yaml as yaml
from tests.fakes.apiserver import Handle
from tests.fakes.operator.operator_world import ROOT, SSA, digest
from tests.waiting import until

Json = dict[str, Any]
OURS = "/apis/vedette.dev/v1alpha1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = {"nobody": None, "view": "view", "approve": "vedette-approve", "edit": "edit", "admin": "admin"}
"""A person and the ClusterRole that is bound to them in the namespace."""

SEES = {"view", "approve", "edit", "admin"}
SAYS = {"approve", "edit", "admin"}
CHANGES = {"edit", "admin"}
_EXPERIMENT = {"variants": [{"name": "a", "weight": 50}, {"name": "b", "weight": 50}], "duration": "1d"}
MAY: dict[str, tuple[list[str], set[str]]] = {
    "get": ([], SEES),
    "status": ([], SEES),
    "history": ([], SEES),
    "scale get": ([], SEES),
    "scale schedule": ([], SEES),
    "experiment get": ([], SEES),
    "experiment report": ([], SEES),
    "promote": ([], SAYS),
    "pause": ([], SAYS),
    "resume": ([], SAYS),
    "abort": ([], SAYS),
    "retry": ([], SAYS),
    "undo": ([], SAYS),
    "approve": (["--why", "w"], SAYS),
    "reject": (["--why", "w"], SAYS),
    "review": (["--why", "w"], SAYS),
    "experiment conclude": ([], SAYS),
    "start": (["--version", "2", "--bundle", digest("b")], CHANGES),
    "experiment start": (["--file", "EXPERIMENT"], CHANGES),
    "scale set": (["--max", "3"], CHANGES),
}
SPEAK_TO_NO_CLUSTER = {"plan", "lint", "simulate", "scale simulate"}


@dataclass
class People:
    """The roles of the manifests on one API server, and an account for each in one namespace. tokens: kubeconfigs."""

    http: httpx.Client
    namespace: str
    kubeconfigs: dict[str, Path]

    def service(self) -> str:
        name = f"s{uuid.uuid4().hex[:8]}"
        revision = {"version": "1", "bundle": digest("a")}
        body = {
            "apiVersion": "vedette.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name},
            "spec": {"revision": revision},
        }
        self.http.post(self._services, json=body).raise_for_status()
        return name

    def read(self, name: str) -> Json:
        found: Json = self.http.get(f"{self._services}/{name}").json()
        return found

    @property
    def _services(self) -> str:
        return f"{OURS}/namespaces/{self.namespace}/modelservices"


@pytest.fixture(scope="module")
def people(api_server: Handle) -> Iterator[People]:
    if not api_server.collects_garbage:
        pytest.skip("no kube-controller-manager beside this server: nobody gathers roles by their labels")
    with api_server.http() as http:
        roles = yaml.safe_load_all((ROOT / "manifests/components/people/roles.yaml").read_text())
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for path, body in [*((crds, d) for d in definitions().values()), *((f"{RBAC}/clusterroles", r) for r in roles)]:
            where = f"{path}/{body['metadata']['name']}"
            answer = http.patch(where, params={"fieldManager": "kubectl", "force": "true"}, json=body, headers=SSA)
            assert answer.is_success, answer.text
        namespace = f"soc-{uuid.uuid4().hex[:8]}"
        http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
        found = People(http, namespace, {who: _account(api_server, http, namespace, who) for who in ROLES})
        _until_granted(http, namespace)
        yield found
        http.delete(f"/api/v1/namespaces/{namespace}")


def _account(api_server: Handle, http: httpx.Client, namespace: str, who: str) -> Path:
    at = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    http.post(at, json={"metadata": {"name": who}}).raise_for_status()
    if role := ROLES[who]:
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        subject = {"kind": "ServiceAccount", "name": who, "namespace": namespace}
        binding = {"metadata": {"name": who}, "roleRef": ref, "subjects": [subject]}
        http.post(f"{RBAC}/namespaces/{namespace}/rolebindings", json=binding).raise_for_status()
    made = http.post(f"{at}/{who}/token", json={"spec": {}})
    assert made.status_code == 201, made.text
    return api_server.kubeconfig(made.json()["status"]["token"], f"{namespace}-{who}", namespace)


def _until_granted(http: httpx.Client, namespace: str) -> None:
    """Bindings and gathered roles reach the authorizer a moment after they are written."""
    attributes = {"verb": "get", "group": "vedette.dev", "resource": "modelservices", "namespace": namespace}
    for who in SEES:
        user = f"system:serviceaccount:{namespace}:{who}"
        for verb in ("get", *(("delete",) if who in CHANGES else ())):
            review = {"spec": {"user": user, "resourceAttributes": attributes | {"verb": verb}}}

            def may(review=review) -> bool:
                answer = http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
                return bool(answer.json()["status"]["allowed"])

            until(may, f"{who} may not {verb}", every_s=0.05)


@pytest.mark.parametrize("verb", MAY)
@pytest.mark.parametrize("who", ROLES)
def test_a_role_says_the_verbs_it_is_for_and_no_other(people, who, verb, tmp_path, monkeypatch):
    monkeypatch.setattr(
        verb_requests, "HANDLED_WITHIN_S", 0.0
    )  # no operator runs: what is asked here is whether it may be said
    options, allowed = MAY[verb]
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(_EXPERIMENT))
    options = [str(tmp_path / "experiment.yaml") if o == "EXPERIMENT" else o for o in options]
    name = people.service()
    before = people.read(name)
    done = CliRunner().invoke(app, [*verb.split(), name, *options, "--kubeconfig", str(people.kubeconfigs[who])])
    after = people.read(name)
    if who not in allowed:
        assert "is forbidden: User" in str(done.exception), done.output
        assert after == before
        return
    assert done.exception is None or isinstance(done.exception, SystemExit | CommandError), repr(done.exception)
    assert "forbidden" not in f"{done.output}{done.exception}"
    if allowed is SAYS:
        assert (
            f'"by":"system:serviceaccount:{people.namespace}:{who}"' in after["metadata"]["annotations"]["vedette.dev/requests"]
        )
        assert after["spec"] == before["spec"]
    elif allowed is CHANGES:
        assert after["spec"] != before["spec"]
        assert after["metadata"]["annotations"]["vedette.dev/changed-by"].endswith(f":{who}")
    else:
        assert after == before


@pytest.mark.parametrize("who", ROLES)
def test_who_may_see_services_sees_them_on_one_screen(people, who):
    name = people.service()
    words = ["top", "--once", "--json", "--interval", "0.2", "--kubeconfig", str(people.kubeconfigs[who])]
    done = CliRunner().invoke(app, words)
    if who in SEES:
        assert name in done.output, repr(done.exception)
    else:
        assert "is forbidden: User" in f"{done.output}{done.exception}"
        assert name not in done.output


def test_every_verb_has_its_rights_said():
    def words(command: Any, before: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(before)
        for name, sub in (inner or {}).items():
            yield from words(sub, (*before, name))

    every = {w.removeprefix("rollout ") for w in words(typer.main.get_command(app), ())}
    assert every == MAY.keys() | SPEAK_TO_NO_CLUSTER | {"top"}
