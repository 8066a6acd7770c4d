"""The OpenAPI 3 description of everything the HTTP door answers, as served on /openapi.json.

Static: it describes the protocol, not the models; which models there are, their inputs and outputs, is their metadata. The v2
part follows the Open Inference Protocol's own description (kserve/open-inference-protocol), with its gaps filled."""

from functools import lru_cache
from typing import Any, Final

import orjson

from serving.doors.oip.json_codec import Json
from serving.doors.oip.tensors import MAX_NAME, MAX_RANK
from serving.messages import DTYPES

_ERRORS: Final = {
    "400": "The request is wrong: malformed, of the wrong type or shape, or not what the model takes.",
    "401": "Where access is guarded: no credentials, or such as are not accepted.",
    "403": "Where access is guarded: the caller may not do this, whether or not the model exists.",
    "404": "No such model, version or path.",
    "413": "The body is larger than the server's limit.",
    "429": "Refused early to stay fast; try again after Retry-After seconds.",
    "500": "A defect of the server; its log has the trace.",
    "501": "The server does not offer this.",
    "503": "Not ready; try again after Retry-After seconds.",
    "504": "The deadline passed before the answer was ready.",
}
_GUARDED: Final = ("401", "403", "429")
_INFER_ERRORS: Final = tuple(_ERRORS)
_READ_ERRORS: Final = ("404", "500", "503")
_NEVER_GUARDED: Final = "/v2/health/"
_RISK_ERRORS: Final = ("400", *_READ_ERRORS)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, required: tuple[str, ...] = (), **more: Any) -> Json:
    schema: Json = {"type": "object", "properties": properties, **more}
    return {**schema, "required": list(required)} if required else schema


def _array(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


_TEXT: Final[Json] = {"type": "string"}
_OPEN_METRICS: Final = "application/openmetrics-text"
_FLAG: Final[Json] = {"type": "boolean"}
_NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_DATATYPE: Final[Json] = {"type": "string", "enum": list(DTYPES)}
_TENSOR: Final[Json] = {"name": _NAME, "datatype": _DATATYPE}
_EXAMPLE: Final[Json] = {
    "inputs": [
        {"name": "INPUT0", "shape": [1, 16], "datatype": "INT32", "data": list(range(16))},
        {"name": "INPUT1", "shape": [1, 16], "datatype": "INT32", "data": [1] * 16},
    ]
}

_SCHEMAS: Final[Json] = {
    "error": _object({"error": _TEXT}, ("error",), description="The body of every failure."),
    "parameters": {
        "type": "object",
        "additionalProperties": {"oneOf": [_TEXT, {"type": "number"}, _FLAG]},
        "description": "`timeout` is in microseconds; `binary_data_output` asks for raw outputs by default; `explain` (`shap`, `rules` or "
        "`counterfactual`) asks for the output `explanation`, which holds JSON for each row.",
    },
    "data": {
        "type": "array",
        "items": {"anyOf": [{"type": "number"}, _TEXT, _FLAG, _array({})]},
        "description": "Row-major, flat or nested exactly as the shape. Strings for BYTES, booleans for BOOL, else numbers.",
    },
    "shape": _array({"type": "integer", "minimum": 0}, maxItems=MAX_RANK),
    "infer_request": _object(
        {
            "id": _TEXT,
            "parameters": _ref("parameters"),
            "inputs": _array(_ref("request_input"), minItems=1),
            "outputs": _array(_ref("request_output")),
        },
        ("inputs",),
        example=_EXAMPLE,
    ),
    "request_input": _object(
        {**_TENSOR, "shape": _ref("shape"), "parameters": _ref("parameters"), "data": _ref("data")},
        ("name", "shape", "datatype"),
        description="Has `data`, or `parameters.binary_data_size` for raw data after the JSON.",
    ),
    "request_output": _object({"name": _NAME, "parameters": _ref("parameters")}, ("name",)),
    "infer_response": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": _ref("parameters"),
            "outputs": _array(_ref("response_output")),
        },
        ("model_name", "outputs"),
    ),
    "response_output": _object(
        {**_TENSOR, "shape": _ref("shape"), "parameters": _ref("parameters"), "data": _array({"nullable": True})},
        ("name", "shape", "datatype"),
    ),
    "server": _object(
        {"name": _TEXT, "version": _TEXT, "extensions": _array(_TEXT)},
        ("name", "version", "extensions"),
    ),
    "tensor_metadata": _object(
        {**_TENSOR, "shape": _array({"type": "integer", "minimum": -1})},
        ("name", "datatype", "shape"),
        description="-1 is a variable dimension.",
    ),
    "model": _object(
        {
            "name": _TEXT,
            "versions": _array(_TEXT),
            "platform": _TEXT,
            "inputs": _array(_ref("tensor_metadata")),
            "outputs": _array(_ref("tensor_metadata")),
            "parameters": {"type": "object"},
        },
        ("name", "platform", "inputs", "outputs"),
    ),
    "statistics": _object(
        {"model_stats": _array({"type": "object"})}, ("model_stats",), description="Statistics of this replica."
    ),
    "health": _object({"live": _FLAG, "ready": _FLAG, "name": _TEXT, "error": _TEXT}),
    "index_request": _object({"ready": _FLAG}),
    "index": _array(
        _object(
            {
                "name": _TEXT,
                "version": _TEXT,
                "state": {"type": "string", "enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]},
                "reason": _TEXT,
            },
            ("name", "version", "state"),
        )
    ),
    "control_request": _object({"parameters": _ref("parameters")}),
    "control_response": _object({"name": _TEXT, "load": _FLAG, "unload": _FLAG}, ("name",)),
    "models": _object({"models": _array(_TEXT)}, ("models",)),
    "risk": _object(
        {
            "schema": _TEXT,
            "entity": _TEXT,
            "at": {"type": "string", "format": "date-time"},
            "risk": {"type": "number", "minimum": 0, "maximum": 1},
            "level": {"type": "string", "enum": ["low", "medium", "high", "critical"]},
            "complete": _FLAG,
            "missing": _array(_TEXT),
            "pending": _array({"type": "object"}),
            "overdue": _array({"type": "object"}),
            "prior": {"type": "number"},
            "parts": _array({"type": "object"}),
            "changes": _array({"type": "object"}),
            "rules": _TEXT,
        },
        ("schema", "entity", "at", "risk", "level", "complete", "parts"),
        description="The log-odds of the prior and of the parts add up to the log-odds of the risk.",
    ),
    "risks": _object({"risks": _array(_ref("risk"))}, ("risks",)),
    "v1_model": _object(
        {"name": _TEXT, "ready": _FLAG, "model_version_status": _array({"type": "object"}), "error": _TEXT}, ("name", "ready")
    ),
    "v1_request": _object(
        {
            "instances": _array({}, minItems=1),
            "inputs": {},
            "signature_name": _TEXT,
            "parameters": _ref("parameters"),
        },
        description="`instances`, row by row, or `inputs`, column by column.",
    ),
    "v1_response": _object({"predictions": _array({}), "outputs": {}, "parameters": _ref("parameters")}),
    "v1_explained": _object(
        {
            "predictions": _array({}),
            "outputs": {},
            "explanations": _array({"type": "object"}),
            "parameters": _ref("parameters"),
        },
        ("explanations",),
        description="For each row an object with the answer of `:predict` and its explanation.",
    ),
}

