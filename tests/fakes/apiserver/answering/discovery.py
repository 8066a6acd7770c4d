"""What clients ask before they ask for anything: versions, groups, resources, OpenAPI. Built from the registry."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.fakes.apiserver.storing.kinds import Kind, Registry
from tests.fakes.apiserver.storing.models import schema_of
from tests.fakes.apiserver.storing.objects import schema_for

Json = dict[str, Any]
VERSION = {
    "major": "1", "minor": "36", "gitVersion": "v1.36.0+fake", "gitCommit": "", "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
}  # fmt: skip


def _order(version: str) -> tuple[int, int, int]:
    """Kubernetes' order of versions: v2 before v1 before v1beta1 before v1alpha1."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return (9, 0, 0)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return stage, -int(found[1]), -int(found[3] or 0)


def groups(kinds: Registry) -> dict[str, list[str]]:
    """Versions by named group, preferred first."""
    found: dict[str, set[str]] = {}
    for kind in kinds.all():
        if kind.group:
            found.setdefault(kind.group, set()).add(kind.version)
    return {group: sorted(versions, key=_order) for group, versions in found.items()}


def group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(kinds: Registry) -> Json:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [group(name, versions) for name, versions in groups(kinds).items()],
    }


def core_versions(host: str) -> Json:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def resource_list(kinds: Registry, group: str, version: str) -> Json | None:
    """The resources of one group version, with their subresources; None where nothing serves it."""
    served = [kind for kind in kinds.all() if (kind.group, kind.version) == (group, version)]
    if not served:
        return None
    resources = [entry for kind in served for entry in _entries(kind)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _entries(kind: Kind) -> Iterable[Json]:
    verbs = sorted(kind.verbs)
    entry: Json = {
        "name": kind.plural,
        "singularName": kind.singular or kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs,
    }
    entry |= {"shortNames": list(kind.short)} if kind.short else {}
    yield entry | ({"categories": list(kind.categories)} if kind.categories else {})
    under = {"singularName": "", "namespaced": kind.namespaced}
    if kind.status:
        yield under | {"name": f"{kind.plural}/status", "kind": kind.kind, "verbs": ["get", "patch", "update"]}
    if kind.scale:
        yield under | {
            "name": f"{kind.plural}/scale",
            "group": "autoscaling",
            "version": "v1",
            "kind": "Scale",
            "verbs": ["get", "patch", "update"],
        }
    if kind.resource == ("", "serviceaccounts"):
        yield under | {
            "name": "serviceaccounts/token",
            "group": "authentication.k8s.io",
            "version": "v1",
            "kind": "TokenRequest",
            "verbs": ["create"],
        }


def aggregated(kinds: Registry, core: bool) -> Json:
    """apidiscovery.k8s.io/v2: everything in one answer; kubectl asks for this form first."""
    named = {"": ["v1"]} if core else groups(kinds)
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [_freshly(kinds, name, version) for version in versions],
        }
        for name, versions in named.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _freshly(kinds: Registry, group: str, version: str) -> Json:
    resources = [_aggregated(kind) for kind in kinds.all() if (kind.group, kind.version) == (group, version)]
    return {"version": version, "freshness": "Current", "resources": resources}


def _aggregated(kind: Kind) -> Json:
    scope = "Namespaced" if kind.namespaced else "Cluster"
    entry: Json = {
        "resource": kind.plural, "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind}, "scope": scope,
        "singularResource": kind.singular or kind.kind.lower(), "verbs": sorted(kind.verbs),
    }  # fmt: skip
    entry |= {"shortNames": list(kind.short)} if kind.short else {}
    entry |= {"categories": list(kind.categories)} if kind.categories else {}
    below = []
    for sub in list(_entries(kind))[1:]:
        answers = {"group": sub.get("group", kind.group), "version": sub.get("version", kind.version), "kind": sub["kind"]}
        below.append({"subresource": sub["name"].partition("/")[2], "responseKind": answers, "verbs": sub["verbs"]})
    return entry | ({"subresources": below} if below else {})


def openapi_index(kinds: Registry) -> Json:
    """/openapi/v3: where each group version's document is."""
    found = {"api/v1" if not kind.group else f"apis/{kind.group}/{kind.version}" for kind in kinds.all()}
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={abs(hash(path)):x}"} for path in sorted(found)}}


def openapi_v3(kinds: Registry, group: str, version: str) -> Json | None:
    """One group version's OpenAPI document: schemas for `kubectl explain`, and that PATCH validates fields."""
    served = [kind for kind in kinds.all() if (kind.group, kind.version) == (group, version)]
    if not served:
        return None
    schemas: Json = {}
    paths: Json = {}
    for kind in served:
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        name = f"{'.'.join(reversed((kind.group or 'core').split('.')))}.{kind.version}.{kind.kind}"
        schemas[name] = _document(schema_for(kind) or {"type": "object"}, schemas) | {"x-kubernetes-group-version-kind": [gvk]}
        schemas[name]["properties"] = (
            _HEAD | schemas[name].get("properties", {}) | {"metadata": {"$ref": _ref("V1ObjectMeta", schemas)}}
        )
        paths |= _paths(kind, gvk, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


_HEAD = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}


def _paths(kind: Kind, gvk: Json, name: str) -> Json:
    prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else "/api/v1"
    place = f"{prefix}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{prefix}/{kind.plural}"
    answer = {
        "200": {"description": "OK", "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
    }
    asked = [
        {"name": one, "in": "query", "schema": {"type": "string"}} for one in ("dryRun", "fieldManager", "fieldValidation")
    ]

    def operation(action: str) -> Json:
        return {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk, "parameters": asked, "responses": answer}

    single = {"get": operation("get"), "put": operation("put"), "patch": operation("patch"), "delete": operation("delete")}
    return {place: {"get": operation("list"), "post": operation("post")}, f"{place}/{{name}}": single}


def _ref(name: str, schemas: Json) -> str:
    if name not in schemas:
        schemas[name] = {}
        schemas[name] = _document(schema_of(name), schemas)
    return f"#/components/schemas/{name}"


def _document(schema: Any, schemas: Json) -> Any:
    """A schema with its references pointing into the document."""
    if isinstance(schema, Mapping):
        if "$ref" in schema and isinstance(schema["$ref"], str):
            described = {"description": schema["description"]} if "description" in schema else {}
            return {"allOf": [{"$ref": _ref(schema["$ref"], schemas)}]} | described
        return {name: _document(inner, schemas) for name, inner in schema.items()}
    return [_document(inner, schemas) for inner in schema] if isinstance(schema, list | tuple) else schema
