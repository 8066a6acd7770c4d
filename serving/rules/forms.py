"""Reads the JSON forms of Windows events that tools write, and any other JSON, into fields. Pure.

An event has the same fields whatever tool wrote it, as far as the tool wrote them. docs/reference/rules.md lists the tools and what each
leaves out. A form is recognised by names that only it has."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

Put = Callable[[str, Any], None]
"""Takes a field's name and value. A repeated name gives the field several values."""
_MAX_DEPTH: Final = 24
_ATTRIBUTES: Final = ("#attributes", "@attributes")
_APART: Final = "_attributes"
"""Suffix of the attributes of an element, in tools that write them beside it."""
_TEXT: Final = ("#text", "_", "$t")
_NUMBERED: Final = re.compile(r"\[\d+\]$")
_PARAM: Final = re.compile(r"param\d+")
_LEVELS: Final = {"LogAlways": 0, "Critical": 1, "Error": 2, "Warning": 3, "Info": 4, "Verbose": 5}
_KEYWORDS: Final = {"Audit success": "0x8020000000000000", "Audit failure": "0x8010000000000000"}


def flatten_event(document: Mapping[str, Any], put: Put) -> None:
    """Call `put` with each field of an event."""
    record = document.get("Event")
    if isinstance(record, dict):
        _windows(record, put)
    elif isinstance(document.get("winlog"), dict):
        _winlogbeat(document, put)
    elif isinstance(document.get("System"), dict):
        _windows(document, put)
    elif isinstance(document.get("Payload"), str) and "EventId" in document and "Channel" in document:
        _windows(_of_evtxecmd(document), put)
    elif isinstance(document.get("AllFieldInfo"), dict) and "Channel" in document:
        _windows(_of_hayabusa(document), put)
    else:
        for name, value in _leaves("", document, 0):
            put(name, value)


def _windows(record: Mapping[str, Any], put: Put) -> None:
    data = [*_event_data(record.get("EventData"))]
    user = record.get("UserData")
    for element, inner in user.items() if isinstance(user, dict) else ():
        if not _is_attribute(element, inner):
            data += _event_data(inner)
    own = {name for name, _ in data}
    system = record.get("System")
    for name, value in system.items() if isinstance(system, dict) else ():
        inside = _element(name, value, "_", 0) if isinstance(value, (dict, list)) else ((name, value),)
        for leaf, content in inside:
            if leaf not in own:  # rules mean the event's own field of that name
                put(leaf, content)
    for name, value in data:
        put(name, value)


def _is_attribute(name: str, value: Any) -> bool:
    """Whether this is an attribute and not a child element."""
    return name in _ATTRIBUTES or name.startswith("@") or (name.endswith(_APART) and isinstance(value, dict))


def _element(name: str, value: Any, between: str, depth: int) -> Iterator[tuple[str, Any]]:
    """An element: its text under its own name, an attribute under NAME_ATTRIBUTE, a child under its name after `between`.

    `Provider: {#attributes: {Name: x}}`, `Provider_attributes: {Name: x}` and `Provider: {@Name: x}` are all Provider_Name."""
    if isinstance(value, list) and depth < _MAX_DEPTH:
        for one in value:
            yield from _element(name, one, between, depth + 1)
    elif not isinstance(value, dict) or depth >= _MAX_DEPTH:
        yield name, value
    elif name.endswith(_APART):
        yield from ((f"{name.removesuffix(_APART)}_{attribute}", content) for attribute, content in value.items())
    else:
        for key, inner in value.items():
            if key in _ATTRIBUTES and isinstance(inner, dict):
                yield from ((f"{name}_{attribute}", content) for attribute, content in inner.items())
            elif key in _TEXT:
                yield from _element(name, inner, between, depth + 1)
            elif key.startswith("@"):
                yield f"{name}_{key[1:]}", inner
            else:
                yield from _element(f"{name}{between}{key}", inner, between, depth + 1)


