"""A document judged by the schema and rules of its CRD, as the API server would judge it: types, unknown fields, bounds, CEL.

Pure. `vedette rollout lint` and the local backend have no API server in front of them; with this they refuse what one refuses, by
the same texts. Costs a few milliseconds a document. The one module that evaluates CEL."""

import difflib
import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cel

from operators.api.schema import Schema
from operators.rollout.spec import DURATION

Path = tuple[str | int, ...]
MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. what: a claim about the value at `path`, and the way out.

    is_shape: it is not even of the right type; rules have nothing to say about it."""

    path: Path
    what: str
    is_shape: bool = False

    def __str__(self) -> str:
        return f"{where(self.path)}: {self.what}"


def where(path: Path) -> str:
    """A path as people write it: spec.steps[2].setWeight."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".") or "the document"


def defaulted(schema: Schema, value: Any) -> Any:
    """The value as the API server would keep it: nulls go where none are allowed, absent fields take their default; at every depth."""
    if isinstance(value, Mapping) and "properties" in schema:
        fields = schema["properties"]
        said = {k: v for k, v in value.items() if v is not None or k not in fields or fields[k].get("nullable")}
        filled = {k: f["default"] for k, f in fields.items() if "default" in f and k not in said}
        return {k: defaulted(fields.get(k, {}), v) for k, v in (*said.items(), *filled.items())}
    if isinstance(value, Mapping) and "additionalProperties" in schema:
        return {k: defaulted(schema["additionalProperties"], v) for k, v in value.items()}
    if isinstance(value, list) and "items" in schema:
        return [defaulted(schema["items"], v) for v in value]
    return value


def judge(schema: Schema, value: Any, old: Any = MISSING, path: Path = ()) -> Iterator[Finding]:
    """Everything wrong with a defaulted value. old: what it was before a change; without it, rules about changes do not hold."""
    wrong = _shape(schema, value, path)
    if wrong is not None:
        yield wrong
        return
    yield from _bounds(schema, value, path)
    shapeless = []
    for finding in _below(schema, value, old, path):
        shapeless += [finding.path] if finding.is_shape else []
        yield finding
    for finding in _rules(schema, value, old, path):
        if not any(is_within(p, finding.path) or is_within(finding.path, p) for p in shapeless):
            yield finding


def is_within(path: Path, whole: Path) -> bool:
    """Whether a path lies at or below another."""
    return path[: len(whole)] == whole


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_WANTED: Final = {
    "object": "fields below it",
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number without quotes",
    "number": "a number without quotes",
}


def _shape(schema: Schema, value: Any, path: Path) -> Finding | None:
    kind = schema.get("type")
    if kind is None or (value is None and schema.get("nullable")):
        return None
    if value is None:
        return Finding(path, "is null; leave the field out, or give it a value", is_shape=True)
    is_whole = kind == "integer" and isinstance(value, float) and value.is_integer()
    if (isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind != "boolean")) or is_whole:
        return None
    return Finding(path, f"is {_json(value)}, expected {_WANTED.get(kind) or _as_text(schema, value)}", is_shape=True)


def _as_text(schema: Schema, value: Any) -> str:
    if schema.get("pattern") == DURATION and not isinstance(value, bool):
        return f"a duration with its unit, such as {value}s"
    if isinstance(value, bool):
        return "text; YAML takes on, off, yes and no for true and false: put it into quotes"
    return f'text; put it into quotes if it is meant: "{value}"' if isinstance(value, int | float) else "text"


