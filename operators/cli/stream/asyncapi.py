"""The topics, keys, headers and messages of streams as AsyncAPI 3.0, made of the types that are written and read. Pure.

`vedette stream contract` prints it with the topics that are set; docs/reference/streams.asyncapi.yaml has the default ones."""

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Final

import msgspec

from lifecycle.labels.label import SELECTIONS, VERDICTS
from lifecycle.labels.requests import LabelRequest
from serving.messages import DTYPES
from serving.models.manifest import Manifest
from serving.risk.json_form import RISK_SCHEMA
from serving.risk.signal import KINDS
from serving.stream.codecs.framing import CONFLUENT_HEADER, SCHEMA_ID_HEADER
from serving.stream.contract import (
    ALERT_SCHEMA,
    ID_HEADER,
    INVESTIGATE_SCHEMA,
    REASON_HEADER,
    STATE_HEADER,
    TRACE_HEADER,
    VERDICT_SCHEMA,
    AlertMessage,
    InvestigateMessage,
    VerdictMessage,
)
from serving.stream.settings import StreamSettings

ASYNCAPI: Final = "3.0.0"
CONTRACT_VERSION: Final = "1.1.0"
"""Of the contract: the first number changes with a field's meaning, the second with a field or topic that is new."""
LABELS_TOPIC: Final = "vedette.labels"
"""What `vedette label follow --topic` is usually given."""
_BINDING: Final = "0.5.0"
_REF: Final = "#/components/schemas/{name}"
_TRACE_PATTERN: Final = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_ID: Final = {
    "type": "string",
    "description": "TOPIC/PARTITION/OFFSET of the event, in UTF-8. The same for every copy of a message.",
}
_TRACE: Final = {"type": "string", "pattern": _TRACE_PATTERN, "description": "W3C Trace Context, version 00, in ASCII."}
_STATE: Final = {"type": "string", "description": "W3C Trace Context: what tracing systems add, at most 512 bytes of ASCII."}
_EXAMPLE_VERDICT: Final[Mapping[str, Any]] = {
    "schema": VERDICT_SCHEMA,
    "id": "vedette.events/3/1829",
    "entity": {"host": "147.32.84.165"},
    "verdict": "alert",
    "model": "flows",
    "version": "1",
    "revision": "sha256:1f0c5e8a",
    "variant": "stable",
    "source": "model",
    "receipt": "01J9Z5T1T8Q3V6",
    "row": 17,
    "scored_at": "2011-08-18T15:52:31.204118Z",
    "event_time": "2011-08-18T15:52:30.991224Z",
    "event_id": "flow-18297",
    "score": 0.9971,
    "probability": 0.985,
    "operating_point": "siem_alerting",
}


def contract(settings: StreamSettings, *, labels: str = LABELS_TOPIC, manifest: Manifest | None = None) -> dict[str, Any]:
    """The description. labels: the topic of the analysts' labels. manifest: the model whose columns the events have; None: any."""
    channels = {
        "events": _channel(settings.events, "Events to score. Key: the entity, so that its events keep their order.", "Event"),
        "verdicts": _channel(settings.verdicts, "One verdict on each event. Key: the entity.", "Verdict"),
        "alerts": _channel(settings.alerts, "The verdicts that alert, with the event. Key: the entity.", "Alert"),
        "deadLetters": _channel(
            settings.dead_letters, "Records that are no events, or that the model refuses. Key: the record's own.", "DeadLetter"
        ),
        "labels": _channel(labels, "Analysts' verdicts on what was scored. Key: free.", "Label"),
    }
    if settings.investigate:
        channels["investigate"] = _channel(
            settings.investigate,
            "Events with the verdict investigate, for a closer look by a deadline. Key: the entity.",
            "Investigate",
        )
    if settings.risks:
        channels["risks"] = _channel(
            settings.risks, "The risk of an entity, when it changed notably. Key: the entity's text.", "Risk", cleanup="compact"
        )
    operations = {
        "scoreEvents": _operation("receive", "events", "`vedette stream` reads each event once per consumer group."),
        "writeVerdicts": _operation("send", "verdicts", "Committed together with the position in the events (exactly_once)."),
        "writeAlerts": _operation("send", "alerts", "Committed together with its verdict."),
        "setAside": _operation("send", "deadLetters", "Committed together with the position in the events."),
        "takeLabels": _operation(
            "receive", "labels", "`vedette label follow` reads labels; an offset is committed when they are durable."
        ),
    }
    if settings.investigate:
        operations["askForALook"] = _operation("send", "investigate", "Committed together with its verdict.")
    if settings.risks:
        operations["writeRisks"] = _operation(
            "send", "risks", "`vedette risk follow` and `enrich` write at least once; the newest counts."
        )
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Vedette streams",
            "version": CONTRACT_VERSION,
            "description": (
                "Topics that `vedette stream` reads and writes, for programs up- and downstream. Fields and headers may be added; "
                "none changes its meaning under the same `schema`. Readers ignore what they do not know. See streams.md."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _schemas(manifest)},
    }