def _event_data(data: Any) -> Iterator[tuple[str, Any]]:
    """`{Image: x}`, or `{Data: [{#attributes: {Name: Image}, #text: x}]}`, or `{Data: [x, y]}`, or `{Data: {#text: [x, y]}}`."""
    if not isinstance(data, dict):
        return
    for name, value in data.items():
        if name == "Data":
            apart = data.get(f"Data{_APART}")
            for item in value if isinstance(value, list) else [value]:
                yield from _data_item(item, apart)
        elif isinstance(value, (dict, list)):
            if name not in _ATTRIBUTES and name != f"Data{_APART}":
                yield from _element(name, value, ".", 0)
        elif name[:1] != "@":
            yield name, value


def _data_item(item: Any, apart: Any) -> Iterator[tuple[str, Any]]:
    """One `Data`, named by its attribute, else `Data` itself. apart: its attributes where they stand beside it."""
    attributes: Mapping[str, Any] = apart if isinstance(apart, dict) else {}
    text = item
    if isinstance(item, dict):
        attributes = next((item[a] for a in _ATTRIBUTES if isinstance(item.get(a), dict)), attributes or item)
        text = next((item[t] for t in _TEXT if t in item), None)
    name = str(attributes.get("Name", attributes.get("@Name", "Data")))
    for one in text if isinstance(text, list) else [text]:
        yield name, one


def _winlogbeat(document: Mapping[str, Any], put: Put) -> None:
    """Elastic's form: `winlog.event_data`, and a few names of its own for what System holds. What has no name is `param1`, ... there."""
    winlog = document["winlog"]
    renamed = {"channel": "Channel", "provider_name": "Provider_Name", "computer_name": "Computer", "event_id": "EventID",
               "record_id": "EventRecordID"}  # fmt: skip
    data = [*_event_data(winlog.get("event_data")), *_event_data(winlog.get("user_data"))]
    data += [("Data", value) for name, value in data if _PARAM.fullmatch(name)]
    for name, value in data:
        put(name, value)
    own = {name for name, _ in data}
    for name, field in renamed.items():
        if name in winlog and field not in own:
            put(field, winlog[name])
    for name, value in _leaves("", {k: v for k, v in document.items() if k != "winlog"}, 0):
        if name not in own:
            put(name, value)


def _of_evtxecmd(document: Mapping[str, Any]) -> dict[str, Any]:
    """EvtxECmd's `--json`: what it read of System under its own names, and EventData or UserData as a JSON text. What its maps make of an
    event (PayloadData1, UserName, ...) are words of its own, and left out."""
    level, keywords = document.get("Level"), document.get("Keywords")
    system = {
        "Provider_Name": document.get("Provider"),
        "EventID": document.get("EventId"),
        "Level": _LEVELS.get(level, level) if isinstance(level, str) else level,
        "Keywords": _KEYWORDS.get(keywords, keywords) if isinstance(keywords, str) else keywords,
        "TimeCreated_SystemTime": document.get("TimeCreated"),
        "EventRecordID": document.get("EventRecordId"),
        "Execution_ProcessID": document.get("ProcessId"),
        "Execution_ThreadID": document.get("ThreadId"),
        "Channel": document.get("Channel"),
        "Computer": document.get("Computer"),
        "Security_UserID": document.get("UserId"),
    }
    try:
        payload = orjson.loads(str(document["Payload"]))
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict):
        return {"System": system, "EventData": {"Data": document["Payload"]}}
    if payload.keys() & {"EventData", "UserData"}:
        return {**payload, "System": system}
    return {"System": system, "UserData": payload}


def _of_hayabusa(document: Mapping[str, Any]) -> dict[str, Any]:
    """A record of hayabusa's timeline with all fields of its event (`%AllFieldInfo%`); of several unnamed ones, `Data[1]` is the first."""
    names = {
        "Channel": "Channel",
        "EventID": "EventID",
        "Computer": "Computer",
        "RecordID": "EventRecordID",
        "Provider": "Provider_Name",
    }
    system = {name: document.get(own) for own, name in names.items()}
    data: dict[str, list[Any]] = {}
    for name, value in document["AllFieldInfo"].items():
        data.setdefault(_NUMBERED.sub("", name), []).extend(value if isinstance(value, list) else [value])
    return {"System": system, "EventData": data}


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
