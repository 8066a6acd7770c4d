"""Laws of custom resources: what a CustomResourceDefinition makes a server check, default, prune, count and keep apart."""

import copy

import pytest

from tests.contract.api_server.api_server_kind import (
    MERGE,
    STRATEGIC,
    causes,
    definition,
    eventually,
    install,
    new_group,
    refused,
    uninstall,
)


def widget(widgets: str, name: str = "w", **spec):
    return {
        "apiVersion": "/".join(widgets.split("/")[2:4]),
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"model": "m"} | spec,
    }


def made(http, widgets, name="w", **spec):
    answer = http.post(widgets, json=widget(widgets, name, **spec))
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_defaults_are_set_where_nothing_was_said(http, widgets):
    spec = made(http, widgets, low=3)["spec"]
    assert spec == {"model": "m", "mode": "shadow", "low": 3, "high": 100, "limits": {"rate": 7}}


def test_null_takes_the_default_where_null_is_not_allowed(http, widgets):
    assert made(http, widgets, mode=None)["spec"]["mode"] == "shadow"


def test_unknown_fields_are_pruned_with_a_warning_or_refused_when_strict(http, widgets):
    body = widget(widgets, sise=1, free={"anything": {"goes": 1}}, steps=[{"name": "a", "wait": 1}])
    answer = http.post(widgets, json=body)
    assert answer.json()["spec"]["free"] == {"anything": {"goes": 1}}
    assert "sise" not in answer.json()["spec"]
    assert answer.json()["spec"]["steps"] == [{"name": "a"}]
    told = ", ".join(answer.headers.get_list("Warning"))
    assert 'unknown field \\"spec.sise\\"' in told
    assert 'unknown field \\"spec.steps[0].wait\\"' in told
    body["metadata"]["name"] = "strict"
    strict = refused(http.post(widgets, params={"fieldValidation": "Strict"}, json=body), 400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.sise"' in strict["message"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        pytest.param({"model": None}, "spec.model", "Required value", id="null is no value for a required field"),
        pytest.param({"pinned": ""}, "spec.pinned",
                     'Invalid value: "": spec.pinned in body should be at least 1 chars long', id="too short"),
        pytest.param({"model": "x" * 21}, "spec.model", "Too long: may not be more than 20 bytes", id="too long"),
        pytest.param({"model": "A!"}, "spec.model", "Invalid value: \"A!\": spec.model in body should match '^[a-z0-9-]+$'", id="pattern"),
        pytest.param({"mode": "fast"}, "spec.mode", 'Unsupported value: "fast": supported values: "shadow", "live"', id="enum"),
        pytest.param({"replicas": -1}, "spec.replicas",
                     "Invalid value: -1: spec.replicas in body should be greater than or equal to 0", id="minimum"),
        pytest.param({"replicas": "two"}, "spec.replicas",
                     'Invalid value: "string": spec.replicas in body must be of type integer: "string"', id="type"),
        pytest.param({"replicas": 1.5}, "spec.replicas",
                     'Invalid value: "number": spec.replicas in body must be of type integer: "number"', id="a fraction is not an integer"),
        pytest.param({"labels": {"a": 1}}, "spec.labels.a",
                     'Invalid value: "integer": spec.labels.a in body must be of type string: "integer"', id="values of a map"),
        pytest.param({"steps": [{"name": "a", "weight": 101}]}, "spec.steps[0].weight",
                     "Invalid value: 101: spec.steps[0].weight in body should be less than or equal to 100", id="within a list"),
        pytest.param({"steps": [{"weight": 1}]}, "spec.steps[0].name", "Required value", id="required within a list"),
        pytest.param({"steps": [{"name": str(n)} for n in range(11)]}, "spec.steps", "Too many: 11: must have at most 10 items",
                     id="too many"),
        pytest.param({"steps": [{"name": "a"}, {"name": "a"}]}, "spec.steps[1]", 'Duplicate value: {"name":"a"}', id="keys are unique"),
        pytest.param({"tags": ["a", "a"]}, "spec.tags[1]", 'Duplicate value: "a"', id="a set has each item once"),
        pytest.param({"port": 1.5}, "spec.port",
                     'Invalid value: "number": spec.port in body must be of type integer,string: "number"', id="int or string"),
    ],
)  # fmt: skip
def test_the_schema_is_judged_field_by_field(http, widgets, spec, field, message):
    body = refused(http.post(widgets, json=widget(widgets, **spec)), 422, "Invalid")
    assert causes(body)[field] == message
    group = widgets.split("/")[2]
    assert body["message"].startswith(f'Widget.{group} "w" is invalid: ')
    assert (body["details"]["kind"], body["details"]["name"], body["details"]["group"]) == ("Widget", "w", group)


def test_a_wrong_type_deep_down_is_found_before_rules_run(http, widgets):
    body = refused(http.post(widgets, json=widget(widgets, low="x")), 422, "Invalid")
    assert "spec.low" in causes(body)


