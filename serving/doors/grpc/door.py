"""The gRPC door, on our own HTTP/2: the methods of the protocol, health checking and reflection.

Unary calls of the protocol go to serving.doors.grpc.calls; health watches and reflection are streams. A call whose service
never waits is answered within the turn of the loop that read it. docs/decisions/0022 has why this is not gRPC's own server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection

from serving.access.credentials import NOTHING_SHOWN, Credentials
from serving.access.gate import Gate
from serving.access.guarded_service import guarded_after_verifying, guarded_by
from serving.access.verbs import Verb
from serving.doors.counts import PROTOCOL, DoorCounts
from serving.doors.eager import StartedWork, start
from serving.doors.grpc import codec
from serving.doors.grpc.calls import Call, CallContext, InferenceMethods
from serving.doors.grpc.health import Health
from serving.doors.grpc.method_verbs import GRPC_VERBS
from serving.doors.grpc.streaming_call import StreamingCall, while_allowed
from serving.doors.grpc.stubs import HEALTH, POOL, REFLECTION, REFLECTION_V1, SERVICE
from serving.doors.grpc.wire import (
    FRAME_BYTES,
    HEAD,
    OK,
    RequestHead,
    framed,
    message_length,
    not_grpc,
    not_single,
    read_head,
    refusal,
    too_large,
    unpacked,
)
from serving.doors.http.server import MAX_UNFINISHED_BYTES
from serving.doors.http2.connection import BODY_TIMEOUT_S
from serving.doors.http2.frames import PROTOCOL_ERROR
from serving.doors.http2.hpack import Field
from serving.doors.http2.streams import Stream
from serving.doors.oip.errors import INTERNAL_MESSAGE
from serving.doors.requester import OnEarlyRefusal, memo_of
from serving.errors import BadRequest, DeadlineExceeded, Internal, NotFound, ServingError, Unavailable, Unsupported
from serving.ports import InferenceService

_INFER: Final = f"/{SERVICE}/ModelInfer".encode()

_VERBS: Final = {f"/{name}".encode(): verb for name, verb in GRPC_VERBS.items()}

StreamingMethod = Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]
"""A streaming method: messages and what comes with the call in, messages out."""
_log = logging.getLogger(__name__)


class GrpcApplication:
    """What answers the streams of all connections."""

    def __init__(
        self,
        service: InferenceService,
        *,
        max_body_bytes: int,
        max_unfinished_bytes: int = MAX_UNFINISHED_BYTES,
        admit: Callable[[], ServingError | None] | None = None,
        on_refused: OnEarlyRefusal | None = None,
        counts: DoorCounts | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.counts = counts or DoorCounts("grpc")
        self.health = Health(service)
        self._service, self._gate = service, gate
        self.max_bytes, self.room_bytes = max_body_bytes + FRAME_BYTES, max_unfinished_bytes
        self._limit, self._admit, self._on_refused = max_body_bytes, admit, on_refused
        self._loop = asyncio.get_running_loop()
        self._calls: dict[bytes, Call] = {
            f"/{SERVICE}/{n}".encode(): call for n, call in InferenceMethods(service).methods().items()
        }
        self._calls[f"/{HEALTH}/Check".encode()] = self._check
        self._streaming_methods: dict[bytes, StreamingMethod] = {f"/{HEALTH}/Watch".encode(): self._watch}
        for name in (REFLECTION, REFLECTION_V1):
            self._streaming_methods[f"/{name}/ServerReflectionInfo".encode()] = _reflect

    # ---- serving.doors.http2.streams.StreamApplication

    def head(self, fields: list[Field]) -> RequestHead:
        """See StreamApplication."""
        return read_head(fields)

    def opened(self, stream: Stream) -> None:
        """Begin a streaming call. Refuse an unknown method at once, because the client may wait for an answer before it sends the rest."""
        head: RequestHead = stream.head
        if self._gate is not None and self._shows_too_little(self._gate, head):
            self._refuse(stream, self._gate.without_credentials("grpc"))
            return
        if head.path in self._calls or not head.is_grpc:
            return
        if head.problem is not None:
            self._refuse(stream, head.problem)
        elif (method := self._streaming_methods.get(head.path)) is not None:
            stream.is_streaming = True
            call = stream.state = StreamingCall(stream, head.encoding, self._loop.time)
            call.task = self._loop.create_task(self._run_stream(stream, method, call))
            self._limit_time(stream, call.task, head.context.deadline_s)
        else:
            shown = head.path[:120].decode("latin-1")
            self._refuse(stream, Unsupported(f"no such method: {shown}; server reflection describes what is offered"))

    def _shows_too_little(self, gate: Gate, head: RequestHead) -> bool:
        """Whether a call is refused before its body, because its head shows no credentials."""
        is_bare = gate.needs_credentials and head.context.credentials is NOTHING_SHOWN
        return is_bare and head.is_grpc and head.path in self._calls and _VERBS.get(head.path) not in gate.open

    def arrived(self, stream: Stream) -> None:
        """See StreamApplication."""
        if stream.state is None:  # it is refused, and the refusal waits for the client's windows
            _discard(stream)
            return
        try:
            stream.state.inbox.put()
        except ServingError as error:
            self.gone(stream)
            self._refuse(stream, error)

    def complete(self, stream: Stream) -> None:
        """Answer a call: within this turn of the loop if its service never waits."""
        head: RequestHead = stream.head
        body = stream.body
        if stream.is_streaming:
            self.arrived(stream)
            if stream.state is not None:
                stream.state.inbox.end()
            return
        if head.length is not None and head.length != len(body):
            self.counts.broken(PROTOCOL)
            stream.connection.reset(stream, PROTOCOL_ERROR)
            return
        if not head.is_grpc:
            self.counts.broken(PROTOCOL)
            stream.connection.send(stream, *not_grpc(), b"", is_last=True)
            return
        if (problem := head.problem or self._refused(head, body)) is not None:
            self._refuse(stream, problem)
            return
        message, is_packed = bytes(body[FRAME_BYTES:]), body[0]
        call = self._calls[head.path]
        if is_packed or self._gate is not None:
            work = self._prepare_and_call(call, message, stream, is_packed=bool(is_packed))
        else:
            work = call(message, head.context)
        task: StartedWork[bytes] | None = start(
            work, lambda result, problem: self._answered(stream, result, problem), self._loop
        )
        if task is not None:
            stream.state = task
            self._limit_time(stream, task, head.context.deadline_s)

    def _refused(self, head: RequestHead, body: bytes | bytearray) -> ServingError | None:
        if head.path == _INFER and self._admit is not None and (refused := self._admit()) is not None:
            if self._on_refused is not None:
                self._on_refused("grpc", head.path, head.context.traceparent, refused)
            return refused
        return None if len(body) == message_length(body) else not_single(len(body))

    def too_large(self, stream: Stream) -> None:
        """See StreamApplication."""
        if stream.is_streaming and stream.state is None:
            _discard(stream)
            return
        self.gone(stream)
        self._refuse(stream, too_large(self._limit))

    def too_slow(self, stream: Stream) -> None:
        """See StreamApplication."""
        self.gone(stream)
        self._refuse(stream, BadRequest(f"the request did not arrive within {BODY_TIMEOUT_S:g} s; send it faster"))

    def gone(self, stream: Stream) -> None:
        """Stop what works for it."""
        state, stream.state = stream.state, None
        if state is not None:
            state.cancel()

    def give_up(self, stream: Stream) -> None:
        """Stop what works for it and say so."""
        self.gone(stream)
        if stream.is_streaming:
            self._refuse(stream, _closing())

    # ---- calls

    def _limit_time(self, stream: Stream, task: "StartedWork[bytes] | asyncio.Task[Any]", deadline_s: float | None) -> None:
        """The service keeps deadlines itself; this ends calls that do not return."""
        if deadline_s is None:
            return

        def late() -> None:
            if stream.is_open and not task.done():
                self.gone(stream)
                self._refuse(stream, DeadlineExceeded("the deadline passed before the answer was ready"))

        timer = self._loop.call_later(min(deadline_s, 86_400.0) + 0.005, late)
        ended = task.ended() if isinstance(task, StartedWork) else task
        ended.add_done_callback(lambda _: timer.cancel())

    async def _prepare_and_call(self, call: Call, message: bytes, stream: Stream, *, is_packed: bool) -> bytes:
        head: RequestHead = stream.head
        context = await self._guarded(stream)
        return await call(await unpacked(message, head.encoding, self._limit) if is_packed else message, context)

    async def _guarded(self, stream: Stream) -> CallContext:
        """The context of a call, with the service as its caller may use it. Raises ServingError."""
        head: RequestHead = stream.head
        gate, context, connection = self._gate, head.context, stream.connection
        if gate is None:
            return context
        memo = memo_of(connection)
        address = memo.address if gate.proxies is None else gate.proxies.client_of(memo.address, head.forwarded)
        credentials = Credentials(*context.credentials[:2], connection.peer, address, memo)
        verb = _VERBS.get(head.path)
        if verb in gate.open:
            return context._replace(credentials=credentials)
        if verb is None:
            gate.refuse_other(verb, credentials, "grpc")
        guarded = guarded_by(gate, self._service, credentials, verb, None, "grpc")
        if guarded is None:
            guarded = await guarded_after_verifying(gate, self._service, credentials, verb, None, "grpc")
        return context._replace(credentials=credentials, service=guarded)

    def _answered(self, stream: Stream, result: bytes | None, problem: BaseException | None) -> None:
        stream.state = None
        if result is not None:
            stream.connection.answer(stream, HEAD, framed(result), OK)
        elif not isinstance(problem, asyncio.CancelledError):
            self._refuse(stream, _named(problem))
        elif stream.is_open:  # only the door cancels what its client still waits for, when its grace is over
            self._refuse(stream, _closing())

    async def _run_stream(self, stream: Stream, method: StreamingMethod, call: StreamingCall) -> None:
        try:
            context = await self._guarded(stream)
            messages = method(call.inbox.__aiter__(), context)
            if (gate := self._gate) is not None and (verb := _VERBS.get(stream.head.path)) is not None:
                messages = while_allowed(messages, partial(gate.check_again, context.credentials, verb, None, "grpc"))
            async for message in messages:
                await call.send(message)
            stream.state = None
            stream.connection.send(stream, b"" if stream.has_begun else HEAD, b"", OK)
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            self._refuse(stream, _named(problem))

    def _refuse(self, stream: Stream, error: ServingError) -> None:
        self.counts.error(error)
        stream.state = None
        block = refusal(error, has_begun=stream.has_begun)
        if stream.has_begun:
            stream.connection.send(stream, b"", b"", block)
        else:
            stream.connection.send(stream, block, b"", b"", is_last=True)

    # ---- health

    async def _check(self, body: bytes, context: CallContext) -> bytes:
        name = codec.parse(health_pb2.HealthCheckRequest, body).service
        await self._may_know(name, context)
        answer: bytes = health_pb2.HealthCheckResponse(status=self.health.status(name)).SerializeToString()
        return answer

    async def _watch(self, messages: AsyncIterator[bytes], context: CallContext) -> AsyncIterator[bytes]:
        async for body in messages:
            name = codec.parse(health_pb2.HealthCheckRequest, body).service
            with suppress(NotFound):  # it may come
                await self._may_know(name, context)
            states = self._states_of(name)
            if (gate := self._gate) is not None and not self._is_for_all(gate, name):
                states = while_allowed(states, partial(gate.check_again, context.credentials, Verb.METADATA, name, "grpc"))
            async for state in states:
                yield state
            return

    async def _states_of(self, name: str) -> AsyncIterator[bytes]:
        async for status in self.health.changes(name):
            yield health_pb2.HealthCheckResponse(status=status).SerializeToString()

    @staticmethod
    def _is_for_all(gate: Gate, name: str) -> bool:
        return name in {"", SERVICE} or Verb.METADATA in gate.open

    async def _may_know(self, name: str, context: CallContext) -> None:
        """The health of a model is for those who may know of it. Raises ServingError: NotFound in words that name no other model."""
        gate = self._gate
        if gate is None or self._is_for_all(gate, name):
            return
        asked = gate, self._service, context.credentials, Verb.METADATA, name, "grpc"
        guarded = guarded_by(*asked) or await guarded_after_verifying(*asked)
        guarded.is_model_ready(name, None)


async def _reflect(messages: AsyncIterator[bytes], _: CallContext) -> AsyncIterator[bytes]:
    """v1 and v1alpha differ in name only, so one servicer answers both."""
    servicer = reflection.ReflectionServicer((SERVICE, HEALTH, REFLECTION, REFLECTION_V1), pool=POOL)

    async def questions() -> AsyncIterator[Any]:
        async for message in messages:
            yield codec.parse(reflection_pb2.ServerReflectionRequest, message)

    async for answer in servicer.ServerReflectionInfo(questions(), None):
        yield answer.SerializeToString()


def _discard(stream: Stream) -> None:
    stream.body = b""
    stream.connection.consumed(stream, stream.held)


def _closing() -> Unavailable:
    return Unavailable("the server is shutting down and this call took too long; send it again")


def _named(problem: BaseException | None) -> ServingError:
    if isinstance(problem, ServingError):
        return problem
    _log.error("a gRPC call failed", exc_info=problem)
    return Internal(INTERNAL_MESSAGE)
