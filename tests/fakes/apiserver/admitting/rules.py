"""x-kubernetes-validations: the CEL rules of a custom resource's schema, judged by the `cel` module.

Follows apiextensions-apiserver/pkg/apiserver/schema/cel: `self` and `oldSelf` at each node, transition rules only where
an old value can be told, messageExpression, reason and fieldPath. Not here: cost budgets and type checks of the real server.
A rule that the module cannot read (`?.`, two-variable comprehensions) raises when it would have to be judged: no rule passes unread.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import cel
from cel import stdlib

from tests.fakes.apiserver.failures import Cause, internal, shown
from tests.fakes.apiserver.storing.fields import child, child_item, element
from tests.fakes.apiserver.storing.models import Schema, node

RULES = "x-kubernetes-validations"
BLOCKING = {"FieldValueRequired", "FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueTooLong", "FieldValueTooMany"}
"""Findings of the schema after which a real server leaves the rules alone; it does not after a pattern or a range."""
_KEYWORDS = {
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
    "package", "namespace", "return", "var", "void", "while",
}  # fmt: skip
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@cache
def program(rule: str) -> Any:
    """Raises ValueError where the rule cannot be read."""
    return cel.compile(rule)


def unreadable(rule: str) -> str:
    """Why a rule does not compile, or ""; syntax that only this module lacks is let pass here and met when judged."""
    try:
        program(rule)
    except ValueError as error:
        return "" if "unsupported syntax" in str(error) else str(error).strip()
    return ""


def judge(schema: Schema, new: Any, old: Any = None) -> list[Cause]:
    """All broken rules of a whole object, outermost first; of what an update left as it was, only those that ask for oldSelf."""
    return list(_judge(node(schema), new, old, "", True))


def _judge(schema: Schema, new: Any, old: Any, path: str, root: bool = False) -> Iterator[Cause]:
    if new is None or not has_rules(schema):
        return
    for rule in schema.get(RULES, ()):
        transition = re.search(r"\boldSelf\b", rule["rule"]) is not None
        if (not transition and new != old) or (transition and (old is not None or rule.get("optionalOldSelf"))):
            yield from _broken(schema, rule, new, old, path, transition, root)
    if isinstance(new, list):
        keyed = schema.get("x-kubernetes-list-type") == "map" and isinstance(old, list)
        before = {element(schema, item): item for item in old} if keyed else {}
        for index, item in enumerate(new):
            yield from _judge(
                child_item(schema), item, before.get(element(schema, item)) if keyed else None, f"{path}[{index}]"
            )
    elif isinstance(new, dict):
        for name, item in new.items():
            was = old.get(name) if isinstance(old, dict) else None
            at = f"{path}.{name}" if path else name
            yield from _judge(child(schema, name), item, was, at if name in schema.get("properties", {}) else f"{path}[{name}]")


def has_rules(schema: Schema) -> bool:
    """Whether any rule is here or below; spares the walk through most of an object."""
    if RULES in schema:
        return True
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(isinstance(inner, Mapping) and has_rules(inner) for inner in below)


def _broken(
    schema: Schema, rule: Mapping[str, Any], new: Any, old: Any, path: str, transition: bool, root: bool
) -> Iterator[Cause]:
    known: dict[str, Any] = {"self": cel_value(schema, new, root)}
    if transition:
        was = None if old is None else cel_value(schema, old, root)
        if rule.get("optionalOldSelf"):
            was = cel.OptionalValue.none() if old is None else cel.OptionalValue.of(was)
        known["oldSelf"] = was
    at = path + rule.get("fieldPath", "") if path else rule.get("fieldPath", "").lstrip(".")
    reason = rule.get("reason", "FieldValueInvalid")
    try:
        if evaluate(rule["rule"], known) is True:
            return
        said = _message(rule, known)
    except _Unjudged as error:
        said = f"{error} evaluating rule: {rule.get('message') or rule['rule']}"
    prefix = {
        "FieldValueRequired": "Required value: ",
        "FieldValueForbidden": "Forbidden: ",
        "FieldValueDuplicate": f"Duplicate value: {shown(new)}",
    }
    text = (
        f"Invalid value: {shown(new)}: {said}"
        if reason not in prefix
        else prefix[reason] + (said if reason != "FieldValueDuplicate" else "")
    )
    yield Cause(reason, text, at or "<nil>")


def _message(rule: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if rule.get("messageExpression"):
        try:
            said = evaluate(rule["messageExpression"], known)
        except _Unjudged:
            said = ""
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said.strip()
    return rule.get("message") or f"failed rule: {rule['rule']}"


class _Unjudged(Exception):
    """The rule met an error while it ran, such as a missing key."""


def evaluate(rule: str, known: Mapping[str, Any]) -> Any:
    """The value of one expression. Raises `_Unjudged` for an error in it, `Refused` (500) where it cannot be read here."""
    try:
        ready = program(rule)
    except ValueError as error:
        raise internal(f"this API server cannot judge the rule {rule!r}: {error}") from error
    context = cel.Context(variables=dict(known))
    stdlib.add_stdlib_to_context(context)
    context.add_function("isSorted", lambda items: all(a <= b for a, b in pairwise(items)))
    context.add_function("format", _format)
    context.add_function("find", lambda text, pattern: (re.search(pattern, text) or [""])[0])
    try:
        return ready.execute(context)
    except KeyError as error:
        raise _Unjudged(f"no such key: {str(error).strip(chr(39))}") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise _Unjudged(str(error).split("\n")[0]) from error


def cel_value(schema: Schema, value: Any, root: bool = False) -> Any:
    """A value as CEL sees it under its schema: numbers as double, times and durations typed, only declared fields."""
    schema = node(schema)
    if isinstance(value, list):
        return [cel_value(child_item(schema), item) for item in value]
    if isinstance(value, dict):
        return _cel_object(schema, value, root)
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    if isinstance(value, str) and schema.get("format") == "date-time":
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(value, str) and schema.get("format") == "duration":
        return timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(value)))
    return value


def _cel_object(schema: Schema, value: Mapping[str, Any], root: bool) -> dict[str, Any]:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    seen: dict[str, Any] = {}
    if root or schema.get("x-kubernetes-embedded-resource"):
        meta = value.get("metadata") or {}
        seen["metadata"] = {name: meta[name] for name in ("name", "generateName") if name in meta}
        seen |= {name: value[name] for name in ("apiVersion", "kind") if name in value}
    for name, item in value.items():
        if name in properties and name not in seen:
            seen[escaped(name)] = cel_value(properties[name], item)
        elif isinstance(more, Mapping):
            seen[name] = cel_value(more, item)
    return seen


def escaped(name: str) -> str:
    """A field's name as rules write it: `my-field` is `my__dash__field`, `namespace` is `__namespace__`."""
    if name in _KEYWORDS:
        return f"__{name}__"
    for mark, word in _ESCAPES:
        name = name.replace(mark, word)
    return name


def _format(template: str, values: list[Any]) -> str:
    """cel-go's string.format, as far as %s goes: texts bare, but quoted within a list; numbers without needless digits."""
    return template % tuple(_formatted(value) for value in values)


def _formatted(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(json.dumps(item) if isinstance(item, str) else _formatted(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