def test_rules_say_what_the_schema_cannot(http, widgets):
    body = refused(http.post(widgets, json=widget(widgets, low=9, high=5)), 422, "Invalid")
    assert "low is above high" in causes(body)["spec.low"]


def test_a_message_expression_speaks_of_the_values(http, widgets):
    body = refused(http.post(widgets, json=widget(widgets, high=5, steps=[{"name": "a", "weight": 9}])), 422, "Invalid")
    assert causes(body)["spec"].endswith(": no weight of m may be above high")


def test_a_transition_rule_compares_with_what_was(http, widgets):
    made(http, widgets, pinned="a")
    assert http.patch(f"{widgets}/w", json={"spec": {"pinned": "a", "low": 1}}, headers=MERGE).status_code == 200
    body = refused(http.patch(f"{widgets}/w", json={"spec": {"pinned": "b"}}, headers=MERGE), 422, "Invalid")
    assert causes(body)["spec.pinned"].endswith("pinned cannot change")
    made(http, widgets, "fresh")
    assert http.patch(f"{widgets}/fresh", json={"spec": {"pinned": "first"}}, headers=MERGE).status_code == 200, (
        "nothing to compare with"
    )


def test_status_and_spec_are_written_at_their_own_doors(http, widgets):
    body = widget(widgets) | {"status": {"phase": "made up"}}
    obj = http.post(widgets, json=body).json()
    assert "status" not in obj
    obj = http.put(f"{widgets}/w/status", json=obj | {"status": {"phase": "Ready"}, "spec": {"model": "other"}}).json()
    assert (obj["status"], obj["spec"]["model"]) == ({"phase": "Ready"}, "m")
    obj = http.put(f"{widgets}/w", json=obj | {"status": {"phase": "lost"}, "spec": obj["spec"] | {"model": "n"}}).json()
    assert (obj["status"], obj["spec"]["model"]) == ({"phase": "Ready"}, "n")
    merged = http.patch(
        f"{widgets}/w/status", json={"status": {"replicas": 2}, "metadata": {"labels": {"a": "b"}}}, headers=MERGE
    ).json()
    assert (merged["status"], "labels" in merged["metadata"]) == ({"phase": "Ready", "replicas": 2}, False)


def test_status_is_judged_too(http, widgets):
    made(http, widgets)
    body = refused(http.patch(f"{widgets}/w/status", json={"status": {"replicas": "many"}}, headers=MERGE), 422, "Invalid")
    assert "status.replicas" in causes(body)


def test_generation_counts_spec_and_deletion_but_neither_status_nor_metadata(http, widgets):
    seen = [made(http, widgets)["metadata"]["generation"]]
    for path, patch in (
        ("w", {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/hold"]}}),
        ("w/status", {"status": {"phase": "Ready"}}),
        ("w", {"spec": {"low": 1}}),
        ("w", {"spec": {"low": 1}}),
    ):
        seen.append(http.patch(f"{widgets}/{path}", json=patch, headers=MERGE).json()["metadata"]["generation"])
    seen.append(http.delete(f"{widgets}/w").json()["metadata"]["generation"])
    assert seen == [1, 1, 1, 2, 2, 3]
    http.patch(f"{widgets}/w", json={"metadata": {"finalizers": None}}, headers=MERGE)


def test_a_replacement_must_say_which_version_it_replaces(http, widgets):
    obj = made(http, widgets)
    del obj["metadata"]["resourceVersion"]
    body = refused(http.put(f"{widgets}/w", json=obj), 422, "Invalid")
    assert causes(body) == {"metadata.resourceVersion": "Invalid value: 0: must be specified for an update"}


def test_a_merge_patch_may_say_which_version_it_changes(http, widgets):
    obj = made(http, widgets)
    old = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]}}
    assert http.patch(f"{widgets}/w", json=old | {"spec": {"low": 1}}, headers=MERGE).status_code == 200
    refused(http.patch(f"{widgets}/w", json=old | {"spec": {"low": 2}}, headers=MERGE), 409, "Conflict")


def test_the_scale_door_reads_and_writes_replicas(http, widgets):
    made(http, widgets, replicas=2)
    http.patch(f"{widgets}/w/status", json={"status": {"replicas": 1, "selector": "app=w"}}, headers=MERGE)
    scale = http.get(f"{widgets}/w/scale").json()
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=w"})
    scale["spec"]["replicas"] = 5
    assert http.put(f"{widgets}/w/scale", json=scale).json()["spec"] == {"replicas": 5}
    refused(http.put(f"{widgets}/w/scale", json=scale), 409, "Conflict")
    obj = http.get(f"{widgets}/w").json()
    assert (obj["spec"]["replicas"], obj["metadata"]["generation"]) == (5, 2)


def test_custom_resources_know_no_strategic_merge(http, widgets):
    made(http, widgets)
    body = refused(http.patch(f"{widgets}/w", json={"spec": {"low": 1}}, headers=STRATEGIC), 415, "UnsupportedMediaType")
    assert "application/merge-patch+json" in body["message"]


