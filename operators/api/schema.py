"""From a resource's type to the structural schema of its CRD: references inlined, defaults, bounds, words, rules.

Pure. A structural schema is what the API server can prune and default by: every node has one type, no references, no alternatives.
The rules attached to it are operators.api.rules'. A status is typed but not validated further. If it were, the API server could refuse a
person's edit of the spec because of a status that an older operator wrote."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from operators.api.rules import Rule, duration, rules_of
from operators.values import DURATION, format_duration

Schema = dict[str, Any]
BOUNDS: Final = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern", "format")
JUDGING: Final = frozenset(
    {*BOUNDS, "exclusiveMinimum", "exclusiveMaximum", "default", "required", "enum", "x-kubernetes-validations"}
)
"""Keywords that a status is without. It keeps `nullable`, because a null may differ from the default and must come back."""


MISSING: Final = object()


class _Durations(GenerateJsonSchema):
    """Defaults as people write them: 5m, not PT5M."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def structural(model: type[BaseModel]) -> Schema:
    """The openAPIV3Schema of a resource: `spec` judged, `status` typed. Raises TypeError for a type that has no such schema."""
    whole = model.model_json_schema(by_alias=True, schema_generator=_Durations)
    parts = _Inliner(whole.get("$defs", {})).convert(whole, model.__name__)
    properties = parts["properties"]
    return {
        "type": "object",
        "description": _text(whole.get("description", "")),
        **({"required": ["spec"]} if "spec" in whole.get("required", ()) else {}),
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the resource."},
            "kind": {"type": "string", "description": "Name of the resource's type."},
            "metadata": {"type": "object"},
            "spec": properties["spec"],
            "status": _unjudged({k: v for k, v in properties["status"].items() if k != "default"}),
        },
    }


class _Inliner:
    """Turns pydantic's JSON schema into structural form; knows the definitions it may refer to."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self.definitions = definitions

    def convert(self, node: Mapping[str, Any], owner: str = "") -> Schema:
        """One node and all below it. owner: name of the class that it is the schema of."""
        if "$ref" in node:
            owner = str(node["$ref"]).rpartition("/")[2]
            node = {**self.definitions[owner], **{k: v for k, v in node.items() if k != "$ref"}}
        if "anyOf" in node:
            return self._optional(node, owner)
        kind = node.get("type")
        if kind is None:
            raise TypeError(f"{owner or node}: has no type that a structural schema can name")
        out: Schema = {"type": kind}
        if node.get("description"):
            out["description"] = _text(node["description"])
        out |= {key: node[key] for key in (*BOUNDS, "enum") if key in node} | _exclusive(node)
        if kind == "integer":
            out["format"] = "int64"
        if kind == "array":
            out |= {"items": _as_written(self.convert(_item(node))), "x-kubernetes-list-type": "atomic"}
        if kind == "object":
            out |= self._object(node, owner)
        if node.get("default") is not None:
            out["default"] = _plain(node["default"])
        return _with_rules(out, rules_of(owner) if owner and kind == "object" else ())

    def _optional(self, node: Mapping[str, Any], owner: str) -> Schema:
        """`X or null`. The API server drops a null that is not `nullable`: that is right if null means the same as a missing field, and
        wrong if a missing field gets a default or is not allowed."""
        (inner,) = (a for a in node["anyOf"] if a.get("type") != "null")
        rest = {k: v for k, v in node.items() if k != "anyOf"}
        out = self.convert({**inner, **rest}, owner)
        if node.get("default", MISSING) is not None:
            out["nullable"] = True
        return out

    def _object(self, node: Mapping[str, Any], owner: str) -> Schema:
        if "properties" not in node:
            values = node.get("additionalProperties", True)
            return (
                {"x-kubernetes-preserve-unknown-fields": True}
                if values is True
                else {"additionalProperties": self.convert(values)}
            )
        fields: Schema = {}
        for name, field in node["properties"].items():
            fields[name] = self.convert(field)
            own = rules_of(f"{owner}.{name}") or ((duration(),) if fields[name].get("pattern") == DURATION else ())
            fields[name] = _with_rules(fields[name], own)
        required = {"required": sorted(node["required"])} if node.get("required") else {}
        return {"properties": fields, **required}


def _item(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pair is a list of two of the same."""
    if "prefixItems" not in node:
        found: Mapping[str, Any] = node["items"]
        return found
    first, *others = node["prefixItems"]
    if any(other != first for other in others):
        raise TypeError(f"{node}: a structural schema has lists of one type")
    return dict(first)


def _as_written(node: Schema) -> Schema:
    """An item without defaults, which its descriptions say instead: they come in when it is read. A list is one value, and a value that
    the API server had filled in would conflict with the next server-side apply of the same manifest."""
    out = {k: v for k, v in node.items() if k != "default"}
    if isinstance(default := node.get("default"), int | float | str):
        out["description"] = f"{node.get('description', '')} [default: {default}]".strip()
    if "properties" in out:
        out["properties"] = {name: _as_written(field) for name, field in out["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if inner in out:
            out[inner] = _as_written(out[inner])
    return out


def _exclusive(node: Mapping[str, Any]) -> Schema:
    """JSON Schema's exclusive bounds are numbers, OpenAPI's are flags."""
    out: Schema = {}
    for bound in ("minimum", "maximum"):
        flag = f"exclusive{bound.capitalize()}"
        if flag in node:
            out |= {bound: node[flag], flag: True}
    return out


def _with_rules(schema: Schema, rules: tuple[Rule, ...]) -> Schema:
    if not rules:
        return schema
    return {
        **schema,
        "x-kubernetes-validations": [*schema.get("x-kubernetes-validations", ()), *(r.as_resource() for r in rules)],
    }


def _plain(value: Any) -> Any:
    """A default as people would write it: without unset fields, whole numbers without a fraction."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unjudged(node: Any) -> Any:
    if isinstance(node, list):
        return [_unjudged(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {k: _unjudged(v) for k, v in node.items() if k not in JUDGING and k != "properties"}
    if "properties" in node:
        out["properties"] = {name: _unjudged(field) for name, field in node["properties"].items()}
    return out


def _text(description: str) -> str:
    return " ".join(description.split())
