"""The methods of inference.GRPCInferenceService, from request bytes to response bytes.

Knows the service port and the codec, not how a call arrives. Bytes are parsed here, not by the gRPC library: a malformed message must be
INVALID_ARGUMENT, and the library would answer INTERNAL."""

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from serving.access.credentials import NOTHING_SHOWN, Credentials
from serving.doors.grpc import codec, stubs
from serving.doors.grpc.answer import answer_bytes
from serving.errors import BadRequest, NotFound
from serving.ports import InferenceService


class CallContext(NamedTuple):
    """What comes with a call. deadline_s: seconds the client still waits, None for any. variant: the one it asks for.

    credentials: what shows who asks. service: as the caller may use it; None where everybody may ask for everything."""

    deadline_s: float | None = None
    traceparent: str | None = None
    variant: str | None = None
    credentials: Credentials = NOTHING_SHOWN
    service: InferenceService | None = None


Call = Callable[[bytes, CallContext], Coroutine[Any, Any, bytes]]
"""Request bytes and what comes with them -> response bytes. Raises ServingError."""

_LIVE = stubs.message("ServerLiveResponse")
_READY = stubs.message("ServerReadyResponse")
_MODEL_READY = stubs.message("ModelReadyRequest")
_IS_MODEL_READY = stubs.message("ModelReadyResponse")
_SERVER = stubs.message("ServerMetadataResponse")
_MODEL = stubs.message("ModelMetadataRequest")
_STATISTICS = stubs.message("ModelStatisticsRequest")
_INDEX = stubs.message("RepositoryIndexRequest")
_LOAD = stubs.message("RepositoryModelLoadRequest")
_LOADED = stubs.message("RepositoryModelLoadResponse")
_UNLOAD = stubs.message("RepositoryModelUnloadRequest")
_UNLOADED = stubs.message("RepositoryModelUnloadResponse")


class InferenceMethods:
    """One coroutine a method."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    def _of(self, context: CallContext) -> InferenceService:
        """The service as the caller may use it."""
        return context.service or self._service

    def methods(self) -> Mapping[str, Call]:
        """Method name -> what answers it."""
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ServerMetadata": self.server_metadata,
            "ModelReady": self.model_ready,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.load,
            "RepositoryModelUnload": self.unload,
        }

    async def model_infer(self, body: bytes, context: CallContext) -> bytes:
        """Answer one inference."""
        arrived_ns = time.time_ns()
        message = codec.parse(stubs.ModelInferRequest, body)
        request = codec.read_request(message, *context[:3], arrived_ns)
        answer = await (context.service or self._service).infer(request)
        written = answer_bytes(answer, codec.is_raw(message, request))
        if answer.trace is not None:
            answer.trace.encoded(len(written))
        return written

    async def server_live(self, _body: bytes, context: CallContext) -> bytes:
        """Whether the process answers."""
        return _bytes(_LIVE(live=self._of(context).is_live()))

    async def server_ready(self, _body: bytes, context: CallContext) -> bytes:
        """Whether every model is ready."""
        return _bytes(_READY(ready=self._of(context).is_ready()))

    async def server_metadata(self, _body: bytes, context: CallContext) -> bytes:
        """Name, version, extensions."""
        server = self._of(context).server_metadata()
        return _bytes(_SERVER(name=server.name, version=server.version, extensions=server.extensions))

    async def model_ready(self, body: bytes, context: CallContext) -> bytes:
        """Whether one model is ready."""
        asked = codec.parse(_MODEL_READY, body)
        try:
            is_ready = self._of(context).is_model_ready(_named(asked.name), asked.version or None)
        except NotFound:  # as Triton answers: its clients ask again until the model is there
            is_ready = False
        return _bytes(_IS_MODEL_READY(ready=is_ready))

    async def model_metadata(self, body: bytes, context: CallContext) -> bytes:
        """Inputs and outputs of one model."""
        asked = codec.parse(_MODEL, body)
        return _bytes(codec.write_metadata(self._of(context).model_metadata(_named(asked.name), asked.version or None)))

    async def model_statistics(self, body: bytes, context: CallContext) -> bytes:
        """What each model version has answered."""
        asked = codec.parse(_STATISTICS, body)
        return _bytes(codec.write_statistics(self._of(context).statistics(asked.name or None, asked.version or None)))

    async def repository_index(self, body: bytes, context: CallContext) -> bytes:
        """Every model version known."""
        asked = codec.parse(_INDEX, body)
        answer = stubs.RepositoryIndexResponse()
        for entry in self._of(context).repository_index(only_ready=asked.ready):
            answer.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return _bytes(answer)

    async def load(self, body: bytes, context: CallContext) -> bytes:
        """Load a model."""
        asked = codec.parse(_LOAD, body)
        name = _named(asked.triton_model_name or asked.model_name)
        await self._of(context).load(name)
        return _bytes(_LOADED(model_name=name, isLoaded=True))

    async def unload(self, body: bytes, context: CallContext) -> bytes:
        """Unload a model."""
        asked = codec.parse(_UNLOAD, body)
        name = _named(asked.triton_model_name or asked.model_name)
        await self._of(context).unload(name)
        return _bytes(_UNLOADED(model_name=name, isUnloaded=True))


def _named(name: str) -> str:
    if not name:
        raise BadRequest("the model's name is empty; name the model")
    return name


def _bytes(message: Any) -> bytes:
    written: bytes = message.SerializeToString()
    return written
