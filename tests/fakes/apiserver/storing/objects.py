"""What Kubernetes does to one object on its way to the store: decode, stamp, guard, judge. Pure but for the clock given in.

The order of a write is writes.py's; this module has its steps. `Call` is a request once it is understood.
"""

import base64
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.apiserver.admitting import definitions, hook_rules, rules
from tests.fakes.apiserver.admitting.shape import fill, prune, without_nulls
from tests.fakes.apiserver.admitting.validation import validate
from tests.fakes.apiserver.failures import Cause, Refused, bad_request, invalid, not_allowed, required, wrong
from tests.fakes.apiserver.storing.fields import Path, rooted
from tests.fakes.apiserver.storing.kinds import ADMISSION, EXTENSIONS, RBAC, Kind
from tests.fakes.apiserver.storing.models import META, Schema, schema_of, type_name
from tests.fakes.apiserver.storing.store import copied

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_SYSTEM = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "selfLink",
)


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request: what, by whom, and its options. `name` is "" for collections, `subresource` "" for the object itself."""

    verb: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    user: User
    query: Mapping[str, str]
    agent: str = ""
    accept: str = ""
    warnings: list[str] = field(default_factory=list)  # filled while the call is answered; sent as Warning headers

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    @property
    def manager(self) -> str:
        return self.query.get("fieldManager") or self.agent.partition("/")[0] or "unknown"

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def schema_for(kind: Kind) -> Schema | None:
    if kind.schema is not None:
        return kind.schema
    try:
        return schema_of(type_name(kind.group, kind.version, kind.kind))
    except KeyError:
        return None


def typed_schema(kind: Kind) -> Schema:
    """The schema with metadata and type, as field managers see the object."""
    return rooted(schema_for(kind))


def decoded(call: Call, obj: Any) -> Json:
    """A client's object: of the right kind, unknown fields pruned or refused, defaults set. Changes `obj`."""
    kind = call.kind
    if not isinstance(obj, dict):
        raise bad_request(f"couldn't get version/kind; json parse error: {type(obj).__name__} is no object")
    if kind.custom and not obj.get("kind"):
        raise bad_request("Object 'Kind' is missing in the request body")
    version, name = obj.setdefault("apiVersion", kind.api_version), obj.setdefault("kind", kind.kind)
    if name != kind.kind:
        raise bad_request(
            f'{name} in version "{version}" cannot be handled as a {kind.kind}: '
            f"converting ({version}).{name} to ({kind.api_version}).{kind.kind}: unknown conversion"
        )
    if version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    obj["metadata"] = obj.get("metadata") or {}
    schema = schema_for(kind)
    if schema is not None:
        if not kind.custom:
            without_nulls(schema, obj)
        _unknown_fields(call, [*prune(schema, obj), *(f"metadata.{path}" for path in prune(META, obj["metadata"], root=False))])
        fill(schema, obj)
    without_nulls(META, obj["metadata"])
    return obj


def undeclared(call: Call, config: Json) -> None:
    """Refuses unknown fields of an applied configuration, whatever the field validation: they could have no owner."""
    schema = schema_for(call.kind)
    unknown = prune(schema, copied(config)) if schema is not None else []
    if unknown:
        meta, kind = config["metadata"], call.kind
        what = f"({meta.get('namespace', '')}/{meta.get('name', '')}; {kind.api_version}, Kind={kind.kind})"
        told = f".{unknown[0]}: field not declared in schema"
        if len(unknown) > 1:
            told = "errors:\n" + "\n".join(f"  .{path}: field not declared in schema" for path in unknown)
        raise Refused(500, "", f"failed to create typed patch object {what}: {told}")


def _unknown_fields(call: Call, unknown: list[str]) -> None:
    mode = call.query.get("fieldValidation", "Warn")
    said = [f'unknown field "{path}"' for path in unknown]
    if said and mode == "Strict":
        raise bad_request("strict decoding error: " + ", ".join(said))
    if mode == "Warn":
        call.warnings.extend(said)


def named(call: Call, obj: Json) -> None:
    """Settle name and namespace against the URL; raises Refused where they disagree."""
    meta = obj["metadata"]
    if call.kind.namespaced:
        if meta.setdefault("namespace", call.namespace) != call.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    else:
        meta.pop("namespace", None)
    if call.name and meta.setdefault("name", call.name) != call.name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({call.name})")
    if not meta.get("name"):
        if not meta.get("generateName"):
            raise invalid(call.kind.group, call.kind.kind, "", [required("metadata.name", "name or generateName is required")])
        meta["name"] = meta["generateName"] + "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))


def stamped(call: Call, obj: Json, now: str) -> Json:
    """A new object's system fields, and what its kind brings along."""
    kind, meta = call.kind, obj["metadata"]
    for name in (*_SYSTEM[:5], "resourceVersion"):
        meta.pop(name, None)
    meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now}
    if kind.generation:
        meta["generation"] = 1
    if kind.status:
        obj.pop("status", None)
    _born(kind, obj)
    return obj


