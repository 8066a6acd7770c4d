"""The data around a request on either door: model, deadline, trace, variant.

Pure. A client says how long it waits in any of these ways; the shortest holds:
- HTTP header `x-request-timeout-ms`: milliseconds;
- HTTP header `x-envoy-expected-rq-timeout-ms`: the same, set by Envoy on what it forwards;
- HTTP header `grpc-timeout`: as gRPC writes it (`500m`), passed on by a gRPC-to-HTTP bridge;
- the gRPC deadline;
- request parameter `timeout`: microseconds, as Triton reads it; 0 means none."""

import re
from typing import Final, NamedTuple

from serving.doors.oip.tensors import brief
from serving.errors import BadRequest
from serving.messages import Parameters

TIMEOUT_HEADER: Final = b"x-request-timeout-ms"
ENVOY_TIMEOUT_HEADER: Final = b"x-envoy-expected-rq-timeout-ms"
GRPC_TIMEOUT_HEADER: Final = b"grpc-timeout"
VARIANT_HEADER: Final = b"x-vedette-variant"
"""HTTP header, and gRPC metadata, that asks for a variant by name."""
TENANT_HEADER: Final = b"x-vedette-tenant"
"""HTTP header with the tenant of a request, as the request parameter `tenant`; the header wins."""
TIMEOUT_HEADERS: Final = frozenset({TIMEOUT_HEADER, ENVOY_TIMEOUT_HEADER, GRPC_TIMEOUT_HEADER})
_GRPC_UNITS_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Envelope(NamedTuple):
    """version: None means the model's default. deadline_s: seconds the client still waits. traceparent: W3C trace context.
    variant: the variant a header asks for. arrived_ns: wall clock when the door began to read it, 0: unknown."""

    model: str
    version: str | None = None
    deadline_s: float | None = None
    traceparent: str | None = None
    door: str = "http"
    variant: str | None = None
    arrived_ns: int = 0


def timeout_s(name: bytes, value: bytes) -> float | None:
    """Seconds from one of TIMEOUT_HEADERS; None for 0, which means no timeout. Raises BadRequest."""
    text = value.decode("latin-1").strip()
    if name == GRPC_TIMEOUT_HEADER:
        number, scale = text[:-1], _GRPC_UNITS_S.get(text[-1:], 0.0)
    else:
        number, scale = text, 1e-3
    if not (number.isascii() and number.isdigit()) or len(number) > 15 or not scale:
        raise BadRequest(f"header {name.decode()} is {brief(text)}, expected milliseconds as a whole number, e.g. 250")
    return int(number) * scale or None


def parameter_timeout_s(parameters: Parameters) -> float | None:
    """Seconds from the request parameter `timeout`; None if it is absent or 0. Raises BadRequest."""
    if "timeout" not in parameters:
        return None
    value = parameters["timeout"]
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if type(value) is not int or value < 0:
        raise BadRequest(f"parameters.timeout is {brief(value)}, expected microseconds as a whole number, e.g. 250000")
    return value * 1e-6 or None


def sooner(one: float | None, other: float | None) -> float | None:
    """The shorter of two waits; None means no limit."""
    if one is None:
        return other
    return one if other is None or one < other else other


def traceparent(value: str) -> str | None:
    """A well-formed traceparent, else None: as the W3C says, a broken one is ignored, never an error."""
    return value if _TRACEPARENT.fullmatch(value) else None
