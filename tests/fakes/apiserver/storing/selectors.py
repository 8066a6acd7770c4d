"""Label and field selectors, parsed once and asked often."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.apiserver.failures import bad_request
from tests.fakes.apiserver.storing.kinds import Kind

Matches = Callable[[Mapping[str, Any]], bool]
_SPLIT = re.compile(r",(?![^(]*\))")
_SETS = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)")
_NUMBERS = re.compile(r"(?P<key>[^\s!=,()<>]+)\s*(?P<op>[<>])\s*(?P<value>-?\d+)")
_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    ("", "secrets"): ("type",),
    ("", "namespaces"): ("status.phase",),
    ("", "events"): (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion",
        "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"),
}  # fmt: skip


def labels_match(written: str) -> Callable[[Mapping[str, str]], bool]:
    """A label selector such as `app=x,tier in (a, b),!old`; raises Refused (400)."""
    tests = [_requirement(part.strip()) for part in _SPLIT.split(written) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SETS.fullmatch(part):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        return (
            (lambda labels: labels.get(key) in values)
            if found["op"] == "in"
            else (lambda labels: labels.get(key) not in values)
        )
    if found := _NUMBERS.fullmatch(part):
        key, value, less = found["key"], int(found["value"]), found["op"] == "<"
        return lambda labels: labels.get(key, "").isdigit() and (int(labels[key]) < value) == less and int(labels[key]) != value
    if found := re.fullmatch(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)", part):
        key, op, value = found.groups()
        return (lambda labels: labels.get(key) != value) if op == "!=" else (lambda labels: labels.get(key) == value)
    if found := re.fullmatch(r"(!?)\s*([^\s!=,()]+)", part):
        key, absent = found[2], bool(found[1])
        return lambda labels: (key in labels) != absent
    raise bad_request(f"unable to parse requirement: found '{part}', expected: identifier")


def selector_of(written: Mapping[str, Any]) -> Callable[[Mapping[str, str]], bool]:
    """A LabelSelector object: matchLabels and matchExpressions."""
    tests: list[Callable[[Mapping[str, str]], bool]] = []
    for key, value in written.get("matchLabels", {}).items():
        tests.append(lambda labels, key=key, value=value: labels.get(key) == value)  # type: ignore[misc]
    for one in written.get("matchExpressions", []):
        word = {"In": "in", "NotIn": "notin"}.get(one["operator"])
        values = ",".join(one.get("values", []))
        part = f"{one['key']} {word} ({values})" if word else one["key"] if one["operator"] == "Exists" else f"!{one['key']}"
        tests.append(_requirement(part))
    return lambda labels: all(test(labels) for test in tests)


def at_path(obj: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def fields_match(kind: Kind, written: str) -> Matches:
    """A field selector; raises Refused (400) for a field that the kind does not select by."""
    tests: list[Matches] = []
    known = (
        "metadata.name",
        "metadata.namespace",
        *_FIELDS.get(kind.resource, ()),
        *(path.lstrip(".") for path in kind.selectable),
    )
    for part in written.split(","):
        if not part.strip():
            continue
        found = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part.strip())
        if not found:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path, op, value = found.groups()
        if path not in known or (path == "metadata.namespace" and not kind.namespaced):
            raise bad_request(
                f"field label not supported: {path}"
                if kind.custom
                else f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
        tests.append(lambda obj, path=path, value=value, same=op != "!=": (_as_text(at_path(obj, path)) == value) == same)  # type: ignore[misc]
    return lambda obj: all(test(obj) for test in tests)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def matcher(kind: Kind, labels: str, fields: str) -> Matches:
    """Both selectors in one; an object matches when both do."""
    by_label, by_field = labels_match(labels), fields_match(kind, fields)
    return lambda obj: by_label(obj["metadata"].get("labels") or {}) and by_field(obj)