def _born(kind: Kind, obj: Json) -> None:
    name = obj["metadata"]["name"]
    for key, value in kind.defaults.items():
        obj.setdefault(key, copied(value))
    if kind.group == "" and kind.kind == "Namespace":
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
        obj |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    elif kind.group == "" and kind.kind == "Pod":
        obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    elif kind.group == "" and kind.kind == "Service":
        spec = obj.setdefault("spec", {})
        if spec.get("type") != "ExternalName" and "clusterIP" not in spec:
            spec["clusterIP"] = f"10.0.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
            spec["clusterIPs"] = [spec["clusterIP"]]
    elif kind.group == EXTENSIONS:
        definitions.completed(obj)
    elif kind.status and not kind.custom:
        obj["status"] = {}
    if kind.kind == "Secret" and "stringData" in obj:
        fresh = {key: base64.b64encode(value.encode()).decode() for key, value in obj.pop("stringData").items()}
        obj["data"] = obj.get("data", {}) | fresh


def carried_over(call: Call, live: Json, new: Json) -> Json:
    """An update with everything that updates cannot change taken from the live object, and the generation counted."""
    kind = call.kind
    if call.subresource == "status":
        held = new["metadata"].get("managedFields")
        new = live | {"metadata": live["metadata"] | ({"managedFields": held} if held is not None else {})} | (
            {"status": new["status"]} if "status" in new else {})  # fmt: skip
        if "status" not in new and "status" in live:
            new = {name: value for name, value in new.items() if name != "status"}
        return new
    meta = {name: value for name, value in new["metadata"].items() if name not in _SYSTEM}
    meta |= {name: live["metadata"][name] for name in _SYSTEM if name in live["metadata"]}
    new = new | {"metadata": meta}
    if kind.status:
        new = {name: value for name, value in new.items() if name != "status"} | (
            {"status": live["status"]} if "status" in live else {}
        )
    if kind.group == EXTENSIONS:
        definitions.completed(new)
    if kind.kind == "Secret" and "stringData" in new:
        _born(kind, new)
    if kind.generation and _desired(kind, new) != _desired(kind, live):
        meta["generation"] = live["metadata"].get("generation", 0) + 1
    return new


def _desired(kind: Kind, obj: Json) -> Json:
    return {
        name: value
        for name, value in obj.items()
        if name not in ("metadata", "apiVersion", "kind", *(("status",) if kind.status else ()))
    }


def judged(call: Call, live: Json | None, new: Json) -> None:
    """Raises Refused (422) with all that is wrong with an object."""
    kind, causes = call.kind, _meta_causes(call.kind, live, new)
    schema = schema_for(kind)
    if schema is not None:
        causes += validate(schema, new) if live is None else validate(schema, new, old=live)
        if kind.custom and rules.has_rules(schema):
            blocked = any(cause.reason in rules.BLOCKING for cause in causes)
            causes += [_UNCHECKED] if blocked else rules.judge(schema, new, live)
    if kind.group == EXTENSIONS and not causes:
        causes += definitions.findings(new)
    if kind.group == ADMISSION and not causes:
        causes += hook_rules.findings(new)
    if kind.group == RBAC and live is not None and "roleRef" in new and new["roleRef"] != live.get("roleRef"):
        causes.append(wrong("roleRef", new["roleRef"], "cannot change roleRef"))
    if (
        kind.resource == ("apps", "deployments")
        and live is not None
        and new["spec"].get("selector") != live["spec"].get("selector")
    ):
        causes.append(wrong("spec.selector", new["spec"].get("selector"), "field is immutable"))
    if (
        kind.kind in ("ConfigMap", "Secret")
        and live is not None
        and live.get("immutable")
        and new.get("data") != live.get("data")
    ):
        causes.append(not_allowed("data", "field is immutable when `immutable` is set"))
    if causes:
        raise invalid(kind.group, kind.kind, new["metadata"]["name"], causes)


def _meta_causes(kind: Kind, live: Json | None, new: Json) -> list[Cause]:
    meta = new["metadata"]
    causes: list[Cause] = []
    for owner in meta.get("ownerReferences") or ():
        missing = [name for name in ("apiVersion", "kind", "name", "uid") if not owner.get(name)]
        causes += [wrong(f"metadata.ownerReferences.{name}", "", f"{name} must not be empty") for name in missing]
    causes = causes or validate(META, meta, root=False)
    if causes:
        return [Cause(cause.reason, cause.message, f"metadata.{cause.field.removeprefix('metadata.')}") for cause in causes]
    if live is None:
        fits = (
            _LABEL.fullmatch(meta["name"]) and len(meta["name"]) <= 63
            if kind.kind == "Namespace"
            else _NAME.fullmatch(meta["name"])
        )
        if kind.group != RBAC and (not fits or len(meta["name"]) > 253):
            causes.append(wrong("metadata.name", meta["name"], SUBDOMAIN))
    elif live["metadata"].get("deletionTimestamp"):
        added = set(meta.get("finalizers") or ()) - set(live["metadata"].get("finalizers") or ())
        if added:
            listed = ", ".join(f'"{one}"' for one in sorted(added))
            causes.append(
                not_allowed(
                    "metadata.finalizers",
                    f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}",
                )
            )
    for value in (meta.get("labels") or {}).values():
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            causes.append(wrong("metadata.labels", value, LABEL_VALUE))
    return causes


_UNCHECKED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    "<nil>",
)


def reset_paths(call: Call) -> tuple[Path, ...]:
    """Subtrees that a write at this endpoint cannot own."""
    if call.subresource == "status":
        return (("f:metadata",), ("f:spec",))
    return (("f:status",),) if call.kind.status else ()
