"""Finds what to check: the server's extensions, its models, and for each model a request that it accepts.

Talks through a `send` function only. Raises DiscoveryError, with a reason for people, for what cannot be found."""

from collections.abc import Iterator, Sequence

from operators.conformance.checks.repository import index_call, read_index
from operators.conformance.compare import check_same
from operators.conformance.encoding import (
    as_list,
    as_object,
    as_shape,
    as_string,
    infer_call,
    json_body,
    model_path,
    read_answer,
    request_object,
)
from operators.conformance.exchange import HttpCall, NoReply
from operators.conformance.rpc import call, read
from operators.conformance.rpc import infer_call as rpc_infer_call
from operators.conformance.rpc import read_answer as rpc_read_answer
from operators.conformance.synthesis import BATCH_SIZES, inputs_of
from operators.conformance.transport import Send
from operators.conformance.values import Answer, Failed, ModelFacts, Request, ServerFacts, Skipped, Tensor, TensorInfo


class DiscoveryError(Exception):
    """There is nothing to check, or it cannot be found; the message says what to do."""


def server_facts(send: Send, *, has_http: bool, has_grpc: bool, may_change: bool) -> ServerFacts:
    """Ask the server for its extensions; a server that does not list any has none."""
    try:
        if has_http:
            reply = send(HttpCall("GET", "/v2"))
            if isinstance(reply, NoReply):
                raise DiscoveryError(f"the HTTP door does not answer: {reply.reason}")
            names = as_list(as_object(json_body(reply), "server metadata").get("extensions"), "extensions")
        else:
            answer = send(call("ServerMetadata"))
            if isinstance(answer, NoReply):
                raise DiscoveryError(f"the gRPC door does not answer: {answer.reason}")
            names = list(read(answer, "ServerMetadataResponse").extensions)
    except Failed:
        names = []
    return ServerFacts(frozenset(str(e) for e in names), has_http, has_grpc, may_change)


def model_names(send: Send, server: ServerFacts, requested: Sequence[str]) -> tuple[str, ...]:
    """The models named by the caller, or those the repository index calls READY."""
    if requested:
        return tuple(dict.fromkeys(requested))
    try:
        if server.has_http:
            found = [name for name, _, state in read_index(send(index_call(b'{"ready": true}'))) if state in ("READY", "")]
        else:
            index = read(send(call("RepositoryIndex", ready=True)), "RepositoryIndexResponse")
            found = [m.name for m in index.models if m.state in ("READY", "")]
    except Failed as problem:
        raise DiscoveryError(f"this server has no repository index ({problem}); name a model with --model NAME") from problem
    if not found:
        raise DiscoveryError("the repository index lists no ready model; name one with --model NAME")
    return tuple(dict.fromkeys(found))


def model_facts(send: Send, server: ServerFacts, name: str) -> ModelFacts:
    """Read a model's metadata and look for a request that it accepts."""
    try:
        versions, inputs, outputs = _http_metadata(send, name) if server.has_http else _rpc_metadata(send, name)
    except Failed as problem:
        raise DiscoveryError(f"model {name}: its metadata cannot be used ({problem}); is the name right?") from problem
    guess: tuple[Tensor, ...] = ()
    for guess in _guesses(inputs):
        first = _try(send, server, name, guess)
        if first is not None:
            again = _try(send, server, name, guess)
            facts = ModelFacts(name, versions, inputs, outputs, guess, first)
            return facts if _is_same(facts, again) else ModelFacts(name, versions, inputs, outputs, guess, first, False)
    return ModelFacts(name, versions, inputs, outputs, guess, None)


def _is_same(facts: ModelFacts, again: Answer | None) -> bool:
    try:
        if again is None:
            return False
        check_same(facts, again, facts.answer)
    except Failed:
        return False
    return True


def _guesses(inputs: Sequence[TensorInfo]) -> Iterator[tuple[Tensor, ...]]:
    for batch in BATCH_SIZES:
        try:
            yield inputs_of(inputs, batch)
        except Skipped:
            return


def _try(send: Send, server: ServerFacts, name: str, inputs: tuple[Tensor, ...]) -> Answer | None:
    request = Request(inputs)
    try:
        if server.has_http:
            return read_answer(send(infer_call(name, request_object(request))))
        return rpc_read_answer(send(rpc_infer_call(name, request)))[0]
    except Failed:
        return None


_Metadata = tuple[tuple[str, ...], tuple[TensorInfo, ...], tuple[TensorInfo, ...]]


def _http_metadata(send: Send, name: str) -> _Metadata:
    body = as_object(json_body(send(HttpCall("GET", model_path(name)))), "model metadata")
    versions = tuple(as_string(v, "a version") for v in as_list(body.get("versions") or [], "versions"))

    def side(key: str) -> tuple[TensorInfo, ...]:
        described = [as_object(t, f"one of {key}") for t in as_list(body.get(key), key)]
        return tuple(
            TensorInfo(
                as_string(t.get("name"), "name"), as_string(t.get("datatype"), "datatype"), as_shape(t.get("shape"), "shape")
            )
            for t in described
        )

    return versions, side("inputs"), side("outputs")


def _rpc_metadata(send: Send, name: str) -> _Metadata:
    message = read(send(call("ModelMetadata", name=name)), "ModelMetadataResponse")
    sides = [tuple(TensorInfo(t.name, t.datatype, tuple(t.shape)) for t in s) for s in (message.inputs, message.outputs)]
    return tuple(message.versions), sides[0], sides[1]
