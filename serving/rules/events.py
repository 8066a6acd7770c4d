"""An event as rules see it: values by field name. Windows event records in their usual JSON forms, or any other JSON.

Whatever the form, EventData and UserData give their fields under their own names, System's are Channel, EventID, Provider_Name,
Computer, ...; other JSON is flattened to dotted names (serving.rules.forms). Names lose their spaces (`Threat Name` is
ThreatName)."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from serving.rules.errors import RuleError
from serving.rules.forms import flatten_event

MAX_EVENT_BYTES: Final = 256 * 1024
MAX_FIELDS: Final = 4096


class MultiValue:
    """The values of a field that has more than one. A test holds if it holds for any of them."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values

    def __contains__(self, text: str) -> bool:
        return any(text in v for v in self.values)

    def startswith(self, texts: str | tuple[str, ...]) -> bool:
        """Whether any value starts with one of the texts."""
        return any(v.startswith(texts) for v in self.values)

    def endswith(self, texts: str | tuple[str, ...]) -> bool:
        """Whether any value ends with one of the texts."""
        return any(v.endswith(texts) for v in self.values)

    def lower(self) -> "MultiValue":
        """All values in lower case."""
        return MultiValue(tuple([v.lower() for v in self.values]))


Value = str | MultiValue
Fields = dict[str, Value]


class Event:
    """The fields of one event; null values are left out. lowered: the same values in lower case."""

    __slots__ = ("_all", "fields", "lowered")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.lowered: Fields = {name: value.lower() for name, value in fields.items()}
        self._all: MultiValue | None = None

    def all_values(self) -> MultiValue:
        """All values in lower case, for keyword tests."""
        if self._all is None:
            self._all = MultiValue(tuple([t for v in self.lowered.values() for t in texts_of(v)]))
        return self._all

    def all_values_cased(self) -> MultiValue:
        """All values, for case-sensitive keyword tests."""
        return MultiValue(tuple([t for v in self.fields.values() for t in texts_of(v)]))


def texts_of(value: Value) -> tuple[str, ...]:
    """The texts of a value."""
    return (value,) if isinstance(value, str) else value.values


def fields_of_json(body: bytes) -> tuple[Fields, Mapping[str, Any]]:
    """The fields of an event given as JSON text, and the parsed document. Raises RuleError if it is not valid or too large."""
    if len(body) > MAX_EVENT_BYTES:
        raise RuleError(
            f"an event has {len(body)} bytes, at most {MAX_EVENT_BYTES} are accepted; send the record without its attachments"
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise RuleError(f"an event is not JSON: {problem}; send one object") from problem
    if not isinstance(document, dict):
        raise RuleError(f"an event is a JSON {type(document).__name__}, expected one object")
    return fields_of(document), document


def fields_of(document: Mapping[str, Any]) -> Fields:
    """The fields of a parsed event."""
    found: Fields = {}
    repeated: dict[str, list[str]] = {}

    def put(name: str, value: Any) -> None:
        if value is None:
            return
        text = value if type(value) is str else _as_text(value)
        if " " in name:
            name = name.replace(" ", "")
        first = found.get(name)
        if first is None:
            if len(found) < MAX_FIELDS:
                found[name] = text
            return
        values = repeated.get(name)
        if values is None:
            values = repeated[name] = [*texts_of(first)]
        values.append(text)

    flatten_event(document, put)
    for name, values in repeated.items():
        found[name] = MultiValue(tuple(values))
    return found


def _as_text(value: Any) -> str:
    """A value as rules compare it: true and false in lower case, whole numbers without a fraction."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (dict, list)):
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # nested too deeply for orjson; no rule can name it
            return ""
    return str(value)
