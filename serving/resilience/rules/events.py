"""An event as rules see it: values by field name. Windows event records in their usual JSON forms, or any other JSON.

Whatever the form, EventData and UserData give their fields under their own names, System's are Channel, EventID, Provider_Name,
Computer, ...; other JSON is flattened to dotted names. Names lose their spaces (`Threat Name` is ThreatName)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from serving.resilience.rules.errors import RuleError

MAX_EVENT_BYTES: Final = 256 * 1024
MAX_FIELDS: Final = 4096
_MAX_DEPTH: Final = 24
_ATTRIBUTES: Final = ("#attributes", "@attributes")
_TEXT: Final = ("#text", "_", "$t")


class Several:
    """The values of a field that has more than one: what is asked of them holds if it holds of any."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values

    def __contains__(self, text: str) -> bool:
        return any(text in v for v in self.values)

    def startswith(self, texts: str | tuple[str, ...]) -> bool:
        """Whether any starts so."""
        return any(v.startswith(texts) for v in self.values)

    def endswith(self, texts: str | tuple[str, ...]) -> bool:
        """Whether any ends so."""
        return any(v.endswith(texts) for v in self.values)

    def lower(self) -> "Several":
        """Each in lower case."""
        return Several(tuple([v.lower() for v in self.values]))


Value = str | Several
Fields = dict[str, Value]


class Event:
    """Fields of one event; a field whose value is null is not there. lowered: the same in lower case."""

    __slots__ = ("_all", "fields", "lowered")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.lowered: Fields = {name: value.lower() for name, value in fields.items()}
        self._all: Several | None = None

    def everything(self) -> Several:
        """All values in lower case, for keywords."""
        if self._all is None:
            self._all = Several(tuple([t for v in self.lowered.values() for t in texts_of(v)]))
        return self._all

    def everything_as_it_is(self) -> Several:
        """All values, for keywords whose case counts."""
        return Several(tuple([t for v in self.fields.values() for t in texts_of(v)]))


def texts_of(value: Value) -> tuple[str, ...]:
    """The one or several texts of a value."""
    return (value,) if isinstance(value, str) else value.values


def fields_of_json(body: bytes) -> tuple[Fields, Mapping[str, Any]]:
    """Fields of an event as JSON text, and the document. Raises RuleError if it is none, or too large."""
    if len(body) > MAX_EVENT_BYTES:
        raise RuleError(
            f"an event of {len(body)} bytes is more than {MAX_EVENT_BYTES}; send the record without its attachments"
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise RuleError(f"an event is not JSON: {problem}; send one object") from problem
    if not isinstance(document, dict):
        raise RuleError(f"an event is a JSON {type(document).__name__}, expected one object")
    return fields_of(document), document


def fields_of(document: Mapping[str, Any]) -> Fields:
    """Fields of an event as it was parsed."""
    found: Fields = {}

    def put(name: str, value: Any) -> None:
        if value is None:
            return
        text = value if type(value) is str else _as_text(value)
        if " " in name:
            name = name.replace(" ", "")
        there = found.get(name)
        if there is not None:
            found[name] = Several((*texts_of(there), text))
        elif len(found) < MAX_FIELDS:
            found[name] = text

    _spread(document, put)
    return found


def _spread(document: Mapping[str, Any], put: Callable[[str, Any], None]) -> None:
    record = document.get("Event")
    if isinstance(record, dict):
        _windows(record, put)
    elif isinstance(document.get("winlog"), dict):
        _winlogbeat(document, put)
    elif isinstance(document.get("System"), dict):
        _windows(document, put)
    else:
        for name, value in _leaves("", document, 0):
            put(name, value)


def _windows(record: Mapping[str, Any], put: Callable[[str, Any], None]) -> None:
    data = [*_event_data(record.get("EventData"))]
    user = record.get("UserData")
    for element, inner in user.items() if isinstance(user, dict) else ():
        if element not in _ATTRIBUTES:
            data += _event_data(inner)
    own = {name for name, _ in data}
    system = record.get("System")
    for name, value in system.items() if isinstance(system, dict) else ():
        for leaf, content in _system(name, value):
            if leaf not in own:  # the event's own field of that name is what rules mean
                put(leaf, content)
    for name, value in data:
        put(name, value)


def _system(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """`Provider: {#attributes: {Name: x}}` is Provider_Name."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        if key in _ATTRIBUTES and isinstance(inner, dict):
            yield from ((f"{name}_{attribute}", content) for attribute, content in inner.items())
        elif key in _TEXT:
            yield name, inner
        else:
            yield f"{name}_{key.lstrip('@')}", inner


def _event_data(data: Any) -> Iterator[tuple[str, Any]]:
    """`{Image: x}`, or `{Data: [{#attributes: {Name: Image}, #text: x}]}`, or `{Data: [x, y]}`."""
    if not isinstance(data, dict):
        return
    for name, value in data.items():
        if name in _ATTRIBUTES:
            continue
        if name == "Data" and isinstance(value, (list, dict)):
            for item in value if isinstance(value, list) else [value]:
                yield from _data_item(item)
        elif isinstance(value, (dict, list)):
            yield from _leaves(name, value, 0)
        else:
            yield name, value


def _data_item(item: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(item, dict):
        yield "Data", item
        return
    attributes = next((item[a] for a in _ATTRIBUTES if isinstance(item.get(a), dict)), item)
    name = attributes.get("Name", attributes.get("@Name", "Data"))
    yield str(name), next((item[t] for t in _TEXT if t in item), None)


def _winlogbeat(document: Mapping[str, Any], put: Callable[[str, Any], None]) -> None:
    """Elastic's form: `winlog.event_data`, and a few names of its own for what System holds."""
    winlog = document["winlog"]
    renamed = {"channel": "Channel", "provider_name": "Provider_Name", "computer_name": "Computer", "event_id": "EventID"}
    data = [*_event_data(winlog.get("event_data")), *_event_data(winlog.get("user_data"))]
    for name, value in data:
        put(name, value)
    own = {name for name, _ in data}
    for name, field in renamed.items():
        if name in winlog and field not in own:
            put(field, winlog[name])
    for name, value in _leaves("", {k: v for k, v in document.items() if k != "winlog"}, 0):
        if name not in own:
            put(name, value)


def _leaves(prefix: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Dotted names of nested objects; a list gives its field several values."""
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner, depth + 1)
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        for inner in value:
            yield from _leaves(prefix, inner, depth + 1)
    else:
        yield prefix, value


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
        except TypeError:  # nested beyond what orjson writes: no rule names what stands there
            return ""
    return str(value)