_PATH_PARAMETERS: Final = {
    name: {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name in ("model", "version", "entity")
}
_MOST: Final[Json] = {
    "name": "most",
    "in": "query",
    "required": False,
    "description": "Number of entities; at most 1000 are answered.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 99_999_999, "default": 20},
}
_TIMEOUT: Final[Json] = {
    "name": "x-request-timeout-ms",
    "in": "header",
    "required": False,
    "description": "How long the client waits, milliseconds.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 10**9},
}


def _response(description: str, schema: Json, media: str = "application/json") -> Json:
    return {"description": description, "content": {media: {"schema": schema}}}


def _operation(name: str, summary: str, answer: Json, errors: tuple[str, ...], body: Json | None = None, **more: Any) -> Json:
    responses = {"200": answer, **{code: _response(_ERRORS[code], _ref("error")) for code in errors}}
    operation: Json = {"operationId": name, "summary": summary, "responses": responses, **more}
    return operation if body is None else {**operation, "requestBody": body}


def _body(schema: str, *, is_required: bool = True) -> Json:
    return {"required": is_required, "content": {"application/json": {"schema": _ref(schema)}}}


def _get(name: str, summary: str, schema: str, errors: tuple[str, ...] = ("500",)) -> Json:
    return {"get": _operation(name, summary, _response("OK", _ref(schema)), errors)}


def _infer(name: str) -> Json:
    answer = _response("The outputs. Raw outputs follow the JSON if they were asked for.", _ref("infer_response"))
    operation = _operation(name, "Inference", answer, _INFER_ERRORS, _body("infer_request"), parameters=[_TIMEOUT])
    return {"post": operation}


def _predict(name: str) -> Json:
    answer = _response("`predictions` for `instances`, `outputs` for `inputs`.", _ref("v1_response"))
    operation = _operation(name, "V1 prediction", answer, _INFER_ERRORS, _body("v1_request"), parameters=[_TIMEOUT])
    return {"post": operation}


def _explain(name: str) -> Json:
    answer = _response("`explanations`, beside what `:predict` answers.", _ref("v1_explained"))
    operation = _operation(name, "V1 explanation", answer, _INFER_ERRORS, _body("v1_request"), parameters=[_TIMEOUT])
    return {"post": operation}


def _control(name: str, summary: str) -> Json:
    answer = _response("Done.", _ref("control_response"))
    return {"post": _operation(name, summary, answer, _INFER_ERRORS, _body("control_request", is_required=False))}


def _model_paths(path: str, suffix: str) -> Json:
    return {
        path: _get(f"modelMetadata{suffix}", "Model metadata", "model", _READ_ERRORS),
        f"{path}/ready": _get(f"modelReady{suffix}", "Model readiness", "health", _READ_ERRORS),
        f"{path}/infer": _infer(f"modelInfer{suffix}"),
        f"{path}/stats": _get(f"modelStatistics{suffix}", "Statistics of the model", "statistics", _READ_ERRORS),
    }


def _v1_paths(path: str, suffix: str) -> Json:
    return {
        path: _get(f"v1Model{suffix}", "V1 model status", "v1_model", _READ_ERRORS),
        f"{path}:predict": _predict(f"v1Predict{suffix}"),
        f"{path}:explain": _explain(f"v1Explain{suffix}"),
        f"{path}/metadata": {
            "get": _operation(
                f"v1Metadata{suffix}", "TensorFlow Serving's metadata", _response("OK", {"type": "object"}), _READ_ERRORS
            )
        },
    }


def _paths() -> Json:
    metrics = _response("Prometheus text, or OpenMetrics for who accepts it: it has exemplars.", _TEXT, "text/plain")
    metrics["content"][_OPEN_METRICS] = {"schema": _TEXT}
    index = _operation(
        "repositoryIndex",
        "All known model versions",
        _response("OK", _ref("index")),
        ("400", "413", "500"),
        _body("index_request", is_required=False),
    )
    paths: Json = {
        "/": {"get": _operation("index", "Description of this server", _response("OK", {"type": "object"}), ("500",))},
        "/metrics": {"get": _operation("metrics", "Metrics", metrics, ("404", "500"))},
        "/openapi.json": {"get": _operation("openapi", "This description", _response("OK", {"type": "object"}), ("500",))},
        "/v2": _get("serverMetadata", "Server metadata", "server"),
        "/v2/health/live": _get("serverLive", "Liveness", "health", ("500", "503")),
        "/v2/health/ready": _get("serverReady", "Readiness", "health", ("500", "503")),
        "/v2/models": _get("models", "Names of the models that answer, as KServe lists them", "models"),
        "/v2/models/stats": _get("allStatistics", "Statistics of all models", "statistics", _READ_ERRORS),
        **_model_paths("/v2/models/{model}", ""),
        **_model_paths("/v2/models/{model}/versions/{version}", "Version"),
        "/v2/risk": {
            "get": _operation(
                "risks", "Entities with the highest risks", _response("OK", _ref("risks")), _RISK_ERRORS, parameters=[_MOST]
            )
        },
        "/v2/risk/{entity}": _get("risk", "The risk of an entity", "risk", _RISK_ERRORS),
        "/v2/repository/index": {"post": index},
        "/v2/repository/models/{model}/load": _control("repositoryLoad", "Load a model"),
        "/v2/repository/models/{model}/unload": _control("repositoryUnload", "Unload a model"),
        "/v1/models": _get("v1Models", "V1 list of models", "models"),
        **_v1_paths("/v1/models/{model}", ""),
        **_v1_paths("/v1/models/{model}/versions/{version}", "Version"),
    }
    for path, item in paths.items():
        path_parameters = [parameter for name, parameter in _PATH_PARAMETERS.items() if f"{{{name}}}" in path]
        if path_parameters:
            item["parameters"] = path_parameters
        for operation in (item[method] for method in ("get", "post") if method in item and not path.startswith(_NEVER_GUARDED)):
            operation["responses"].update({code: _response(_ERRORS[code], _ref("error")) for code in _GUARDED})
    return paths


@lru_cache(maxsize=4)
def document(version: str) -> bytes:
    """The description, as JSON. version: the server's."""
    about = "Threat-detection models over the Open Inference Protocol v2, with KServe's V1 and TensorFlow Serving's shapes beside it."
    return orjson.dumps(
        {
            "openapi": "3.0.3",
            "info": {
                "title": "Vedette data plane",
                "version": version,
                "description": about,
                "license": {"name": "Apache-2.0"},
            },
            "paths": _paths(),
            "components": {"schemas": _SCHEMAS},
        }
    )
