"""Judges a value against an OpenAPI v3 schema, in the words of the API server. CEL rules are rules.py's.

Follows kube-openapi/pkg/validation and apiextensions-apiserver/pkg/apiserver/validation: paths such as spec.steps[0].weight,
one `Cause` per finding.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.fakes.apiserver.admitting.shape import EMBEDDED
from tests.fakes.apiserver.failures import Cause, mistyped, required, shown, unsupported, wrong
from tests.fakes.apiserver.storing.fields import element
from tests.fakes.apiserver.storing.models import Schema, node

_FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "uuid": re.compile(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}"),
    "ipv4": re.compile(r"(\d{1,3}\.){3}\d{1,3}"),
}
_BITS = {"int32": 31, "int64": 63}


@cache
def _pattern(written: str) -> re.Pattern[str]:
    return re.compile(written.replace(r"\z", r"\Z").replace("[[:alnum:]]", "[0-9A-Za-z]"))


_NEW = object()  # no old value to compare with


def validate(schema: Schema, value: Any, *, root: bool = True, old: Any = _NEW) -> list[Cause]:
    """All findings, in the order of the schema; an empty list means valid. What an update left as it was is not judged again."""
    return list(_validate(node(schema), value, "", root, old))


def type_of(value: Any) -> str:
    for name, kinds in (
        ("boolean", bool),
        ("integer", int),
        ("number", float),
        ("string", str),
        ("array", list),
        ("object", dict),
    ):
        if isinstance(value, kinds):  # type: ignore[arg-type]
            return name
    return "null"


def _validate(schema: Schema, value: Any, path: str, root: bool = False, old: Any = _NEW) -> Iterator[Cause]:
    if (value is None and schema.get("nullable")) or value == old:
        return
    wanted, found = schema.get("type"), type_of(value)
    if schema.get("x-kubernetes-int-or-string"):
        if found not in ("integer", "string"):
            yield mistyped(path, found, f'{path} in body must be of type integer,string: "{found}"')
            return
    elif wanted and not _fits(wanted, found, value):
        yield mistyped(path, found, f'{path} in body must be of type {wanted}: "{found}"')
        return
    if found in ("integer", "number"):
        yield from _number(schema, value, path)
    elif found == "string":
        yield from _text(schema, value, path)
    elif found == "array":
        yield from _list(schema, value, path, old)
    elif found == "object":
        yield from _object(schema, value, path, root, old)
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(path, value, schema["enum"])
    yield from _combined(schema, value, path)


def _fits(wanted: str, found: str, value: Any) -> bool:
    if wanted == "number":
        return found in ("number", "integer")
    return wanted == found or (wanted == "integer" and found == "number" and value == int(value))


def _number(schema: Schema, value: float, path: str) -> Iterator[Cause]:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low):
        yield wrong(
            path,
            value,
            f"{path} in body should be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{low}",
        )
    if high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high):
        yield wrong(
            path, value, f"{path} in body should be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{high}"
        )
    if step is not None and abs(value / step - round(value / step)) > 1e-9:
        yield wrong(path, value, f"{path} in body should be a multiple of {step}")
    if (
        schema.get("format") in _BITS
        and isinstance(value, int)
        and not -(1 << _BITS[schema["format"]]) <= value < 1 << _BITS[schema["format"]]
    ):
        yield wrong(path, value, f"{path} in body must be of type {schema['format']}: {shown(value)}")


def _text(schema: Schema, value: str, path: str) -> Iterator[Cause]:
    low, high = schema.get("minLength"), schema.get("maxLength")
    if high is not None and len(value) > high:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {high} bytes", path)
    if low is not None and len(value) < low:
        yield wrong(path, value, f"{path} in body should be at least {low} chars long")
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield wrong(path, value, f"{path} in body should match '{schema['pattern']}'")
    shape = _FORMATS.get(schema.get("format", ""))
    if shape and not shape.fullmatch(value):
        yield wrong(path, value, f"{path} in body must be of type {schema['format']}: {shown(value)}")


def _list(schema: Schema, value: list[Any], path: str, old: Any) -> Iterator[Cause]:
    low, high = schema.get("minItems"), schema.get("maxItems")
    if high is not None and len(value) > high:
        yield Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {high} items", path)
    if low is not None and len(value) < low:
        yield wrong(path, len(value), f"{path} in body should have at least {low} items")
    keyed = schema.get("x-kubernetes-list-type") == "map" and isinstance(old, list)
    before = {element(schema, item): item for item in old} if keyed else {}
    for index, item in enumerate(value):
        if "items" in schema:
            was = before.get(element(schema, item), _NEW) if keyed else _NEW
            yield from _validate(node(schema["items"]), item, f"{path}[{index}]", old=was)
    yield from _repeated(schema, value, path)


def _repeated(schema: Schema, value: list[Any], path: str) -> Iterator[Cause]:
    seen: list[Any] = []
    keys = schema.get("x-kubernetes-list-map-keys", [])
    if schema.get("x-kubernetes-list-type") not in ("set", "map"):
        return
    for index, item in enumerate(value):
        key = {name: item.get(name) for name in keys if name in item} if keys and isinstance(item, dict) else item
        if key in seen:
            written = "{" + ",".join(f'"{k}":{shown(v)}' for k, v in key.items()) + "}" if isinstance(key, dict) else shown(key)
            yield Cause("FieldValueDuplicate", f"Duplicate value: {written}", f"{path}[{index}]")
        seen.append(key)


def _object(schema: Schema, value: dict[str, Any], path: str, root: bool, old: Any) -> Iterator[Cause]:
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    if high is not None and len(value) > high:
        yield Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {high} items", path)
    if low is not None and len(value) < low:
        yield wrong(path, len(value), f"{path} in body should have at least {low} properties")
    for name in schema.get("required", []):
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    if schema.get(EMBEDDED):
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                yield required(f"{path}.{name}", "must not be empty")
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    for name, item in value.items():
        if root and name in ("apiVersion", "kind", "metadata"):
            continue
        inner = properties.get(name) or (more if isinstance(more, dict) else None)
        if inner is not None:
            was = old.get(name, _NEW) if isinstance(old, dict) else _NEW
            yield from _validate(node(inner), item, f"{path}.{name}" if path else name, old=was)


def _combined(schema: Schema, value: Any, path: str) -> Iterator[Cause]:
    for inner in schema.get("allOf", []):
        yield from _validate(inner, value, path)
    for word, judged in (("anyOf", schema.get("anyOf")), ("oneOf", schema.get("oneOf"))):
        if not judged:
            continue
        passed = sum(not list(_validate(inner, value, path)) for inner in judged)
        if passed == 0 and word == "anyOf":
            yield wrong(path, value, f"{path} in body must validate at least one schema (anyOf)")
        if passed != 1 and word == "oneOf":
            found = "none valid" if passed == 0 else f"valid {passed}"
            yield wrong(path, value, f"{path} in body must validate one and only one schema (oneOf). Found {found}")
    if "not" in schema and not list(_validate(schema["not"], value, path)):
        yield wrong(path, value, f"{path} in body must not validate the schema (not)")
