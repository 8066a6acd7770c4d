"""The gRPC door `grpc_door: aio`: gRPC's own asyncio server over the InferenceService port, with health checking and reflection.

The door that replicas open unless they are told otherwise is serving.doors.grpc.door's. Only carries: bytes in, a call of
serving.doors.grpc.calls, bytes out; an error becomes its code, its message and google.rpc details. It runs on the loop it is
started on, beside the HTTP door and all that is behind both."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection

from serving.doors.grpc.calls import Call, CallContext, InferenceMethods
from serving.doors.grpc.health import Health
from serving.doors.grpc.status import failure
from serving.doors.grpc.stubs import HEALTH, POOL, REFLECTION, REFLECTION_V1, SERVICE
from serving.doors.oip.envelope import VARIANT_HEADER, traceparent
from serving.doors.oip.errors import INTERNAL_MESSAGE
from serving.doors.socket_handover import SETTLE_S, connections, listening, turn_away
from serving.errors import Internal, ServingError
from serving.ports import InferenceService

CONNECTION_AGE_S: Final = 10.0
"""Where replicas share the port, a connection is asked to go at this age (a tenth more or less): its client opens another, which
any replica may get. gRPC's clients keep one connection for good, so replicas added later would never meet them; and a replica
that closes waits this long for its clients to go, since a call that crosses gRPC's own closing is cancelled."""
_VARIANT: Final = VARIANT_HEADER.decode()
Admit = Callable[[], ServingError | None]

_log = logging.getLogger(__name__)


class GrpcDoor:
    """A running gRPC server."""

    def __init__(self, server: Any, port: int, health: Health, shared: frozenset[int]) -> None:
        self.port = port
        self._server = server
        self._health = health
        self._shared = shared

    async def stop(self, grace_s: float) -> None:
        """Say not serving, accept nothing more, let calls under way finish within grace_s. Where others share the port and
        grace_s is not 0, clients are first left the time to go to them."""
        self._health.close()
        if grace_s > 0 and self._turn_away():
            await self._see_off()
        await self._server.stop(grace_s)

    def _turn_away(self) -> bool:
        for fd in self._shared:
            sock = socket.socket(fileno=fd)
            turn_away(sock)
            sock.detach()  # it is gRPC's
        return bool(self._shared)

    async def _see_off(self) -> None:
        """Wait until no connection is left; every one is asked to go at its age."""
        deadline = asyncio.get_running_loop().time() + CONNECTION_AGE_S * 1.1 + 1.0
        await asyncio.sleep(SETTLE_S)
        while connections(self.port) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.05)


async def start_grpc(
    service: InferenceService, address: str, *, max_body_bytes: int, reuse_port: bool = False, admit: Admit | None = None
) -> GrpcDoor:
    """Listen on address (`host:port`, port 0 for any). admit: asked before a message is parsed. Raises OSError if it cannot be bound."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(reuse_port)),
            *((("grpc.max_connection_age_ms", int(CONNECTION_AGE_S * 1000)),) if reuse_port else ()),
            ("grpc.http2.max_ping_strikes", 0),  # a client that keeps its idle connection alive is no attacker
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    health = Health(service)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                SERVICE,
                {
                    n: _unary(call, admit if n == "ModelInfer" else None)
                    for n, call in InferenceMethods(service).methods().items()
                },
            ),
            _Health(health).handler(),
            _reflection(REFLECTION),
            _reflection(REFLECTION_V1),
        )
    )
    before = listening(int(address.rpartition(":")[2]))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as problem:
        raise OSError(f"cannot listen on {address} for gRPC: {problem}; choose another port") from problem
    if not port:
        raise OSError(f"cannot listen on {address} for gRPC; choose another port")
    await server.start()
    return GrpcDoor(server, port, health, listening(port) - before if reuse_port else frozenset())


def _unary(call: Call, admit: Admit | None) -> Any:
    async def answer(body: bytes, context: Any) -> bytes:
        if admit is not None and (refusal := admit()) is not None:
            return await _refuse(context, refusal)
        trace = variant = None
        for key, value in context.invocation_metadata() or ():
            if key == "traceparent":
                trace = traceparent(value)
            elif key == _VARIANT:
                variant = value
        try:
            return await call(body, CallContext(context.time_remaining(), trace, variant))
        except ServingError as error:
            return await _refuse(context, error)
        except Exception:
            _log.exception("a gRPC call failed")
            return await _refuse(context, Internal(INTERNAL_MESSAGE))

    return grpc.unary_unary_rpc_method_handler(answer)


async def _refuse(context: Any, error: ServingError) -> bytes:
    code, _, message, details = failure(error)
    await context.abort(grpc.StatusCode[code], message, (("grpc-status-details-bin", details),))
    raise AssertionError("abort raises")


class _Health:
    """serving.doors.grpc.health as gRPC's server wants it."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def handler(self) -> Any:
        """Check and Watch."""
        request, response = health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, request, response),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, request, response),
            },
        )

    async def check(self, request: Any, context: Any) -> Any:
        """The state now."""
        try:
            return health_pb2.HealthCheckResponse(status=self._health.status(request.service))
        except ServingError as error:
            return await _refuse(context, error)

    async def watch(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """The state now and whenever it changes."""
        async for status in self._health.changes(request.service):
            yield health_pb2.HealthCheckResponse(status=status)


def _reflection(name: str) -> Any:
    """v1 and v1alpha differ in name only, so one servicer answers both."""
    servicer = reflection.ReflectionServicer((SERVICE, HEALTH, REFLECTION, REFLECTION_V1), pool=POOL)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
