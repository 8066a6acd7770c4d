"""CustomResourceDefinitions: which are accepted, and the kinds they serve.

Follows apiextensions-apiserver/pkg/apis/apiextensions/validation for what authors get wrong: names, versions, structural
schemas, defaults, list keys, rules that do not compile. Not here: conversion webhooks (None only swaps apiVersion) and CEL cost.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.apiserver.admitting.rules import RULES, unreadable
from tests.fakes.apiserver.admitting.shape import PRESERVE
from tests.fakes.apiserver.admitting.validation import validate
from tests.fakes.apiserver.failures import Cause, not_allowed, required, unsupported, wrong
from tests.fakes.apiserver.storing.kinds import Kind, Resource, Scale
from tests.fakes.apiserver.storing.store import copied

Json = dict[str, Any]
_LISTS = {"required", "enum", "allOf", "anyOf", "oneOf", RULES, "x-kubernetes-list-map-keys"}
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def completed(definition: Json) -> None:
    """Set what the server fills in (singular and list names), and drop what its own types leave out: empty lists of a schema."""
    for version in definition["spec"].get("versions") or ():
        _without_empty(version.get("schema") or {})
    names = definition["spec"].get("names") or {}
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    definition["spec"].setdefault("conversion", {"strategy": "None"})


def _without_empty(schema: Any) -> None:
    if isinstance(schema, list):
        for inner in schema:
            _without_empty(inner)
    elif isinstance(schema, dict):
        for name in _LISTS & schema.keys():
            if schema[name] == []:
                del schema[name]
        for name, inner in schema.items():
            if name not in ("default", "example", "enum"):
                _without_empty(inner)


def findings(definition: Json) -> list[Cause]:
    """What is wrong with a definition; empty means that it is accepted."""
    return list(_findings(definition))


def _findings(definition: Json) -> Iterator[Cause]:
    spec, names = definition["spec"], definition["spec"].get("names") or {}
    wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if definition["metadata"].get("name") != wanted:
        yield wrong("metadata.name", definition["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group')
    for name in ("plural", "kind"):
        if not names.get(name):
            yield required(f"spec.names.{name}")
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield unsupported("spec.scope", spec.get("scope"), ["Cluster", "Namespaced"])
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield wrong("spec.versions", [], "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        at = f"spec.versions[{index}]" if len(versions) > 1 else "spec.validation"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")
            continue
        at = f"{at}.schema.openAPIV3Schema" if len(versions) > 1 else f"{at}.openAPIV3Schema"
        if schema.get("type") != "object":
            yield wrong(f"{at}.type", schema.get("type", ""), "must be object at the root")
        yield from _structural(schema, at, nested=False)


def _structural(schema: Mapping[str, Any], at: str, *, nested: bool, either: bool = False) -> Iterator[Cause]:
    """The rules of structural schemas, with defaults and CEL rules.

    nested: within allOf, anyOf, oneOf or not. either: there, below x-kubernetes-int-or-string, whose two types may be told.
    """
    open_type = schema.get(PRESERVE) or schema.get("x-kubernetes-int-or-string")
    if not nested and not schema.get("type") and not open_type:
        yield required(
            f"{at}.type",
            "must not be empty for specified object fields" if ".properties[" in at else "must not be empty at the root",
        )
    if nested:
        for name in ("type", "default", "description", "title", "nullable", PRESERVE, "additionalProperties"):
            if name in schema and not (name == "type" and either):
                yield not_allowed(
                    f"{at}.{name}",
                    "must be empty to be structural" if name != "default" else "must be undefined to be structural",
                )
    if schema.get("properties") and isinstance(schema.get("additionalProperties"), Mapping):
        yield not_allowed(f"{at}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if schema.get("uniqueItems"):
        yield not_allowed(
            f"{at}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    if schema.get("type") == "array" and not schema.get("items") and not nested:
        yield required(f"{at}.items", "must be specified")
    yield from _keyed(schema, at)
    for rule_index, rule in enumerate(schema.get(RULES, ())):
        if why := unreadable(rule.get("rule", "")):
            yield wrong(f"{at}.{RULES}[{rule_index}].rule", rule.get("rule", ""), f"compilation failed: {why}")
    if "default" in schema and not nested:
        for cause in validate(schema, copied(schema["default"]), root=False):
            yield Cause(
                cause.reason, cause.message.replace(" in body", ""), f"{at}.default{'.' if cause.field else ''}{cause.field}"
            )
    for name, inner in schema.get("properties", {}).items():
        yield from _structural(inner, f"{at}.properties[{name}]", nested=nested)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield from _structural(schema[name], f"{at}.{name}", nested=nested)
    for name in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(name, ())):
            told = either or bool(schema.get("x-kubernetes-int-or-string"))
            yield from _structural(inner, f"{at}.{name}[{index}]", nested=True, either=told)
    if isinstance(schema.get("not"), Mapping):
        yield from _structural(schema["not"], f"{at}.not", nested=True)


def _keyed(schema: Mapping[str, Any], at: str) -> Iterator[Cause]:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", [])
    if kind is not None and kind not in ("atomic", "set", "map"):
        yield unsupported(f"{at}.x-kubernetes-list-type", kind, ["atomic", "set", "map"])
    if kind == "map" and not keys:
        yield required(f"{at}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    items = schema.get("items") or {}
    if any(key not in items.get("properties", {}) for key in keys):
        yield wrong(f"{at}.x-kubernetes-list-map-keys", list(keys), "entries must all be names of item properties")
        return
    for key in keys:
        if key not in items.get("required", []) and "default" not in items["properties"][key]:
            yield required(
                f"{at}.items.properties[{key}].default",
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            )


def resource_of(definition: Json) -> Resource:
    return definition["spec"]["group"], definition["spec"]["names"]["plural"]


def served(definition: Json) -> list[Kind]:
    """The kinds that an accepted definition serves, one a served version."""
    spec, names = definition["spec"], definition["spec"]["names"]
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    return [_kind(spec, names, version, storage) for version in spec["versions"] if version.get("served")]


def _kind(spec: Json, names: Json, version: Json, storage: str) -> Kind:
    subresources = version.get("subresources") or {}
    return Kind(
        spec["group"], version["name"], names["kind"], names["plural"], names.get("singular", names["kind"].lower()),
        tuple(names.get("shortNames") or ()), tuple(names.get("categories") or ()), spec["scope"] == "Namespaced",
        schema=version["schema"]["openAPIV3Schema"], status="status" in subresources, custom=True, generation=True,
        scale=_scale(version),
        columns=tuple(version.get("additionalPrinterColumns") or ()), storage_version=storage, list_kind=names.get("listKind", ""),
        selectable=tuple(one["jsonPath"] for one in version.get("selectableFields") or ()),
    )  # fmt: skip


def _scale(version: Json) -> Scale | None:
    scale = (version.get("subresources") or {}).get("scale")
    if not scale:
        return None
    return Scale(*(_path(scale.get(name, "")) for name in ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")))


def _path(written: str) -> tuple[str, ...]:
    return tuple(part for part in written.split(".") if part)


def status_of(definition: Json, now: str) -> Json:
    """The status of an accepted definition, once it serves."""
    kept = {condition["type"]: condition for condition in (definition.get("status") or {}).get("conditions") or []}
    made = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    conditions = [
        kept.get(kind) or {"lastTransitionTime": now, "message": message, "reason": reason, "status": "True", "type": kind}
        for kind, reason, message in made
    ]
    stored = (definition.get("status") or {}).get("storedVersions") or []
    storage = next(version["name"] for version in definition["spec"]["versions"] if version["storage"])
    return {
        "acceptedNames": definition["spec"]["names"],
        "conditions": conditions,
        "storedVersions": [*stored, *([] if storage in stored else [storage])],
    }
