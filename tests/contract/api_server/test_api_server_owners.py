"""Laws of belonging: owners and their dependents, finalizers of a deletion policy, namespaces and what is in them.

The cleaning up itself is the controller manager's; on a server without one those laws are skipped with that reason."""

from typing import Any

import pytest

from tests.contract.api_server.api_server_kind import MERGE, definition, eventually, install, new_group, refused, uninstall
from tests.fakes.apiserver import Handle

Json = dict[str, Any]


@pytest.fixture
def collected(api_server: Handle) -> None:
    if not api_server.collects_garbage:
        pytest.skip("this API server has no controller manager: nobody collects dependents or empties namespaces")


def owner_of(obj: Json, **more: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]} | more


def made(http, at: str, name: str, *owners: Json) -> Json:
    answer = http.post(at, json={"metadata": {"name": name, "ownerReferences": list(owners)}})
    assert answer.status_code == 201, answer.text
    return answer.json()


def gone(http, path: str) -> bool:
    return http.get(path).status_code == 404


def test_an_owner_is_named_wholly(http, maps):
    answer = http.post(
        maps, json={"metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}]}}
    )
    body = refused(answer, 422, "Invalid")
    assert body["details"]["causes"][0]["field"] == "metadata.ownerReferences.uid"


def test_dependents_go_with_their_last_owner(http, maps, collected):
    first, second = made(http, maps, "first"), made(http, maps, "second")
    made(http, maps, "one", owner_of(first))
    made(http, maps, "both", owner_of(first), owner_of(second))
    http.delete(f"{maps}/first")
    eventually(lambda: gone(http, f"{maps}/one"))
    eventually(lambda: len(http.get(f"{maps}/both").json()["metadata"]["ownerReferences"]) == 1)
    http.delete(f"{maps}/second")
    eventually(lambda: gone(http, f"{maps}/both"))


def test_a_dependent_of_nobody_does_not_stay(http, maps, collected):
    ghost = {"metadata": {"name": "ghost", "uid": "11111111-1111-1111-1111-111111111111"}}
    made(http, maps, "one", owner_of(ghost))
    eventually(lambda: gone(http, f"{maps}/one"))


def test_orphans_stay_and_forget_their_owner(http, maps, collected):
    made(http, maps, "child", owner_of(made(http, maps, "first")))
    http.request("DELETE", f"{maps}/first", json={"propagationPolicy": "Orphan"})
    eventually(lambda: gone(http, f"{maps}/first"))
    assert "ownerReferences" not in http.get(f"{maps}/child").json()["metadata"]


def test_a_foreground_deletion_waits_for_the_dependents(http, maps, collected):
    child = made(http, maps, "child", owner_of(made(http, maps, "first"), blockOwnerDeletion=True))
    child["metadata"]["finalizers"] = ["example.com/hold"]
    http.put(f"{maps}/child", json=child)
    marked = http.request("DELETE", f"{maps}/first", json={"propagationPolicy": "Foreground"}).json()
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert marked["metadata"]["deletionTimestamp"]
    eventually(lambda: "deletionTimestamp" in http.get(f"{maps}/child").json()["metadata"])
    assert not gone(http, f"{maps}/first")
    http.patch(f"{maps}/child", json={"metadata": {"finalizers": None}}, headers=MERGE)
    eventually(lambda: gone(http, f"{maps}/first"))


def test_dependents_of_a_custom_resource_go_with_it(http, maps, namespace, collected):
    body = definition(new_group())
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    kind = {"apiVersion": f"{body['spec']['group']}/v1", "kind": "Widget"}
    owner = http.post(at, json=kind | {"metadata": {"name": "w"}, "spec": {"model": "m"}}).json()
    made(http, maps, "child", owner_of(owner) | kind)
    http.delete(f"{at}/w")
    eventually(lambda: gone(http, f"{maps}/child"))
    uninstall(http, body)


def test_a_deleted_namespace_takes_nothing_new_and_goes_when_it_is_empty(http, maps, namespace, collected):
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    http.post(maps, json=held)
    made(http, maps, "plain")
    answer = http.delete(f"/api/v1/namespaces/{namespace}").json()
    assert (answer["kind"], answer["status"]["phase"]) == ("Namespace", "Terminating")
    body = refused(http.post(maps, json={"metadata": {"name": "late"}}), 403, "Forbidden")
    assert f"unable to create new content in namespace {namespace} because it is being terminated" in body["message"]
    assert body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    eventually(lambda: gone(http, f"{maps}/plain"))
    assert not gone(http, f"/api/v1/namespaces/{namespace}")
    http.patch(f"{maps}/held", json={"metadata": {"finalizers": None}}, headers=MERGE)
    eventually(lambda: gone(http, f"/api/v1/namespaces/{namespace}"))