def test_a_body_says_its_kind_and_version(http, widgets):
    body = widget(widgets)
    refused(http.post(widgets, json={k: v for k, v in body.items() if k != "kind"}), 400, "BadRequest")
    refused(http.post(widgets, json=body | {"apiVersion": "other.example.com/v1"}), 400, "BadRequest")


def test_dry_run_defaults_and_judges(http, widgets):
    answer = http.post(widgets, params={"dryRun": "All"}, json=widget(widgets))
    assert answer.json()["spec"]["mode"] == "shadow"
    refused(http.post(widgets, params={"dryRun": "All"}, json=widget(widgets, low=9, high=1)), 422, "Invalid")
    refused(http.get(f"{widgets}/w"), 404, "NotFound")


def test_a_kind_goes_with_its_definition(http, namespace):
    body = definition(new_group())
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    made(http, at)
    uninstall(http, body)
    eventually(lambda: http.get(at).status_code == 404)


def test_what_an_update_leaves_alone_is_not_judged_by_a_tightened_schema(http, namespace):
    body = definition(new_group())
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    made(http, at, mode="live", steps=[{"name": "a", "weight": 50}, {"name": "b"}])
    path = f"{DEFINITIONS}/{body['metadata']['name']}"
    stored = http.get(path).json()
    _spec_of(stored)["properties"]["mode"]["enum"] = ["shadow"]
    _spec_of(stored)["properties"]["steps"]["items"]["properties"]["weight"]["maximum"] = 10
    assert http.put(path, json=stored).status_code == 200
    eventually(lambda: http.post(at, params={"dryRun": "All"}, json=widget(at, "new", mode="live")).status_code == 422)
    patch = {"spec": {"low": 1, "steps": [{"name": "a", "weight": 50}, {"name": "b", "weight": 5}]}}
    assert http.patch(f"{at}/w", json=patch, headers=MERGE).status_code == 200
    patch = {"spec": {"steps": [{"name": "a", "weight": 49}, {"name": "b", "weight": 5}]}}
    body = refused(http.patch(f"{at}/w", json=patch, headers=MERGE), 422, "Invalid")
    assert "spec.steps[0].weight" in causes(body)
    http.delete(path)


DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def test_a_definition_is_established_and_lists_what_it_stores(http):
    body = definition(new_group())
    install(http, body)
    found = http.get(f"{DEFINITIONS}/{body['metadata']['name']}").json()
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
    assert found["status"]["storedVersions"] == ["v1"]
    assert (found["spec"]["names"]["singular"], found["spec"]["names"]["listKind"]) == ("widget", "WidgetList")
    assert found["spec"]["conversion"] == {"strategy": "None"}
    uninstall(http, body)


def _spec_of(body):
    return body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def _misname(body):
    body["metadata"]["name"] = "other.example.com"


def _untyped(body):
    _spec_of(body)["properties"]["low"] = {"default": 1}


def _bad_rule(body):
    _spec_of(body)["x-kubernetes-validations"] = [{"rule": "self.low <= "}]


def _bad_default(body):
    _spec_of(body)["properties"]["low"]["default"] = "x"


def _two_storages(body):
    body["spec"]["versions"].append(body["spec"]["versions"][0] | {"name": "v2"})


def _bad_key(body):
    _spec_of(body)["properties"]["steps"]["x-kubernetes-list-map-keys"] = ["nobody"]


def _no_scope(body):
    del body["spec"]["scope"]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        pytest.param(_misname, "metadata.name", id="its name is plural.group"),
        pytest.param(_untyped, ".properties[spec].properties[low].type", id="every field has a type"),
        pytest.param(_bad_rule, ".properties[spec].x-kubernetes-validations[0].rule", id="a rule must compile"),
        pytest.param(_bad_default, ".properties[spec].properties[low].default", id="a default fits its own schema"),
        pytest.param(_two_storages, "spec.versions", id="one version is stored"),
        pytest.param(_bad_key, ".x-kubernetes-list-map-keys", id="a list key is a field of its items"),
        pytest.param(_no_scope, "spec.scope", id="a scope is said"),
    ],
)
def test_a_bad_definition_is_refused_with_the_place(http, spoil, field):
    body = copy.deepcopy(definition(new_group()))
    spoil(body)
    found = causes(refused(http.post(DEFINITIONS, json=body), 422, "Invalid"))
    assert any(one.endswith(field) for one in found), found


def test_a_kind_without_status_door_keeps_what_is_sent_and_counts_it(http, namespace):
    body = definition(new_group(), status=False)
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    obj = http.post(at, json=widget(at) | {"status": {"phase": "kept"}}).json()
    assert obj["status"] == {"phase": "kept"}
    changed = http.patch(f"{at}/w", json={"status": {"phase": "new"}}, headers=MERGE).json()
    assert (changed["status"], changed["metadata"]["generation"]) == ({"phase": "new"}, 2)
    assert http.get(f"{at}/w/status").status_code == 404
    uninstall(http, body)
