"""HTTP: liveness, readiness, server metadata and model metadata."""

import re
from typing import Final

from operators.conformance.checks.judging import (
    body_says,
    client_error,
    get,
    get_model,
    get_versions,
    status_is,
    unknown_version,
)
from operators.conformance.encoding import as_list, as_object, as_shape, as_string, http, json_body, model_path
from operators.conformance.exchange import HttpCall, Reply
from operators.conformance.mutations import UNKNOWN
from operators.conformance.values import DATATYPES, Ask, Check, Level, Subject, expect, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
HEALTH: Final = "Health/Readiness/Liveness Probes"
SERVER: Final = "Server Metadata Response JSON Object"
MODEL: Final = "Model Metadata Response JSON Object"
MODEL_ERROR: Final = "Model Metadata Response JSON Error Object"


def _server_metadata(_: Subject, replies: tuple[Reply, ...]) -> str:
    body = as_object(json_body(replies[0]), "server metadata")
    name, version = (as_string(body.get(key), key) for key in ("name", "version"))
    extensions = [as_string(e, "an extension") for e in as_list(body.get("extensions"), "extensions")]
    return f"{name} {version}, extensions {extensions}"


def _is_json(_: Subject, replies: tuple[Reply, ...]) -> None:
    kind = http(replies[0]).headers.get("content-type", "")
    expect(kind.partition(";")[0].strip() == "application/json", f"content-type is {kind!r}, expected application/json")


def _named(subject: Subject, replies: tuple[Reply, ...]) -> None:
    for reply in replies:
        name = as_string(as_object(json_body(reply), "the body").get("name"), "name")
        expect(name == subject.model.name, f"name is {name!r}, expected {subject.model.name!r}")


def _metadata(subject: Subject, replies: tuple[Reply, ...]) -> str:
    _named(subject, replies)
    return "platform " + as_string(as_object(json_body(replies[0]), "model metadata").get("platform"), "platform")


def _platform(_: Subject, replies: tuple[Reply, ...]) -> str:
    platform = as_string(as_object(json_body(replies[0]), "model metadata").get("platform"), "platform")
    expect(bool(re.fullmatch(r"[A-Za-z0-9.-]+_[A-Za-z0-9._-]+", platform)), f"{platform!r} is not <project>_<format>")
    return platform


def _tensors(_: Subject, replies: tuple[Reply, ...]) -> str:
    body = as_object(json_body(replies[0]), "model metadata")
    for side in ("inputs", "outputs"):
        described = [as_object(t, f"one of {side}") for t in as_list(body.get(side), side)]
        expect(bool(described), f"{side} is empty")
        names = [as_string(t.get("name"), f"a name in {side}") for t in described]
        expect(len(set(names)) == len(names), f"{side} names {names} are not distinct")
        for name, tensor in zip(names, described, strict=True):
            shape = as_shape(tensor.get("shape"), f"{side} {name}: shape")
            expect(all(dim >= -1 for dim in shape), f"{side} {name}: shape {list(shape)}; only -1 is a variable dimension")
    return f"{len(as_list(body['inputs'], 'inputs'))} inputs, {len(as_list(body['outputs'], 'outputs'))} outputs"


def _datatypes(_: Subject, replies: tuple[Reply, ...]) -> str:
    body = as_object(json_body(replies[0]), "model metadata")
    seen = set()
    for side in ("inputs", "outputs"):
        for tensor in as_list(body.get(side), side):
            described = as_object(tensor, f"one of {side}")
            datatype = as_string(described.get("datatype"), "datatype")
            expect(datatype in DATATYPES, f"{side} {described.get('name')}: {datatype!r} is no datatype of the protocol")
            seen.add(datatype)
    return ", ".join(sorted(seen))


def _versions(_: Subject, replies: tuple[Reply, ...]) -> str:
    versions = as_object(json_body(replies[0]), "model metadata").get("versions")
    if versions is None:
        skip("the model lists no versions, which is allowed")
    return f"{[as_string(v, 'a version') for v in as_list(versions, 'versions')]}"


