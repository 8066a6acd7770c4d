"""Laws of one object on a Kubernetes API server: identity, versions, conflicts, deletion. Held by the fake and by a real one."""

from typing import Any

import httpx
import pytest

Json = dict[str, Any]


def made(http: httpx.Client, at: str, name: str = "a", **more: Any) -> Json:
    answer = http.post(at, json={"metadata": {"name": name, **more.pop("metadata", {})}, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer: httpx.Response, code: int, reason: str) -> Json:
    body = answer.json()
    assert (answer.status_code, body["reason"], body["kind"], body["status"], body["code"]) == (
        code,
        reason,
        "Status",
        "Failure",
        code,
    ), body
    return body


def test_a_created_object_has_an_identity_a_version_and_a_birthday(http, maps):
    obj = made(http, maps, data={"k": "v"})
    meta = obj["metadata"]
    assert (obj["kind"], obj["apiVersion"], meta["name"]) == ("ConfigMap", "v1", "a")
    assert len(meta["uid"]) == 36
    assert meta["resourceVersion"].isdigit()
    assert meta["creationTimestamp"].endswith("Z")
    assert "generation" not in meta, "config maps have none"
    assert http.get(f"{maps}/a").json() == obj


def test_what_is_not_there_is_404_and_says_what(http, maps):
    body = refused(http.get(f"{maps}/a"), 404, "NotFound")
    assert body["message"] == 'configmaps "a" not found'
    assert body["details"] == {"name": "a", "kind": "configmaps"}


def test_a_path_nobody_serves_is_a_plain_404(http):
    answer = http.get("/apis/nobody.example.com/v1/things")
    assert (answer.status_code, answer.text.strip()) == (404, "404 page not found")


def test_a_name_is_taken_once(http, maps):
    made(http, maps)
    body = refused(http.post(maps, json={"metadata": {"name": "a"}}), 409, "AlreadyExists")
    assert body["message"] == 'configmaps "a" already exists'


def test_a_namespace_must_exist(http):
    body = refused(http.post("/api/v1/namespaces/nowhere/configmaps", json={"metadata": {"name": "a"}}), 404, "NotFound")
    assert body["message"] == 'namespaces "nowhere" not found'


def test_generated_names_differ(http, maps):
    names = {http.post(maps, json={"metadata": {"generateName": "x-"}}).json()["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        pytest.param({}, "metadata.name", id="a name is required"),
        pytest.param({"name": "Not_A_Name"}, "metadata.name", id="a name is a lowercase subdomain"),
        pytest.param({"name": "a", "labels": {"k": "not a value!"}}, "metadata.labels", id="a label's value is a short word"),
    ],
)
def test_bad_metadata_is_422_with_the_field(http, maps, meta, field):
    body = refused(http.post(maps, json={"metadata": meta}), 422, "Invalid")
    assert {cause["field"] for cause in body["details"]["causes"]} == {field}


@pytest.mark.parametrize(
    ("body", "part"),
    [
        pytest.param(
            {"metadata": {"name": "a", "namespace": "other"}},
            "namespace of the provided object does not match",
            id="another namespace",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}},
            "cannot be handled as a ConfigMap",
            id="another kind",
        ),
    ],
)
def test_a_body_must_fit_its_url(http, maps, body, part):
    assert part in refused(http.post(maps, json=body), 400, "BadRequest")["message"]


def test_a_write_on_an_old_version_is_a_conflict(http, maps):
    first = made(http, maps, data={"k": "1"})
    second = http.put(f"{maps}/a", json=first | {"data": {"k": "2"}}).json()
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    body = refused(http.put(f"{maps}/a", json=first | {"data": {"k": "3"}}), 409, "Conflict")
    assert body["message"].startswith('Operation cannot be fulfilled on configmaps "a": the object has been modified')
    assert http.get(f"{maps}/a").json() == second


def test_a_write_that_changes_nothing_is_none(http, maps):
    first = made(http, maps, data={"k": "1"})
    assert http.put(f"{maps}/a", json=first).json() == first
    assert (
        http.patch(f"{maps}/a", json={"data": {"k": "1"}}, headers={"Content-Type": "application/merge-patch+json"}).json()
        == first
    )


def test_a_built_in_kind_may_be_replaced_whatever_its_version(http, maps):
    made(http, maps, data={"k": "1"})
    assert http.put(f"{maps}/a", json={"metadata": {"name": "a"}, "data": {"k": "2"}}).json()["data"] == {"k": "2"}


def test_identity_survives_a_replacement(http, maps):
    first = made(http, maps)
    changed = http.put(
        f"{maps}/a", json={"metadata": {"name": "a", "creationTimestamp": "2001-01-01T00:00:00Z"}, "data": {"x": "y"}}
    ).json()
    for name in ("uid", "creationTimestamp"):
        assert changed["metadata"][name] == first["metadata"][name]
    refused(
        http.put(f"{maps}/a", json={"metadata": {"name": "a", "uid": "11111111-1111-1111-1111-111111111111"}}), 409, "Conflict"
    )


def test_a_missing_object_is_not_replaced_into_being(http, maps):
    refused(http.put(f"{maps}/a", json={"metadata": {"name": "a"}}), 404, "NotFound")


def test_a_deletion_says_who_went(http, maps):
    obj = made(http, maps)
    body = http.delete(f"{maps}/a").json()
    assert (body["kind"], body["status"]) == ("Status", "Success")
    assert body["details"] == {"name": "a", "kind": "configmaps", "uid": obj["metadata"]["uid"]}
    refused(http.get(f"{maps}/a"), 404, "NotFound")


