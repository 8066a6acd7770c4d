"""Pruning and defaulting: what an object becomes under its schema before anything judges it.

Follows k8s.io/apiextensions-apiserver/pkg/apiserver/schema (structural schemas). Both change the value in place.
"""

from collections.abc import Iterator
from typing import Any

from tests.fakes.apiserver.storing.models import Schema, node
from tests.fakes.apiserver.storing.store import copied

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
_OBJECT_FIELDS = ("apiVersion", "kind", "metadata")


def prune(schema: Schema, value: Any, *, root: bool = True) -> list[str]:
    """Drop fields that the schema does not know; answers their paths, e.g. spec.steps[0].wait."""
    return list(_prune(node(schema), value, "", root))


def _prune(schema: Schema, value: Any, path: str, root: bool) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if "items" in schema:
                yield from _prune(node(schema["items"]), item, f"{path}[{index}]", False)
        return
    if not isinstance(value, dict):
        return
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    whole = root or schema.get(EMBEDDED)
    for name in list(value):
        at = f"{path}.{name}" if path else name
        if whole and name in _OBJECT_FIELDS:
            continue
        if name in properties:
            yield from _prune(node(properties[name]), value[name], at, False)
        elif isinstance(more, dict):
            yield from _prune(node(more), value[name], at, False)
        elif not schema.get(PRESERVE) and more is not True:
            del value[name]
            yield at


def fill(schema: Schema, value: Any) -> None:
    """Set defaults of missing fields, also within what a default brought; null counts as absent where it is not allowed."""
    schema = node(schema)
    if isinstance(value, list):
        for item in value:
            if "items" in schema:
                fill(schema["items"], item)
        return
    if not isinstance(value, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        inner = node(inner)
        if "default" in inner and (name not in value or (value[name] is None and not inner.get("nullable"))):
            value[name] = copied(inner["default"])
        if value.get(name, "") is None and not inner.get("nullable"):
            del value[name]
        if name in value:
            fill(inner, value[name])
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            if value[name] is None and not more.get("nullable"):
                del value[name]
            else:
                fill(more, value[name])


def without_nulls(schema: Schema, value: Any) -> None:
    """Drop nulls of built-in kinds: for their decoder null and absent are one."""
    schema = node(schema)
    if isinstance(value, list):
        for item in value:
            without_nulls(schema.get("items", {}), item)
    elif isinstance(value, dict) and not schema.get(PRESERVE):
        for name in [name for name, inner in value.items() if inner is None]:
            del value[name]
        for name, inner in value.items():
            without_nulls(schema.get("properties", {}).get(name) or _more(schema), inner)


def _more(schema: Schema) -> Schema:
    more = schema.get("additionalProperties")
    return more if isinstance(more, dict) else {PRESERVE: True}
