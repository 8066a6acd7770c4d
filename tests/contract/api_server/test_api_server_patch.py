"""Laws of patches: merge, JSON, strategic merge, and server-side apply with its managers and conflicts."""

import json
from typing import Any

import pytest

from operators.backends.kube import encoded
from tests.contract.api_server.api_server_kind import (
    APPLY,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    causes,
    refused,
)

Json = dict[str, Any]


def config(at: str, name: str = "a", **more: Any) -> Json:
    parts = at.split("/")
    kind, version = ("ConfigMap", "v1") if parts[1] == "api" else ("Widget", "/".join(parts[2:4]))
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name} | more.pop("metadata", {}), **more}


def apply(http, at, manager, name="a", force=None, sub="", **more):
    asked = {"fieldManager": manager} | ({"force": force} if force else {})
    return http.patch(f"{at}/{name}{sub}", params=asked, content=json.dumps(config(at, name, **more)), headers=APPLY)


def applied(http, at, manager, name="a", **more) -> Json:
    answer = apply(http, at, manager, name, **more)
    assert answer.status_code in (200, 201), answer.json()["message"]
    return answer.json()


def owned(obj: Json) -> dict[tuple[str, str], Json]:
    """Fields by (manager, operation)."""
    return {(one["manager"], one["operation"]): one["fieldsV1"] for one in obj["metadata"].get("managedFields", [])}


# merge and JSON patch


def test_a_merge_patch_changes_what_it_names_and_null_removes(http, maps):
    http.post(maps, json={"metadata": {"name": "a"}, "data": {"k": "1", "gone": "x"}})
    changed = http.patch(f"{maps}/a", json={"data": {"k": "2", "gone": None, "new": "y"}}, headers=MERGE).json()
    assert changed["data"] == {"k": "2", "new": "y"}


def test_a_json_patch_is_all_or_nothing(http, maps):
    http.post(maps, json={"metadata": {"name": "a"}, "data": {"k": "1"}})
    steps = [{"op": "add", "path": "/metadata/annotations", "value": {}}, {"op": "test", "path": "/data/k", "value": "1"}]
    steps += [
        {"op": "add", "path": "/metadata/annotations/n~1m", "value": "x"},
        {"op": "replace", "path": "/data/k", "value": "2"},
        {"op": "copy", "from": "/data/k", "path": "/data/c"},
    ]
    changed = http.patch(f"{maps}/a", json=steps, headers=JSON_PATCH).json()
    assert (changed["data"], changed["metadata"]["annotations"]) == ({"k": "2", "c": "2"}, {"n/m": "x"})
    refused(http.patch(f"{maps}/a", json=steps, headers=JSON_PATCH), 422, "Invalid")
    refused(http.patch(f"{maps}/a", json=[{"op": "remove", "path": "/data/nobody"}], headers=JSON_PATCH), 422, "Invalid")
    assert http.get(f"{maps}/a").json()["data"]["k"] == "2"


def test_a_patch_of_what_is_not_there_is_404(http, maps):
    refused(http.patch(f"{maps}/a", json={"data": {}}, headers=MERGE), 404, "NotFound")


def test_an_unknown_patch_language_is_415(http, maps):
    http.post(maps, json={"metadata": {"name": "a"}})
    refused(http.patch(f"{maps}/a", json={}, headers={"Content-Type": "application/json"}), 415, "UnsupportedMediaType")


def test_a_patch_that_breaks_the_schema_is_422(http, widgets):
    http.post(widgets, json=config(widgets, spec={"model": "m"}))
    body = refused(http.patch(f"{widgets}/a", json={"spec": {"mode": "fast"}}, headers=MERGE), 422, "Invalid")
    assert list(causes(body)) == ["spec.mode", "<nil>"]
    assert "some validation rules were not checked because the object was invalid" in causes(body)["<nil>"]