def test_a_deletion_can_insist_on_identity_and_version(http, maps):
    obj = made(http, maps)
    for wanted in ({"uid": "11111111-1111-1111-1111-111111111111"}, {"resourceVersion": "1"}):
        refused(http.request("DELETE", f"{maps}/a", json={"preconditions": wanted}), 409, "Conflict")
    meta = obj["metadata"]
    wanted = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    assert http.request("DELETE", f"{maps}/a", json={"preconditions": wanted}).status_code == 200


def test_a_finalizer_keeps_a_deleted_object_until_it_is_taken_off(http, maps):
    made(http, maps, metadata={"finalizers": ["example.com/hold"]})
    answer = http.delete(f"{maps}/a")
    marked = answer.json()
    assert answer.status_code == 200
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    again = http.delete(f"{maps}/a").json()
    assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    more = marked["metadata"] | {"finalizers": ["example.com/hold", "example.com/more"]}
    body = refused(http.put(f"{maps}/a", json=marked | {"metadata": more}), 422, "Invalid")
    assert "no new finalizers can be added if the object is being deleted" in body["message"]
    last = http.patch(
        f"{maps}/a", json={"metadata": {"finalizers": None}}, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert last.status_code == 200
    refused(http.get(f"{maps}/a"), 404, "NotFound")


def test_a_collection_can_be_deleted_by_label(http, maps):
    made(http, maps, "a", metadata={"labels": {"go": "1"}})
    made(http, maps, "b")
    gone = http.delete(maps, params={"labelSelector": "go=1"}).json()
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    left = {item["metadata"]["name"] for item in http.get(maps).json()["items"]}
    assert "b" in left
    assert "a" not in left


def test_a_dry_run_answers_as_if_and_stores_nothing(http, maps):
    answer = http.post(maps, params={"dryRun": "All"}, json={"metadata": {"name": "a"}, "data": {"k": "v"}})
    assert (answer.status_code, answer.json()["data"]) == (201, {"k": "v"})
    assert answer.json()["metadata"]["uid"]
    refused(http.get(f"{maps}/a"), 404, "NotFound")
    first = made(http, maps)
    assert http.put(f"{maps}/a", params={"dryRun": "All"}, json=first | {"data": {"x": "y"}}).json()["data"] == {"x": "y"}
    assert http.delete(f"{maps}/a", params={"dryRun": "All"}).status_code == 200
    assert http.get(f"{maps}/a").json() == first


def test_a_method_that_does_not_fit_is_405(http, maps):
    refused(http.put(maps, json={}), 405, "MethodNotAllowed")
    refused(http.post(f"{maps}/a", json={}), 405, "MethodNotAllowed")


def test_secrets_take_text_and_keep_base64(http, namespace):
    obj = made(http, f"/api/v1/namespaces/{namespace}/secrets", stringData={"k": "v"})
    assert (obj["data"], obj["type"], "stringData" in obj) == ({"k": "dg=="}, "Opaque", False)


def test_leases_may_be_put_into_being(http, namespace):
    at = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/l"
    assert http.put(at, json={"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}).status_code == 201
    lease = http.get(at).json()
    lease["spec"]["holderIdentity"] = "you"
    assert http.put(at, json=lease).json()["spec"]["holderIdentity"] == "you"
    refused(http.put(at, json=lease), 409, "Conflict")


def test_an_event_is_one_object_in_both_groups(http, namespace):
    who = {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace}
    event = {
        "metadata": {"name": "e"},
        "involvedObject": who,
        "reason": "Promoted",
        "message": "all steps passed",
        "type": "Normal",
    }
    made(http, f"/api/v1/namespaces/{namespace}/events", "e", **{k: v for k, v in event.items() if k != "metadata"})
    seen = http.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/e").json()
    assert (seen["apiVersion"], seen["note"], seen["regarding"]["name"]) == ("events.k8s.io/v1", "all steps passed", namespace)
    found = http.get(
        f"/api/v1/namespaces/{namespace}/events", params={"fieldSelector": f"involvedObject.name={namespace}"}
    ).json()
    assert [item["metadata"]["name"] for item in found["items"]] == ["e"]


def test_generation_counts_changes_of_what_is_wanted(http, namespace):
    at = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    labels = {"app": "x"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    obj = made(http, at, "d", spec={"selector": {"matchLabels": labels}, "template": pod}, status={"replicas": 7})
    assert (obj["metadata"]["generation"], obj["spec"]["replicas"], obj["status"]) == (1, 1, {})
    merge = {"Content-Type": "application/merge-patch+json"}
    labelled = http.patch(f"{at}/d", json={"metadata": {"labels": {"k": "v"}}, "status": {"replicas": 9}}, headers=merge).json()
    assert (labelled["metadata"]["generation"], labelled["status"]) == (1, {})
    reported = http.patch(f"{at}/d/status", json={"status": {"replicas": 2}, "spec": {"replicas": 9}}, headers=merge).json()
    assert (reported["metadata"]["generation"], reported["status"], reported["spec"]["replicas"]) == (1, {"replicas": 2}, 1)
    scaled = http.patch(f"{at}/d/scale", json={"spec": {"replicas": 4}}, headers=merge).json()
    assert (scaled["kind"], scaled["spec"], scaled["status"]) == (
        "Scale",
        {"replicas": 4},
        {"replicas": 2, "selector": "app=x"},
    )
    assert http.get(f"{at}/d").json()["metadata"]["generation"] == 2
