"""A document compared with the schema of its CRD, as the API server does: types, unknown fields, bounds. Pure.

`vedette rollout lint` and the local backend have no API server in front of them. The types check the rules that a schema cannot express;
operators.api.read combines both."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from operators.api.schema import Schema
from operators.values import DURATION

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. what: a claim about the value at `path`, and the way out."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{where(self.path)}: {self.what}"


def where(path: Path) -> str:
    """A path as people write it: spec.steps[2].setWeight."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".") or "the document"


def defaulted(schema: Schema, value: Any) -> Any:
    """The value as the API server would keep it: nulls go where none are allowed, absent fields take their default; at every depth."""
    if isinstance(value, Mapping) and "properties" in schema:
        fields = schema["properties"]
        given = {k: v for k, v in value.items() if v is not None or k not in fields or fields[k].get("nullable")}
        filled = {k: f["default"] for k, f in fields.items() if "default" in f and k not in given}
        return {k: defaulted(fields.get(k, {}), v) for k, v in (*given.items(), *filled.items())}
    if isinstance(value, Mapping) and "additionalProperties" in schema:
        return {k: defaulted(schema["additionalProperties"], v) for k, v in value.items()}
    if isinstance(value, list) and "items" in schema:
        return [defaulted(schema["items"], v) for v in value]
    return value


def judge(schema: Schema, value: Any, path: Path = ()) -> Iterator[Finding]:
    """Everything in which a defaulted value differs from its schema."""
    wrong = _shape(schema, value, path)
    if wrong is not None:
        yield wrong
        return
    yield from _bounds(schema, value, path)
    yield from _below(schema, value, path)


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
        return Finding(path, "is null; leave the field out, or give it a value")
    is_whole = kind == "integer" and isinstance(value, float) and value.is_integer()
    if (isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind != "boolean")) or is_whole:
        return None
    return Finding(path, f"is {_json(value)}, expected {_WANTED.get(kind) or _as_text(schema, value)}")


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


def _below(schema: Schema, value: Any, path: Path) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        fields, rest = schema.get("properties"), schema.get("additionalProperties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield Finding((*path, name), f"is missing ({_description(schema['properties'][name])})")
        for key, inner in value.items():
            if fields is not None and key not in fields:
                if not schema.get("x-kubernetes-preserve-unknown-fields"):
                    yield Finding((*path, key), _unknown(str(key), fields))
            else:
                yield from judge(rest if fields is None else fields[key], inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from judge(schema.get("items", {}), inner, (*path, index))


def _unknown(name: str, fields: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, fields, n=1)
    return f"is no field here; {f'did you mean {near[0]}? ' if near else ''}The fields are {', '.join(fields)}"


def _bounds(schema: Schema, value: Any, path: Path) -> Iterator[Finding]:
    if value is None:
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Finding(path, f"is {_json(value)}, expected one of {', '.join(map(str, schema['enum']))}")
    if (
        isinstance(value, str)
        and "pattern" in schema
        and not re.search(schema["pattern"], value)
        and not _is_said_by_type(schema)
    ):
        yield Finding(path, f"is {_json(value)}, expected to match {schema['pattern']} ({_description(schema)})")
    if isinstance(value, int | float) and not isinstance(value, bool) and not _is_said_by_type(schema):
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


def _is_said_by_type(schema: Schema) -> bool:
    """Whether the field's type says the same as its pattern or range, with better words: it does where the CRD has a rule."""
    return any("oldSelf" not in rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))


def _description(schema: Schema) -> str:
    return str(schema.get("description", "")).partition(". ")[0].rstrip(".") or "described in the reference"
