"""The other forms in which objects are asked for: Tables for people (`kubectl get`), and their metadata alone.

Follows apiextensions-apiserver/pkg/registry/customresource/tableconvertor for custom columns; built-in kinds show what a
person needs to tell them apart, not every column of the real printers.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.fakes.apiserver.storing.kinds import Kind

Json = dict[str, Any]
_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "The name of the object, unique within its namespace.",
    "priority": 0,
}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_BUILT_IN: dict[str, tuple[Mapping[str, Any], ...]] = {
    "Namespace": ({"name": "Status", "type": "string", "jsonPath": ".status.phase"}, _AGE),
    "Pod": ({"name": "Status", "type": "string", "jsonPath": ".status.phase"}, _AGE),
    "Lease": ({"name": "Holder", "type": "string", "jsonPath": ".spec.holderIdentity"}, _AGE),
    "Event": (
        {"name": "Type", "type": "string", "jsonPath": ".type"},
        {"name": "Reason", "type": "string", "jsonPath": ".reason"},
        {"name": "Object", "type": "string", "jsonPath": ".involvedObject.name"},
        {"name": "Message", "type": "string", "jsonPath": ".message"},
    ),
    "Deployment": (
        {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Available", "type": "integer", "jsonPath": ".status.availableReplicas"},
        _AGE,
    ),
    "CustomResourceDefinition": ({"name": "Created At", "type": "string", "jsonPath": ".metadata.creationTimestamp"},),
}
_FILTER = re.compile(r"""\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)""")
_STEP = re.compile(r"""\.((?:\\.|[^.\[])+)|\[([^\]]*)\]""")


def wanted(accept: str) -> str:
    """ "Table", "PartialObjectMetadata" or "PartialObjectMetadataList" where the client asks for that form first, else ""."""
    first = accept.partition(",")[0]
    found = re.search(r"as=(Table|PartialObjectMetadata(?:List)?)\b", first)
    return found[1] if found and "meta.k8s.io" in first else ""


def formed(kind: Kind, form: str, body: Json) -> Json:
    """A list or an object in the form asked for; a Status stays what it is."""
    if not form or body.get("kind") == "Status":
        return body
    items = body.get("items", [body])
    if form == "Table":
        meta = body["metadata"] if "items" in body else {"resourceVersion": body["metadata"].get("resourceVersion", "")}
        return table(kind, items, meta)
    if "items" in body:
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": body["metadata"],
            "items": [*map(partial, items)],
        }
    return partial(body)


def partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def columns_of(kind: Kind) -> Sequence[Mapping[str, Any]]:
    return kind.columns or _BUILT_IN.get(kind.kind, (_AGE,))


def table(kind: Kind, items: Sequence[Json], meta: Json) -> Json:
    """A meta.k8s.io/v1 Table of objects."""
    columns = columns_of(kind)
    heads = [
        {
            "name": column["name"],
            "type": column["type"],
            "format": column.get("format", ""),
            "description": column.get("description")
            or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
            "priority": column.get("priority", 0),
        }
        for column in columns
    ]
    rows = [
        {"cells": [obj["metadata"]["name"], *(cell(column, obj) for column in columns)], "object": partial(obj)}
        for obj in items
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [_NAME, *heads],
        "rows": rows,
    }


def cell(column: Mapping[str, Any], obj: Json) -> Any:
    """What a column shows of an object; None where it has nothing."""
    found = at_json_path(obj, column["jsonPath"])
    if not found:
        return None
    value = found[0]
    if column["type"] == "date":
        return age(value) if isinstance(value, str) else "<unknown>"
    if column["type"] == "string":
        return value if isinstance(value, str) else _text(value)
    fits = {"integer": int, "number": (int, float), "boolean": bool}[column["type"]]
    return value if isinstance(value, fits) else None  # type: ignore[arg-type]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def at_json_path(obj: Any, path: str) -> list[Any]:
    """All values at a JSONPath of names, indexes, [*] and [?(@.a=="b")]."""
    values = [obj]
    for name, index in _STEP.findall(path if path.startswith((".", "[")) else f".{path}"):
        if name:
            key = name.replace("\\.", ".")
            values = [value[key] for value in values if isinstance(value, dict) and key in value]
        elif matching := _FILTER.fullmatch(index):
            items = [item for value in values if isinstance(value, list) for item in value]
            values = [item for item in items if at_json_path(item, f".{matching[1]}") == [matching[2]]]
        elif index == "*":
            values = [
                item
                for value in values
                if isinstance(value, list | dict)
                for item in (value.values() if isinstance(value, dict) else value)
            ]
        else:
            at = index.strip("'\"")
            values = [
                value[int(at)]
                for value in values
                if isinstance(value, list) and at.lstrip("-").isdigit() and int(at) < len(value)
            ]
    return values


def age(written: str) -> str:
    """How long ago, in the words of kubectl: 45s, 5m, 3h, 2d."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(written.replace("Z", "+00:00"))).total_seconds()
    except ValueError:
        return "<invalid>"
    for limit, unit, word in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds // unit))}{word}"
    return f"{int(seconds // 86400)}d"
