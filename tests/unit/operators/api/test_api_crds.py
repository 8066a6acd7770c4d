"""The CRDs: in step with the types, structural, bounded, and the same values after an API server's defaulting."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from operators.api.crds import FOLDER, definitions, render
from operators.api.read import check, read
from operators.api.rules import RULES
from operators.api.schema_check import defaulted, judge
from tests.fakes.apiserver.admitting.rules import judge as evaluated
from tests.fakes.operator.resources import BAD, GOOD

ALL = definitions()
BY_KIND = {d["spec"]["names"]["kind"]: d["spec"]["versions"][0] for d in ALL.values()}
CEL_FUNCTIONS = {"has", "size", "filter", "map", "all", "exists", "exists_one", "isSorted", "sum", "string", "matches"}
CEL_FUNCTIONS |= {"contains", "duration"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def schema(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = BY_KIND[kind]["schema"]["openAPIV3Schema"]
    return found


@pytest.mark.parametrize("name", ALL)
def test_files_are_in_step_with_the_types(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == render(ALL[name]), "run: make crds"


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.heavy) if n == "modelservices.yaml" else n for n in ALL])
def test_files_say_the_same_to_every_reader_of_yaml(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert yaml.safe_load(text) == ALL[name]
    assert not re.search(r"[&*][a-z]+[0-9]+", re.sub(r'"[^"]*"', "", text)), "no anchors"
    plain = re.findall(r"^\s*(?:- )?[\w-]+: ([^\"'|>\[{\s].*)$", text, re.MULTILINE)
    assert not [
        p for p in plain if p.lower() in {"y", "n", "yes", "no", "on", "off"} or re.fullmatch(r"0[0-9]+|[0-9]+(:[0-9]+)+", p)
    ]


@pytest.mark.parametrize("kind", BY_KIND)
def test_schemas_are_structural(kind):
    known = {
        "type",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "default",
        "enum",
        "format",
        "nullable",
    }
    known |= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems"}
    known |= {
        "maxProperties",
        "pattern",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
    }
    for path, node in nodes(schema(kind)):
        assert node.keys() <= known, path
        assert node["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert set(node.get("required", ())) <= node.get("properties", {}).keys(), path


@pytest.mark.parametrize("kind", BY_KIND)
def test_everything_that_rules_look_at_is_bounded(kind):
    """Without bounds the API server estimates a rule's cost by the greatest request there can be, and refuses the CRD."""
    for path, node in nodes(schema(kind)["properties"]["spec"]):
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", BY_KIND)
def test_every_field_says_what_it_is(kind):
    whole = schema(kind)["properties"]
    silent = [
        path
        for part in ("spec", "status")
        for path, node in nodes(whole[part], part)
        if _is_field(path) and not node.get("description")
    ]
    assert not silent


def _is_field(path: str) -> bool:
    return not path.endswith(("[]", "{}"))


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_defaults_change_nothing_that_is_read(document):
    own = schema(document["kind"])
    filled = defaulted(own, document)
    assert read(filled).spec == check(document).spec
    assert defaulted(own, filled) == filled
    assert list(judge(own, filled)) == []
    assert evaluated(own, filled) == []


@pytest.mark.parametrize("kind", BY_KIND)
def test_defaults_pass_their_own_schema_and_rules(kind):
    for path, node in nodes(schema(kind)):
        if "default" in node:
            assert [str(f) for f in judge(node, node["default"])] == [], path
            assert evaluated(node, node["default"]) == [], path


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_status_is_typed_and_never_judged(kind):
    judging = {"default", "required", "enum", "pattern", "minimum", "maxLength", "maxItems", "x-kubernetes-validations"}
    for path, node in nodes(schema(kind)["properties"]["status"]):
        assert not judging & node.keys(), path


def test_only_the_judges_memory_is_kept_without_a_schema():
    loose = [path for path, node in nodes(schema("ModelService")) if node.get("x-kubernetes-preserve-unknown-fields")]
    assert loose == [".status.rollout.ledger"]


def test_columns_are_those_that_people_watch():
    columns = [c["name"] for c in BY_KIND["ModelService"]["additionalPrinterColumns"] if not c.get("priority")]
    assert columns == ["PHASE", "READY", "STABLE", "CANDIDATE", "STEP", "WEIGHT", "VERDICT", "WAITING-FOR", "AGE"]


@pytest.mark.parametrize("kind", BY_KIND)
def test_columns_and_subresources_name_fields_that_exist(kind):
    paths = {path for path, _ in nodes(schema(kind))} | {".metadata.creationTimestamp"}
    version = BY_KIND[kind]
    named = [c["jsonPath"] for c in version["additionalPrinterColumns"]] + list(
        version["subresources"].get("scale", {}).values()
    )
    assert {re.sub(r"\[\?.*?\]", "[]", path) for path in named} <= paths
    assert version["subresources"]["status"] == {}


def test_a_count_can_be_scaled():
    assert BY_KIND["ModelService"]["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


@pytest.mark.parametrize("place", RULES)
def test_every_rule_is_in_a_crd(place):
    written = [
        rule["rule"] for kind in BY_KIND for _, node in nodes(schema(kind)) for rule in node.get("x-kubernetes-validations", ())
    ]
    assert all(rule.rule in written for rule in RULES[place])


@pytest.mark.parametrize("place", RULES)
def test_rules_use_only_what_kubernetes_knows_and_say_the_way_out(place):
    for rule in RULES[place]:
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", rule.rule + " " + rule.of)
        assert set(re.findall(r"\b(\w+)\(", bare)) <= CEL_FUNCTIONS
        assert re.match(r"(write|make|add|take|name|give)\b|.*: (write|take)\b", rule.way_out), rule.way_out
        assert len(rule.message) < 2048


def test_the_corpus_holds_each_kind():
    assert {d["kind"] for d in GOOD.values()} == {b.document["kind"] for b in BAD} == set(BY_KIND)


def test_a_null_that_says_something_is_kept():
    """The API server drops every other null; a status that was written with it could not be read back."""
    kept = {path for path, node in nodes(schema("ModelService")) if node.get("nullable")}
    assert {".status.rollout.policy.progressDeadline", ".status.rollout.history[].stable"} <= kept
    assert ".spec.rollout.policy.progressDeadline" in kept
    assert ".spec.replicas" not in kept
