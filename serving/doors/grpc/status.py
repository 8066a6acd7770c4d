"""Failures in gRPC: code, message and google.rpc details. Pure; the doors send them."""

from typing import Any, Final, NamedTuple

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from serving.doors.oip.errors import grpc_code, reason, retry_after_s
from serving.errors import ServingError

MAX_MESSAGE: Final = 2000
"""Longest status message, characters; gRPC carries it in a header."""
DOMAIN: Final = "vedette.dev"


class GrpcFailure(NamedTuple):
    """code: a name of grpc.StatusCode. details: google.rpc.Status, serialized."""

    code: str
    number: int
    message: str
    details: bytes


def failure(error: ServingError) -> GrpcFailure:
    """The cause as ErrorInfo, and RetryInfo where trying again can help."""
    code = grpc_code(error)
    number = code_pb2.Code.Value(code)
    message = error.message.encode("utf-8", "replace").decode()[:MAX_MESSAGE]
    parts: list[Any] = [error_details_pb2.ErrorInfo(reason=reason(error), domain=DOMAIN)]
    wait_s = retry_after_s(error)
    if wait_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(wait_s * 1e9))
        parts.append(retry)
    status = status_pb2.Status(code=number, message=message)
    for part in parts:
        packed = any_pb2.Any()
        packed.Pack(part)
        status.details.append(packed)
    return GrpcFailure(code, number, message, status.SerializeToString())