def _json(value: Any) -> str:
    """As it was written, more or less, and not at any length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _below(schema: Schema, value: Any, old: Any, path: Path) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        fields, rest = schema.get("properties"), schema.get("additionalProperties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield Finding((*path, name), f"is missing ({_description(schema['properties'][name])})", is_shape=True)
        for key, inner in value.items():
            before = old.get(key, MISSING) if isinstance(old, Mapping) else MISSING
            if fields is not None and key not in fields:
                if not schema.get("x-kubernetes-preserve-unknown-fields"):
                    yield Finding((*path, key), _unknown(str(key), fields))
            else:
                yield from judge(rest if fields is None else fields[key], inner, before, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from judge(schema["items"], inner, MISSING, (*path, index))  # items have no identity over a change


def _unknown(name: str, fields: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, fields, n=1)
    return f"is no field here; {f'did you mean {near[0]}? ' if near else ''}The fields are {', '.join(fields)}"


def _bounds(schema: Schema, value: Any, path: Path) -> Iterator[Finding]:
    if value is None:
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Finding(path, f"is {_json(value)}, expected one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value) and not _speaks(schema):
        yield Finding(path, f"is {_json(value)}, expected to match {schema['pattern']} ({_description(schema)})")
    if isinstance(value, int | float) and not isinstance(value, bool) and not _speaks(schema):
        yield from _range(schema, value, path)
    for size, (least, most) in {
        str: ("minLength", "maxLength"),
        list: ("minItems", "maxItems"),
        dict: ("", "maxProperties"),
    }.items():
        if isinstance(value, size) and not schema.get(least, 0) <= len(value) <= schema.get(most, len(value)):
            unit = "characters" if size is str else "entries"
            bounds = f"{schema.get(least, 0)} to {schema.get(most, 'any number of')}"
            yield Finding(path, f"has {len(value)} {unit}, expected {bounds} ({_description(schema)})")


def _range(schema: Schema, value: float, path: Path) -> Iterator[Finding]:
    low, high = schema.get("minimum"), schema.get("maximum")
    is_low = low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low)
    is_high = high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high)
    if is_low or is_high:
        bounds = [f"{'above' if schema.get('exclusiveMinimum') else 'at least'} {low}"] if low is not None else []
        bounds += [f"{'below' if schema.get('exclusiveMaximum') else 'at most'} {high}"] if high is not None else []
        yield Finding(path, f"is {value}, expected {' and '.join(bounds)} ({_description(schema)})")


def _speaks(schema: Schema) -> bool:
    """Whether a rule of the field says the same as its pattern or range, with better words."""
    return any("oldSelf" not in rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))


def _description(schema: Schema) -> str:
    return str(schema.get("description", "")).partition(". ")[0].rstrip(".") or "described in the reference"


def _rules(schema: Schema, value: Any, old: Any, path: Path) -> Iterator[Finding]:
    known: dict[str, Any] = {}
    for rule in schema.get("x-kubernetes-validations", ()):
        is_change = "oldSelf" in rule["rule"]
        if value is None or (is_change and old is MISSING):
            continue
        known = known or {"self": _typed(schema, value)}
        if is_change:
            known["oldSelf"] = _typed(schema, old)
        if _evaluate(rule["rule"], known) is True:
            continue
        spoken = _evaluate(rule["messageExpression"], known) if "messageExpression" in rule else None
        at = tuple(part for part in rule.get("fieldPath", "").split(".") if part)
        yield Finding((*path, *at), spoken if isinstance(spoken, str) else rule["message"])


def _evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """What CEL makes of it; None if it cannot be evaluated, as with a wrong type deeper down that has its own finding."""
    try:
        return _program(expression).execute(cel.Context(variables=dict(variables), functions=dict(_KUBERNETES)))
    except (RuntimeError, TypeError, ValueError, LookupError):
        return None


@functools.cache
def _program(expression: str) -> Any:
    return cel.compile(expression)


def _typed(schema: Schema, value: Any) -> Any:
    """As CEL sees it in the API server: a `number` is a double, however it was written."""
    if isinstance(value, Mapping):
        fields, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        return {k: _typed(fields.get(k, rest), v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), v) for v in value]
    is_number = schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_number else value


def _is_sorted(values: Sequence[Any]) -> bool:
    return all(a <= b for a, b in itertools.pairwise(values))


def _shown(value: Any) -> str:
    """As `%s` shows it: numbers without needless digits, texts quoted within a list only."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(json.dumps(v) if isinstance(v, str) else _shown(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


_KUBERNETES: Final[Mapping[str, Any]] = {
    "isSorted": _is_sorted,
    "sum": sum,
    "format": lambda template, values: template % tuple(map(_shown, values)),
}
"""What Kubernetes adds to CEL, as far as the rules use it."""