def _channel(address: str, description: str, message: str, cleanup: str = "delete") -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {message[0].lower() + message[1:]: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {"topic": address, "topicConfiguration": {"cleanup.policy": [cleanup]}, "bindingVersion": _BINDING}
        },
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(
    name: str, payload: str | None, headers: Mapping[str, Any], needed: tuple[str, ...], key: str, **more: Any
) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": name,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": dict(headers), **({"required": list(needed)} if needed else {})},
        "payload": {"$ref": _REF.format(name=payload)} if payload else {"description": "The value as it came, byte for byte."},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}},
        **more,
    }
    if ID_HEADER in headers:
        message["correlationId"] = {"location": f"$message.header#/{ID_HEADER}"}
    return message


def _messages() -> dict[str, Any]:
    entity = "The join keys' values as text, joined by | where there are several."
    of_event = {ID_HEADER: _ID, TRACE_HEADER: _TRACE, STATE_HEADER: _STATE}
    return {
        "Event": _message(
            "vedette.event",
            "Event",
            {
                TRACE_HEADER: _TRACE,
                STATE_HEADER: _STATE,
                SCHEMA_ID_HEADER: {"type": "string", "pattern": "^[0-9]{1,10}$", "description": "The schema's id, in digits."},
                CONFLUENT_HEADER: {"description": "The schema's id or GUID in a registry, binary, as Confluent's clients write it."},
            },
            (),
            "The entity. What is not scored by a key of its own may have any.",
            summary="An event: JSON, or Avro or Protobuf of the same fields (VEDETTE_STREAM_FORMAT).",
            examples=[{"payload": {"host": "147.32.84.165", "proto": "icmp", "bytes": 1066, "event_id": "flow-18297"}}],
        ),
        "Verdict": _message(
            "vedette.verdict", "VerdictMessage", of_event, (ID_HEADER,), entity,
            summary="The verdict on one event.",
            examples=[{"headers": {ID_HEADER: _EXAMPLE_VERDICT["id"]}, "payload": dict(_EXAMPLE_VERDICT)}],
        ),
        "Alert": _message(
            "vedette.alert", "AlertMessage", of_event, (ID_HEADER,), entity,
            summary="An event that alerts, for a SIEM.",
            examples=[
                {
                    "headers": {ID_HEADER: _EXAMPLE_VERDICT["id"]},
                    "payload": {
                        "schema": ALERT_SCHEMA,
                        "verdict": dict(_EXAMPLE_VERDICT),
                        "title": "Network flows of infected hosts",
                        "severity": "high",
                        "group": "147.32.84.165|flows",
                        "event": {"host": "147.32.84.165", "proto": "icmp", "bytes": 1066, "event_id": "flow-18297"},
                    },
                }
            ],
        ),
        "Investigate": _message(
            "vedette.investigate", "InvestigateMessage", of_event, (ID_HEADER,), entity,
            summary="An event that wants a closer look; `vedette risk enrich` gives one, or a program of yours by `vedette risk add`.",
            examples=[
                {
                    "headers": {ID_HEADER: _EXAMPLE_VERDICT["id"]},
                    "payload": {
                        "schema": INVESTIGATE_SCHEMA,
                        "verdict": {**_EXAMPLE_VERDICT, "verdict": "investigate", "score": 0.4211, "probability": 0.31},
                        "asked_us": 1_313_682_751_204_118,
                        "due_us": 1_313_682_811_204_118,
                        "event": {"host": "147.32.84.165", "proto": "icmp", "bytes": 1066, "event_id": "flow-18297"},
                    },
                }
            ],
        ),
        "Risk": _message("vedette.risk", "Risk", {}, (), "The entity's text.", summary="The risk of an entity after a notable change."),
        "DeadLetter": _message(
            "vedette.dead-letter", None,
            {**of_event, REASON_HEADER: {"type": "string", "maxLength": 500, "description": "Why, in one line of UTF-8."}},
            (ID_HEADER, REASON_HEADER), "The record's own key.",
            contentType="application/octet-stream", summary="A record that was set aside.",
        ),
        "Label": _message(
            "vedette.label", "LabelRequest", {}, (), "Free. The event's entity keeps the labels of one entity in order.",
            summary="An analyst's verdict on one scored event.",
            examples=[
                {
                    "payload": {
                        "receipt": _EXAMPLE_VERDICT["receipt"],
                        "row": _EXAMPLE_VERDICT["row"],
                        "verdict": "attack",
                        "analyst": "ada",
                        "label_id": "case-4711",
                    }
                }
            ],
        ),
    }  # fmt: skip


