"""Calls and replies as values, for both doors: what the core asks a transport to send and what it judges.

Pure. gRPC bodies are serialised messages: the transport needs no stubs."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpCall:
    """An HTTP request, sent as it is: nothing is added but Host and Content-Length."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """One message to a method given as `/package.Service/Method`. is_stream: the method streams; one reply is awaited."""

    method: str
    message: bytes
    is_stream: bool = False


@dataclass(frozen=True, slots=True)
class GrpcReply:
    """A gRPC status by its name (`OK`, `NOT_FOUND`, ...), its message, and the reply if it was OK."""

    code: str
    details: str
    message: bytes


@dataclass(frozen=True, slots=True)
class NoReply:
    """The connection failed, was closed without an answer, or timed out."""

    reason: str


Call = HttpCall | GrpcCall
Reply = HttpReply | GrpcReply | NoReply
