"""What the HTTP door of labels answers, as OpenAPI 3.1. The schemas are made of the types that are read and written."""

from typing import Any, Final

import msgspec

from lifecycle.labels.label import SELECTIONS, VERDICTS, Label
from lifecycle.labels.requests import LabelRequest

MOST_TOGETHER: Final = 1000
"""Labels in one request."""
_REF: Final = "#/components/schemas/{name}"


def openapi(version: str) -> dict[str, Any]:
    """The description."""
    _, schemas = msgspec.json.schema_components([LabelRequest, Label], ref_template=_REF)
    request = schemas["LabelRequest"]["properties"]
    for name, words in (("verdict", VERDICTS), ("label", VERDICTS), ("selection", SELECTIONS)):
        request[name] = {"type": "string", "enum": list(words)}
    schemas |= {
        "Error": _object({"error": {"type": "string"}, "code": {"type": "string"}}, required=["error", "code"]),
        "Taken": _object(
            {"outcome": {"enum": ["given", "repeated", "corrected"]}, "label": _ref("Label")}, required=["outcome", "label"]
        ),
        "Several": _object(
            {"labels": {"type": "array", "items": {"type": "object"}, "maxItems": MOST_TOGETHER}}, required=["labels"]
        ),
        "Results": _object(
            {"results": {"type": "array", "items": {"anyOf": [_ref("Taken"), _ref("Error")]}}}, required=["results"]
        ),
        "History": _object(
            {"event": {"type": "string"}, "current": _ref("Label"), "history": {"type": "array", "items": _ref("Label")}},
            required=["event", "current", "history"],
        ),
        "Queue": _object(
            {"model": {"type": "string"}, "events": {"type": "array", "items": {"type": "object"}}},
            required=["model", "events"],
        ),
        "QueueRequest": _object(
            {
                "model": {"type": "string", "minLength": 1},
                "budget": {"type": "integer", "minimum": 1, "maximum": 10_000},
                "seed": {"type": "integer", "minimum": 0},
                "since": {"type": "string"},
            },
            required=["model"],
        ),
        "Counts": {"type": "object", "additionalProperties": {"type": "object"}},
    }
    errors = {code: _answer(words, "Error") for code, words in _ERRORS.items()}
    read = {code: errors[code] for code in ("400", "401", "503")}
    model = _parameter("model", "query", "Name of the model.", required=True)
    paths: dict[str, Any] = {
        "/v1/labels": {
            "post": {
                "summary": "Give one label or several. It is safe to send one again with its label_id.",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"oneOf": [_ref("LabelRequest"), _ref("Several")]}}},
                },
                "responses": {
                    "200": _answer("Known already; or of several, what became of each.", "Taken", "Results"),
                    "201": _answer("Taken, and durable.", "Taken"),
                    **errors,
                },
            }
        },
        "/v1/labels/{event}": {
            "get": {
                "summary": "Every word on an event; the last counts.",
                "parameters": [_parameter("event", "path", "The event, as labels name it.", required=True)],
                "responses": {"200": _answer("The words.", "History"), "404": errors["404"], **read},
            }
        },
        "/v1/queue": {
            "get": {
                "summary": "What to label next, as it would be drawn. Nothing is recorded.",
                "parameters": [
                    model,
                    _parameter("budget", "query", "How many events.", kind="integer"),
                    _parameter("seed", "query", "Seed of the samples.", kind="integer"),
                    _parameter("since", "query", "An age such as 7d, or a time."),
                ],
                "responses": {"200": _answer("The queue.", "Queue"), **read},
            },
            "post": {
                "summary": "Draw what to label next, and record the draw: labels of its events count as evidence.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("QueueRequest")}}},
                "responses": {"200": _answer("The queue.", "Queue"), "409": errors["409"], "413": errors["413"], **read},
            },
        },
        "/v1/counts/{model}": {
            "get": {
                "summary": "Labels without bias of a model's variants, as the gates precision and recall count them: [n, bad].",
                "parameters": [
                    _parameter("model", "path", "Name of the model.", required=True),
                    _parameter(
                        "since_us", "query", "Of events answered since then, microseconds since the epoch.", kind="integer"
                    ),
                ],
                "responses": {"200": _answer("By variant@revision and gate.", "Counts"), **read},
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Labels of vedette", "version": version},
        "paths": paths,
        "security": [{"token": []}],
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


_ERRORS: Final = {
    "400": "It is no label; the message names the field.",
    "401": "The bearer token is missing or another one.",
    "404": "No answer, or no label, is known by this name.",
    "409": "The id already names another label, or the time was drawn already.",
    "413": "The body is too large, or has too many labels.",
    "503": "The labels could not be kept. Send them again.",
}


def _object(properties: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(words: str, *names: str) -> dict[str, Any]:
    schema = _ref(names[0]) if len(names) == 1 else {"oneOf": [_ref(name) for name in names]}
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, place: str, words: str, *, required: bool = False, kind: str = "string") -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1} if kind == "string" else {"type": kind, "minimum": 0}
    return {"name": name, "in": place, "description": words, "required": required, "schema": schema}