def test_a_strategic_merge_patch_knows_the_keys_of_lists(http, namespace):
    at = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    labels = {"app": "x"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    assert (
        http.post(
            at, json={"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}
        ).status_code
        == 201
    )
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a", "$patch": "delete"}]}}}}
    left = http.patch(f"{at}/d", json=patch, headers=STRATEGIC).json()["spec"]["template"]["spec"]["containers"]
    assert [(one["name"], one["image"]) for one in left] == [("b", "2")]


# server-side apply


def test_apply_makes_what_is_not_there_and_then_merges(http, maps):
    first = apply(http, maps, "one", data={"k": "1"})
    assert first.status_code == 201
    again = apply(http, maps, "one", data={"k": "1"})
    assert (again.status_code, again.json()) == (200, first.json()), "the same configuration changes nothing"
    assert applied(http, maps, "two", data={"m": "2"})["data"] == {"k": "1", "m": "2"}


def test_apply_needs_a_manager(http, maps):
    answer = http.patch(f"{maps}/a", content=json.dumps(config(maps)), headers=APPLY)
    assert answer.status_code in (400, 422)
    assert "fieldManager" in answer.json()["message"]


def test_apply_takes_yaml(http, maps):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: 'yes'\n"
    answer = http.patch(f"{maps}/a", params={"fieldManager": "one"}, content=text, headers=APPLY)
    assert answer.json()["data"] == {"k": "yes"}


def test_a_field_of_another_manager_is_a_conflict_that_names_both(http, maps):
    applied(http, maps, "one", data={"k": "1"})
    body = refused(apply(http, maps, "two", data={"k": "2"}), 409, "Conflict")
    assert body["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.k'
    assert body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.k"}
    ]


def test_several_conflicts_are_told_together(http, maps):
    applied(http, maps, "one", data={"k": "1", "l": "1"})
    body = refused(apply(http, maps, "two", data={"k": "2", "l": "2"}), 409, "Conflict")
    assert body["message"] == 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.k\n- .data.l'


def test_the_same_value_is_shared_not_fought_over(http, maps):
    applied(http, maps, "one", data={"k": "1"})
    both = owned(applied(http, maps, "two", data={"k": "1"}))
    assert both[("one", "Apply")] == both[("two", "Apply")] == {"f:data": {"f:k": {}}}


def test_force_takes_the_field_over(http, maps):
    applied(http, maps, "one", data={"k": "1", "l": "1"})
    obj = applied(http, maps, "two", force="true", data={"k": "2"})
    assert obj["data"] == {"k": "2", "l": "1"}
    assert owned(obj) == {("one", "Apply"): {"f:data": {"f:l": {}}}, ("two", "Apply"): {"f:data": {"f:k": {}}}}


def test_what_a_manager_no_longer_applies_goes_unless_another_owns_it(http, maps):
    applied(http, maps, "one", data={"k": "1", "l": "1", "shared": "1"}, metadata={"labels": {"a": "b"}})
    applied(http, maps, "two", data={"shared": "1"})
    obj = applied(http, maps, "one", data={"k": "1"})
    assert obj["data"] == {"k": "1", "shared": "1"}
    assert "labels" not in obj["metadata"]


def test_an_ordinary_write_takes_its_fields_over(http, maps):
    applied(http, maps, "one", data={"k": "1", "l": "1"})
    http.patch(f"{maps}/a", params={"fieldManager": "editor"}, json={"data": {"k": "2"}}, headers=MERGE)
    obj = http.get(f"{maps}/a").json()
    assert owned(obj) == {("one", "Apply"): {"f:data": {"f:l": {}}}, ("editor", "Update"): {"f:data": {"f:k": {}}}}
    body = refused(apply(http, maps, "one", data={"k": "1", "l": "1"}), 409, "Conflict")
    assert body["message"].startswith('Apply failed with 1 conflict: conflict with "editor" using v1')


def test_a_field_that_someone_removes_belongs_to_nobody(http, maps):
    applied(http, maps, "one", data={"k": "1", "l": "1"})
    http.patch(f"{maps}/a", params={"fieldManager": "editor"}, json={"data": {"k": None}}, headers=MERGE)
    obj = http.get(f"{maps}/a").json()
    assert owned(obj)[("one", "Apply")] == {"f:data": {"f:l": {}}}
    assert applied(http, maps, "one", data={"k": "1", "l": "1"})["data"] == {"k": "1", "l": "1"}


def test_the_manager_of_an_ordinary_write_is_its_user_agent(http, maps):
    obj = http.post(maps, json={"metadata": {"name": "a"}, "data": {"k": "1"}}).json()
    assert owned(obj) == {("contract", "Update"): {"f:data": {".": {}, "f:k": {}}}}


def test_managers_can_be_cleared(http, maps):
    applied(http, maps, "one", data={"k": "1"})
    cleared = http.patch(f"{maps}/a", json={"metadata": {"managedFields": [{}]}}, headers=MERGE).json()
    assert owned(cleared) == {}


def test_a_list_with_keys_is_merged_by_them(http, widgets):
    applied(http, widgets, "one", spec={"model": "m", "steps": [{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]})
    obj = applied(http, widgets, "two", spec={"model": "m", "steps": [{"name": "b", "note": "hi"}, {"name": "c"}]})
    assert obj["spec"]["steps"] == [{"name": "a", "weight": 1}, {"name": "b", "weight": 2, "note": "hi"}, {"name": "c"}]
    assert owned(obj)[("two", "Apply")]["f:spec"]["f:steps"] == {
        'k:{"name":"b"}': {".": {}, "f:name": {}, "f:note": {}},
        'k:{"name":"c"}': {".": {}, "f:name": {}},
    }
    left = applied(http, widgets, "one", spec={"model": "m", "steps": [{"name": "b", "weight": 2}]})
    assert [one["name"] for one in left["spec"]["steps"]] == ["b", "c"]
    body = refused(apply(http, widgets, "two", spec={"model": "m", "steps": [{"name": "b", "weight": 9}]}), 409, "Conflict")
    assert body["details"]["causes"][0]["field"] == '.spec.steps[name="b"].weight'


def test_a_set_is_merged_item_by_item(http, widgets):
    applied(http, widgets, "one", spec={"model": "m", "tags": ["a", "b"]})
    obj = applied(http, widgets, "two", spec={"model": "m", "tags": ["b", "c"]})
    assert sorted(obj["spec"]["tags"]) == ["a", "b", "c"]
    assert owned(obj)[("two", "Apply")]["f:spec"]["f:tags"] == {'v:"b"': {}, 'v:"c"': {}}
    assert sorted(applied(http, widgets, "one", spec={"model": "m"})["spec"]["tags"]) == ["b", "c"]


def test_a_list_without_keys_is_one_value(http, widgets):
    applied(http, widgets, "one", spec={"model": "m", "list": ["a", "b"]})
    body = refused(apply(http, widgets, "two", spec={"model": "m", "list": ["b"]}), 409, "Conflict")
    assert body["details"]["causes"][0]["field"] == ".spec.list"
    assert applied(http, widgets, "two", force="true", spec={"model": "m", "list": ["b"]})["spec"]["list"] == ["b"]


def test_defaults_belong_to_nobody(http, widgets):
    obj = applied(http, widgets, "one", spec={"model": "m"})
    assert obj["spec"]["mode"] == "shadow"
    assert owned(obj) == {("one", "Apply"): {"f:spec": {"f:model": {}}}}
    assert applied(http, widgets, "two", spec={"model": "m", "mode": "live"})["spec"]["mode"] == "live"


def test_status_has_its_own_accounts(http, widgets):
    applied(http, widgets, "one", spec={"model": "m"})
    report = {"phase": "Ready", "conditions": [{"type": "Healthy", "status": "True"}]}
    obj = applied(http, widgets, "one", sub="/status", spec={"model": "other"}, status=report)
    assert (obj["spec"]["model"], obj["status"]) == ("m", report)
    entry = next(one for one in obj["metadata"]["managedFields"] if one.get("subresource") == "status")
    assert entry["fieldsV1"] == {
        "f:status": {"f:phase": {}, "f:conditions": {'k:{"type":"Healthy"}': {".": {}, "f:type": {}, "f:status": {}}}}
    }
    body = refused(apply(http, widgets, "two", sub="/status", status={"phase": "Bad"}), 409, "Conflict")
    assert body["details"]["causes"][0]["message"] == 'conflict with "one" with subresource "status"'
    kept = applied(http, widgets, "one", spec={"model": "m"}, status={"phase": "ignored"})
    assert kept["status"] == report


def test_finalizers_of_several_managers_live_together(http, maps):
    applied(http, maps, "one", metadata={"finalizers": ["example.com/one"]})
    obj = applied(http, maps, "two", metadata={"finalizers": ["example.com/two"]})
    assert sorted(obj["metadata"]["finalizers"]) == ["example.com/one", "example.com/two"]
    assert applied(http, maps, "one")["metadata"]["finalizers"] == ["example.com/two"]
    applied(http, maps, "two")
    assert "finalizers" not in http.get(f"{maps}/a").json()["metadata"]


def test_apply_checks_the_schema_and_dry_runs(http, widgets):
    refused(apply(http, widgets, "one", spec={"model": "m", "mode": "fast"}), 422, "Invalid")
    asked = {"fieldManager": "one", "dryRun": "All"}
    answer = http.patch(f"{widgets}/a", params=asked, content=json.dumps(config(widgets, spec={"model": "m"})), headers=APPLY)
    assert answer.status_code in (200, 201)
    refused(http.get(f"{widgets}/a"), 404, "NotFound")


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
def test_an_applied_field_that_no_schema_declares_is_refused_in_every_mode(http, widgets, mode):
    body = config(widgets, spec={"model": "m", "sise": 1})
    asked = {"fieldManager": "one", "fieldValidation": mode}
    answer = http.patch(f"{widgets}/a", params=asked, content=json.dumps(body), headers=APPLY)
    assert answer.status_code == 500
    assert answer.json()["message"].endswith("Kind=Widget): .spec.sise: field not declared in schema")


def test_apply_on_an_old_version_is_a_conflict(http, maps):
    old = applied(http, maps, "one", data={"k": "1"})["metadata"]["resourceVersion"]
    applied(http, maps, "one", data={"k": "2"})
    refused(apply(http, maps, "one", data={"k": "3"}, metadata={"resourceVersion": old}), 409, "Conflict")


def test_a_built_in_kind_is_applied_with_its_keys(http, namespace):
    at = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    labels = {"app": "x"}

    def deployment(*containers: Json) -> str:
        pod = {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}}
        meta = {"name": "d"}
        return json.dumps(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": {"selector": {"matchLabels": labels}, "template": pod},
            }
        )

    port = {"containerPort": 80, "name": "http"}
    first = http.patch(
        f"{at}/d",
        params={"fieldManager": "one"},
        content=deployment({"name": "c", "image": "1", "ports": [port]}),
        headers=APPLY,
    )
    assert first.status_code == 201, first.text
    containers = owned(first.json())[("one", "Apply")]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert containers['k:{"name":"c"}']["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:name": {}}
    }
    second = http.patch(
        f"{at}/d", params={"fieldManager": "two"}, content=deployment({"name": "side", "image": "2"}), headers=APPLY
    )
    assert {one["name"] for one in second.json()["spec"]["template"]["spec"]["containers"]} == {"c", "side"}
    assert second.json()["metadata"]["generation"] == 2


@pytest.mark.parametrize("text", [r"\ud83d\ude00", r"\ud83d", r"\ude00"])
def test_an_apply_body_is_yaml_and_yaml_has_no_surrogate_escapes(http, maps, text):
    body = json.dumps(config(maps, "odd", data={"why": "TEXT"})).replace("TEXT", text)

    answer = http.patch(f"{maps}/odd", params={"fieldManager": "law"}, content=body, headers=APPLY)

    assert answer.status_code == 400


@pytest.mark.parametrize("text", ["\U0001f600", "\x7f\x9f", "\u2028\u2029\x85", "\ufeff\ufffe\uffff", "a\n\tb", "\U0010ffff"])
def test_what_the_operator_applies_arrives_letter_by_letter(http, maps, text):
    body = encoded(config(maps, "told", data={"why": text}))

    answer = http.patch(f"{maps}/told", params={"fieldManager": "law", "force": "true"}, content=body, headers=APPLY)

    assert answer.status_code in (200, 201), answer.text
    assert answer.json()["data"] == {"why": text}
