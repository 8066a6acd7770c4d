"""gRPC over HTTP/2 as bytes: what a request's head says, how a message is framed, how an answer and a failure are written.

Pure. See gRPC's PROTOCOL-HTTP2.md; metadata that is not used here is ignored."""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from serving.access.credentials import API_KEY, AUTHORIZATION, NOTHING_SHOWN, Credentials
from serving.access.forwarded import FORWARDED, X_FORWARDED_FOR
from serving.doors.body import inflate
from serving.doors.grpc.calls import CallContext
from serving.doors.grpc.status import failure
from serving.doors.http2.frames import PROTOCOL_ERROR, ProtocolFault
from serving.doors.http2.hpack import Field, encode
from serving.doors.oip.envelope import GRPC_TIMEOUT_HEADER, VARIANT_HEADER, timeout_s, traceparent
from serving.doors.oip.tensors import brief
from serving.errors import BadRequest, ServingError, TooLarge, Unsupported

FRAME_BYTES: Final = 5
"""The prefix of a message: whether it is compressed, and its length."""
_TYPE: Final = (b"content-type", b"application/grpc")
_ACCEPT: Final = (b"grpc-accept-encoding", b"identity,deflate,gzip")
HEAD: Final = encode([(b":status", b"200"), _TYPE, _ACCEPT])
"""Before the messages."""
OK: Final = encode([(b"grpc-status", b"0")])
"""After them."""
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_HOP_BY_HOP: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_UPPER: Final = re.compile(rb"[A-Z]")
_ESCAPED: Final = re.compile(rb"[^ -$&-~]")


NOT_FORWARDED: Final[Mapping[bytes, bytes]] = MappingProxyType({})
_FORWARDED: Final = (X_FORWARDED_FOR, FORWARDED)
_JOINED: Final = frozenset({AUTHORIZATION, API_KEY, *_FORWARDED})


class RequestHead(NamedTuple):
    """What the head of a request says. problem: why it is refused before its body is read. length: its content-length.

    forwarded: headers by which proxies tell of its client."""

    method: bytes
    path: bytes
    content_type: bytes
    encoding: bytes
    length: int | None
    context: CallContext
    problem: ServingError | None = None
    forwarded: Mapping[bytes, bytes] = NOT_FORWARDED

    @property
    def is_grpc(self) -> bool:
        """Whether a gRPC client sent it."""
        return self.method == b"POST" and self.content_type.startswith(b"application/grpc")


def read_head(fields: list[Field]) -> RequestHead:
    """Fields of a request to a RequestHead. Raises ProtocolFault for a request that is malformed by HTTP/2."""
    headers: dict[bytes, bytes] = {}
    is_regular = False
    for name, value in fields:
        if name[:1] == b":":
            if is_regular or name not in _PSEUDO or name in headers:
                raise ProtocolFault(PROTOCOL_ERROR, f"misplaced {name.decode('latin-1')}")
        else:
            is_regular = True
            if name in _HOP_BY_HOP or _UPPER.search(name) or (name == b"te" and value != b"trailers"):
                raise ProtocolFault(PROTOCOL_ERROR, f"the header {name.decode('latin-1')} is not allowed in HTTP/2")
            if name in headers and name in _JOINED:  # credentials are wrong then: a proxy may have looked at the first
                value = headers[name] + b", " + value  # noqa: PLW2901
        headers[name] = value
    if not (headers.get(b":method") and headers.get(b":scheme") and headers.get(b":path")):
        raise ProtocolFault(PROTOCOL_ERROR, "the request has no :method, :scheme or :path")
    return _head(headers)


def _head(headers: Mapping[bytes, bytes]) -> RequestHead:
    deadline_s, problem = None, None
    try:
        if GRPC_TIMEOUT_HEADER in headers:
            deadline_s = timeout_s(GRPC_TIMEOUT_HEADER, headers[GRPC_TIMEOUT_HEADER])
    except ServingError as refusal:
        problem = refusal
    trace, variant = headers.get(b"traceparent"), headers.get(VARIANT_HEADER)
    length = headers.get(b"content-length", b"")
    return RequestHead(
        headers[b":method"],
        headers[b":path"],
        headers.get(b"content-type", b""),
        headers.get(b"grpc-encoding", b"identity"),
        int(length[:18]) if length.isdigit() else None,
        CallContext(
            deadline_s,
            None if trace is None else traceparent(trace.decode("latin-1")),
            None if variant is None else variant.decode("latin-1"),
            Credentials(headers.get(AUTHORIZATION), headers.get(API_KEY))
            if AUTHORIZATION in headers or API_KEY in headers
            else NOTHING_SHOWN,
        ),
        problem,
        {name: headers[name] for name in _FORWARDED if name in headers}
        if X_FORWARDED_FOR in headers or FORWARDED in headers
        else NOT_FORWARDED,
    )


def framed(message: bytes) -> bytes:
    """A message as it stands in an answer: never compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def message_length(body: bytes | bytearray, at: int = 0) -> int:
    """Bytes of the message that begins at `at` with what stands before it; more than there are if it is not whole."""
    end = at + FRAME_BYTES
    return FRAME_BYTES + (int.from_bytes(body[at + 1 : end], "big") if len(body) >= end else 0)


def not_single(size: int) -> BadRequest:
    """The error for a body of `size` bytes that is not exactly one message."""
    return BadRequest(
        f"the request's body of {size} bytes is not exactly one gRPC message of the length that its prefix states"
    )


async def unpacked(message: bytes, encoding: bytes, limit: int) -> bytes:
    """A message that came compressed. Raises BadRequest, TooLarge, or Unsupported as gRPC says."""
    if encoding == b"identity":
        raise BadRequest("a message is marked as compressed, but grpc-encoding names no compression")
    if encoding not in {b"gzip", b"deflate"}:
        raise Unsupported(
            f"grpc-encoding {brief(encoding.decode('latin-1'))} is not understood here; use gzip, deflate or identity"
        )
    return await inflate(message, encoding, limit)


def too_large(limit: int) -> TooLarge:
    """The message is over the limit."""
    return TooLarge(
        f"the request is larger than {limit} bytes; send fewer rows at a time, or raise the server's max_body_bytes"
    )


def trailers(error: ServingError) -> list[Field]:
    """Status, message and details of a failure."""
    _, number, message, details = failure(error)
    return [
        (b"grpc-status", b"%d" % number),
        (b"grpc-message", _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], message.encode())),
        (b"grpc-status-details-bin", base64.b64encode(details).rstrip(b"=")),
    ]


def refusal(error: ServingError, *, has_begun: bool = False) -> bytes:
    """The block that ends a call with a failure; before anything was sent it is the whole answer."""
    return encode(trailers(error) if has_begun else [(b":status", b"200"), _TYPE, _ACCEPT, *trailers(error)])


def not_grpc() -> tuple[bytes, bytes]:
    """Head and body for a request that no gRPC client sent."""
    text = b"this port speaks gRPC: POST with content-type application/grpc; plain HTTP has a port of its own\n"
    fields = [(b":status", b"415"), (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    return encode(fields), text