def _unknown(verb: str = "") -> Ask:
    return lambda _: (HttpCall("GET", model_path(UNKNOWN, verb)),)


def _unknown_version(verb: str = "") -> Ask:
    return lambda s: (HttpCall("GET", model_path(s.model.name, verb, unknown_version(s.model))),)


CHECKS: Final = (
    Check("http.health.live", HEALTH, MUST, "GET /v2/health/live is 200", get("/v2/health/live"), status_is(200), False),
    Check("http.health.ready", HEALTH, MUST, "GET /v2/health/ready is 200", get("/v2/health/ready"), status_is(200), False),
    Check("http.health.live-body", "Server Live Response JSON Object", SHOULD, "the body says {\"live\": true}",
          get("/v2/health/live"), body_says("live"), False),
    Check("http.health.ready-body", "Server Ready Response JSON Object", SHOULD,
          "the body says `ready` (or `live`, as the text has it)",
          get("/v2/health/ready"), body_says("ready", "live"), False),
    Check("http.server.metadata", SERVER, MUST, "name, version and extensions, of the right types", get("/v2"),
          _server_metadata, False),
    Check("http.server.slash", "OpenAPI: /v2/", SHOULD, "GET /v2/ answers like /v2", get("/v2/"), _server_metadata, False),
    Check("http.server.content-type", SERVER, SHOULD, "metadata is application/json", get("/v2"), _is_json, False),
    Check("http.health.model-ready", HEALTH, MUST, "a ready model answers 200", get_model("ready"), status_is(200)),
    Check("http.health.model-ready-body", "Model Ready Response JSON Object", SHOULD, "the body says {\"ready\": true}",
          get_model("ready"), body_says("ready")),
    Check("http.health.model-ready-name", "Model Ready Response JSON Object", SHOULD, "the body names the model",
          get_model("ready"), _named),
    Check("http.health.version-ready", HEALTH, MUST, "every listed version answers 200 at its own path",
          get_versions("ready"), status_is(200)),
    Check("http.health.unknown-model-ready", HEALTH, MUST, "an unknown model is not ready: 4xx and {\"error\": string}",
          _unknown("ready"), client_error, False),
    Check("http.health.unknown-version-ready", HEALTH, MUST, "an unknown version is not ready: 4xx and {\"error\": string}",
          _unknown_version("ready"), client_error),
    Check("http.model.metadata", MODEL, MUST, "name and platform are there", get_model(), _metadata),
    Check("http.model.tensors", MODEL, MUST, "inputs and outputs with distinct names and shapes of integers, -1 for variable",
          get_model(), _tensors),
    Check("http.model.datatypes", "Tensor Data Types", MUST, "every datatype is one of the protocol's", get_model(),
          _datatypes),
    Check("http.model.versions", MODEL, MUST, "versions, if given, are strings", get_model(), _versions),
    Check("http.model.version-path", MODEL, MUST, "every listed version has metadata at its own path", get_versions(), _named),
    Check("http.model.platform", "Platforms", SHOULD, "platform is <project>_<format>", get_model(), _platform),
    Check("http.model.content-type", MODEL, SHOULD, "metadata is application/json", get_model(), _is_json),
    Check("http.model.unknown-model", MODEL_ERROR, MUST, "an unknown model: 4xx and {\"error\": string}", _unknown(),
          client_error, False),
    Check("http.model.unknown-model-status", MODEL_ERROR, SHOULD, "an unknown model is 404", _unknown(), status_is(404), False),
    Check("http.model.unknown-version", MODEL_ERROR, MUST, "an unknown version: 4xx and {\"error\": string}",
          _unknown_version(), client_error),
    Check("http.model.unknown-version-status", MODEL_ERROR, SHOULD, "an unknown version is 404", _unknown_version(),
          status_is(404)),
)  # fmt: skip