def _schemas(manifest: Manifest | None) -> dict[str, Any]:
    types = (VerdictMessage, AlertMessage, InvestigateMessage, LabelRequest)
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    for schema in schemas.values():
        if "description" in schema:  # a docstring, whose indentation depends on the version of Python
            schema["description"] = " ".join(schema["description"].split())
    for kind in types:
        words = field_words(kind)
        for name, part in schemas[kind.__name__]["properties"].items():
            if name in words:
                part["description"] = words[name]
    schemas["VerdictMessage"]["properties"]["schema"] |= {"const": VERDICT_SCHEMA}
    schemas["AlertMessage"]["properties"]["schema"] |= {"const": ALERT_SCHEMA}
    schemas["InvestigateMessage"]["properties"]["schema"] |= {"const": INVESTIGATE_SCHEMA}
    label = schemas["LabelRequest"]["properties"]
    for name, words_ in (("verdict", VERDICTS), ("label", VERDICTS), ("selection", SELECTIONS)):
        label[name] = {"type": "string", "enum": list(words_)}
    schemas["Event"] = event_schema(manifest)
    schemas["Risk"] = _risk_schema()
    return {name: schemas[name] for name in sorted(schemas)}


def _risk_schema() -> dict[str, Any]:
    """Of serving.risk.json_form."""
    moment, text, number = {"type": "string", "description": "RFC 3339, UTC."}, {"type": "string"}, {"type": "number"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    check = _record({"id": text, "name": text, "asked": moment, "due": moment})
    part = _record(
        {
            "kind": {"enum": list(KINDS)},
            "name": text,
            "probability": share,
            "log_odds": number,
            "event_time": moment,
            "age_s": number,
            "id": text,
        },
        {"revision": text, "receipt": text, "row": {"type": "integer"}, "reasons": {"type": "array", "items": text}},
    )
    change = _record({"at": moment, "before": share, "after": share, "because": text, "late_s": number})
    return {
        "title": "Risk",
        "description": "The risk of an entity and its parts, as `vedette risk show --json` has it. See risk.md.",
        **_record(
            {
                "schema": {"type": "string", "const": RISK_SCHEMA},
                "entity": text,
                "at": moment,
                "risk": share,
                "level": {"enum": ["low", "medium", "high", "critical"]},
                "complete": {"type": "boolean"},
                "missing": {"type": "array", "items": text},
                "pending": {"type": "array", "items": check},
                "overdue": {"type": "array", "items": check},
                "prior": share,
                "parts": {"type": "array", "items": part},
                "changes": {"type": "array", "items": change},
                "rules": {"type": "string", "description": "Digest of the rules that made the figure."},
            }
        ),
    }


def _record(needed: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**needed, **(others or {})}, "required": list(needed)}


def event_schema(manifest: Manifest | None) -> dict[str, Any]:
    """What an event must have to be scored by a bundle; without one, what any event is."""
    if manifest is None:
        return {
            "type": "object",
            "description": "The join keys and request fields of the model, as over HTTP; more fields may be there. "
            "`vedette stream contract --model M` lists those of a model.",
        }
    columns = (*manifest.entity_keys, *manifest.request_fields)
    properties: dict[str, Any] = {}
    for column in columns:
        properties[column.name] = _type_of(column.datatype) | (
            {"description": column.description} if column.description else {}
        )
    if (time := manifest.event_time_field) is not None:
        properties.setdefault(time, {"type": ["string", "integer"]})
        properties[time]["description"] = (
            "When the event was known: RFC 3339 text, or microseconds since the epoch. Without it, when the record was produced."
        )
    properties.setdefault(
        "event_id", {"type": ["string", "integer"], "description": "Your own id of the event; its verdict carries it."}
    )
    return {
        "type": "object",
        "description": f"An event for the model {manifest.name!r}. More fields may be there; rules and alerts have them too.",
        "properties": properties,
        "required": [column.name for column in columns],
    }


def _type_of(datatype: str) -> dict[str, Any]:
    kind = DTYPES[datatype].kind
    return {"type": {"O": "string", "b": "boolean", "f": "number"}.get(kind, "integer")}


@cache
def field_words(kind: type[msgspec.Struct]) -> Mapping[str, str]:
    """The docstrings below the fields of a struct: field -> words."""
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
    return {
        field.target.id: " ".join(words.value.value.split())
        for field, words in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(words, ast.Expr)
        and isinstance(words.value, ast.Constant)
        and isinstance(words.value.value, str)
    }
