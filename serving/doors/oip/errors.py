"""The one place where errors become statuses: serving.errors.* -> HTTP status and gRPC code, and the one error body.

Pure: names codes, sends nothing. The doors turn unknown exceptions into `Internal` and log the trace themselves."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import orjson

from serving.errors import (
    BadRequest,
    DeadlineExceeded,
    Forbidden,
    Internal,
    ModelFault,
    NotFound,
    Overloaded,
    ServingError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

HTTP_STATUS: Final[Mapping[type[ServingError], int]] = MappingProxyType(
    {
        BadRequest: 400,
        Unauthenticated: 401,
        Forbidden: 403,
        NotFound: 404,
        TooLarge: 413,
        Unsupported: 501,
        Unavailable: 503,
        Overloaded: 429,
        DeadlineExceeded: 504,
        Internal: 500,
        ModelFault: 500,
    }
)
GRPC_CODE: Final[Mapping[type[ServingError], str]] = MappingProxyType(
    {
        BadRequest: "INVALID_ARGUMENT",
        Unauthenticated: "UNAUTHENTICATED",
        Forbidden: "PERMISSION_DENIED",
        NotFound: "NOT_FOUND",
        TooLarge: "RESOURCE_EXHAUSTED",
        Unsupported: "UNIMPLEMENTED",
        Unavailable: "UNAVAILABLE",
        Overloaded: "RESOURCE_EXHAUSTED",
        DeadlineExceeded: "DEADLINE_EXCEEDED",
        Internal: "INTERNAL",
        ModelFault: "INTERNAL",
    }
)
"""Names of grpc.StatusCode, so that this module needs no gRPC."""

INTERNAL_MESSAGE: Final = "internal error; the server's log has the trace, please report it with the time of this request"
DEFAULT_RETRY_AFTER_S: Final = 1.0
"""Retry-After if trying again may help and the error gives no time."""


def _cause(error: ServingError) -> type[ServingError]:
    """The nearest class in the table: a subclass is answered as its base class."""
    return next((kind for kind in type(error).__mro__ if kind in HTTP_STATUS), Internal)


def http_status(error: ServingError) -> int:
    """The HTTP status of an error."""
    return HTTP_STATUS[_cause(error)]


def grpc_code(error: ServingError) -> str:
    """The name of the gRPC status code of an error."""
    return GRPC_CODE[_cause(error)]


def reason(error: ServingError) -> str:
    """The cause in upper snake case, for google.rpc.ErrorInfo: `TOO_LARGE`."""
    name = _cause(error).__name__
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name).lstrip("_")


def retry_after_s(error: ServingError) -> float | None:
    """How long to wait before trying again; None if trying again cannot help or needs no wait."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return DEFAULT_RETRY_AFTER_S if _cause(error) in {Unavailable, Overloaded} else None


def retry_after_header(error: ServingError) -> bytes | None:
    """The value of Retry-After: whole seconds, at least one."""
    wait_s = retry_after_s(error)
    return None if wait_s is None else b"%d" % max(1, math.ceil(wait_s))


def error_body(message: str) -> bytes:
    """The body of every failure: `{"error": "..."}`."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})
