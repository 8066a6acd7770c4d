"""The fields of a CRD as lines: path and type, and whether the field is required. `fields-v1alpha1.txt` was made so."""

from collections.abc import Iterator, Mapping
from typing import Any


def fields_of(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """(path, type) of every field below this schema, and of itself. `{}` is any key of a map, `[]` any item of a list."""
    yield path, schema.get("type") or ("int-or-string" if schema.get("x-kubernetes-int-or-string") else "any")
    for name, inner in schema.get("properties", {}).items():
        yield from fields_of(inner, f"{path}.{name}")
    for key, mark in (("additionalProperties", "{}"), ("items", "[]")):
        if isinstance(schema.get(key), Mapping):
            yield from fields_of(schema[key], path + mark)


def required_in(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths of the fields that an object needs wherever the field above is there."""
    yield from (f"{path}.{name}" for name in schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        yield from required_in(inner, f"{path}.{name}")
    for key, mark in (("additionalProperties", "{}"), ("items", "[]")):
        if isinstance(schema.get(key), Mapping):
            yield from required_in(schema[key], path + mark)
