"""HTTP and gRPC: the model repository extension. Skipped where the server does not declare it.

Checks that load and unload a model run only when the server may be changed (`--may-change`)."""

from typing import Final

from operators.conformance.checks.judging import client_code, client_error
from operators.conformance.compare import check_same
from operators.conformance.encoding import (
    JSON_HEADERS,
    as_list,
    as_object,
    as_string,
    http,
    infer_call,
    json_body,
    model_path,
    read_answer,
    request_object,
)
from operators.conformance.exchange import Call, HttpCall, Reply
from operators.conformance.mutations import UNKNOWN
from operators.conformance.rpc import call, read
from operators.conformance.values import Ask, Check, Level, Subject, expect, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
EXTENSION: Final = "Model Repository Extension"
INDEXED: Final = ("model_repository",)
CONTROLLED: Final = (*INDEXED, "model_repository_extension")
"""KServe's extension of the second name loads and unloads, and has no index."""

_UNKNOWN: Final = {"repository_name": UNKNOWN, "model_name": UNKNOWN}
"""KServe's messages have the model's name where Triton's have the repository's; unknown either way."""


def index_call(body: bytes = b"{}") -> HttpCall:
    """POST the repository index."""
    return HttpCall("POST", "/v2/repository/index", body, JSON_HEADERS)


def control_call(model: str, verb: str) -> HttpCall:
    """POST load or unload."""
    return HttpCall("POST", model_path(model, verb).replace("/v2/models/", "/v2/repository/models/"), b"{}", JSON_HEADERS)


def read_index(reply: Reply) -> list[tuple[str, str, str]]:
    """Name, version and state of every entry."""
    entries = [as_object(e, "an index entry") for e in as_list(json_body(reply), "the index")]
    found = []
    for entry in entries:
        as_string(entry.get("reason", ""), "reason")
        name, state = as_string(entry.get("name"), "name"), as_string(entry.get("state", ""), "state")
        found.append((name, as_string(entry.get("version", ""), "version"), state))
    return found


def _declared(*calls: Call, names: tuple[str, ...] = INDEXED) -> Ask:
    def ask(subject: Subject) -> tuple[Call, ...]:
        if not subject.server.declares(*names):
            skip("the server does not declare model_repository")
        return calls

    return ask


def _cycle(subject: Subject) -> tuple[Call, ...]:
    _declared()(subject)
    if not subject.server.may_change:
        skip("it would unload the model for a moment; allow it with --may-change")
    name = subject.model.name
    infer = infer_call(name, request_object(subject.model.request))
    return (
        control_call(name, "unload"),
        HttpCall("GET", model_path(name, "ready")),
        infer,
        index_call(),
        control_call(name, "load"),
        HttpCall("GET", model_path(name, "ready")),
        infer,
    )


def _cycled(subject: Subject, replies: tuple[Reply, ...]) -> str:
    unloaded, unready, refused, index, loaded, ready, answered = replies
    expect(http(unloaded).status == 200, f"unload: status {http(unloaded).status}")
    expect(http(unready).status != 200, "an unloaded model says it is ready")
    expect(http(refused).status >= 400, "an unloaded model answered a request")
    states = {state for name, _, state in read_index(index) if name == subject.model.name}
    expect("READY" not in states, f"the index calls the unloaded model {states}")
    expect(http(loaded).status == 200, f"load: status {http(loaded).status}")
    expect(http(ready).status == 200, f"after load, ready: status {http(ready).status}")
    check_same(subject.model, read_answer(answered), subject.model.answer)
    return "unloaded, refused, loaded, answers as before"


def _lists_model(subject: Subject, replies: tuple[Reply, ...]) -> str:
    entries = read_index(replies[0])
    mine = [entry for entry in entries if entry[0] == subject.model.name]
    expect(bool(mine), f"{subject.model.name} is not among {sorted({e[0] for e in entries})}")
    expect(any(state == "READY" for _, _, state in mine), f"{subject.model.name} answers requests but is {mine}")
    return f"{len(entries)} entries"


def _only_ready(_: Subject, replies: tuple[Reply, ...]) -> str:
    entries = read_index(replies[0])
    expect(all(state == "READY" for _, _, state in entries), f"`ready` was asked for, got {entries}")
    return f"{len(entries)} entries"


def _grpc_lists_model(subject: Subject, replies: tuple[Reply, ...]) -> str:
    models = read(replies[0], "RepositoryIndexResponse").models
    states = [(m.name, m.version, m.state) for m in models if m.name == subject.model.name]
    expect(any(state == "READY" for _, _, state in states), f"{subject.model.name} is {states} in the index")
    return f"{len(models)} entries"


CHECKS: Final = (
    Check("http.repository.index", EXTENSION, MUST, "the index lists a model that answers as READY", _declared(index_call()),
          _lists_model),
    Check("http.repository.index-ready", EXTENSION, MUST, "`ready` lists only ready models",
          _declared(index_call(b'{"ready": true}')),
          _only_ready, False),
    Check("http.repository.index-malformed", EXTENSION, SHOULD, "a body that is not JSON: 4xx and {\"error\": string}",
          _declared(index_call(b"{")), client_error, False),
    Check("http.repository.load-unknown", EXTENSION, MUST, "loading an unknown model: 4xx and {\"error\": string}",
          _declared(control_call(UNKNOWN, "load"), names=CONTROLLED), client_error, False),
    Check("http.repository.unload-unknown", EXTENSION, SHOULD, "unloading an unknown model: 4xx and {\"error\": string}",
          _declared(control_call(UNKNOWN, "unload"), names=CONTROLLED), client_error, False),
    Check("http.repository.cycle", EXTENSION, MUST, "unload takes the model out, load brings it back", _cycle, _cycled),
    Check("grpc.repository.index", EXTENSION, MUST, "RepositoryIndex lists a model that answers as READY",
          _declared(call("RepositoryIndex")), _grpc_lists_model),
    Check("grpc.repository.load-unknown", EXTENSION, MUST, "RepositoryModelLoad of an unknown model blames the request",
          _declared(call("RepositoryModelLoad", **_UNKNOWN), names=CONTROLLED), client_code, False),
    Check("grpc.repository.unload-unknown", EXTENSION, SHOULD, "RepositoryModelUnload of an unknown model blames the request",
          _declared(call("RepositoryModelUnload", **_UNKNOWN), names=CONTROLLED), client_code, False),
)  # fmt: skip
