"""Bodies: read within the limit, inflated within the limit, deflated if the client likes.

Knows ASGI's receive and zlib; knows nothing of what the bytes mean. The limit holds for Content-Length before a byte is read, while
reading, and for the inflated size of a compressed body. The replica's own listener reads bodies by serving.doors.http.request_parser,
within the same limit."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from serving.doors.oip.tensors import brief
from serving.errors import BadRequest, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]

COMPRESS_FROM_BYTES: Final = 8192
"""Smaller answers are sent uncompressed: most clients accept gzip by default, and compression costs more time than it saves."""
IN_THREAD_FROM_BYTES: Final = 256 * 1024
"""Larger bodies are inflated and deflated in a thread, so that the loop goes on answering others."""
DISCARDED_BYTES: Final = 64 * 1024 * 1024
"""How much of a body that is too large is read and dropped before the refusal is sent."""
_INFLATED_AT_ONCE: Final = 4096
_GZIP_OR_ZLIB: Final = 47
_RAW_DEFLATE: Final = -15
_ENCODINGS: Final = {b"gzip": _GZIP_OR_ZLIB, b"x-gzip": _GZIP_OR_ZLIB, b"deflate": _GZIP_OR_ZLIB}


class ClientGone(Exception):
    """The client hung up before its request was complete; no answer is sent."""


async def read_body(receive: Receive, headers: Headers, limit: int, timeout_s: float) -> bytes:
    """The whole body as it came, from an ASGI server. Raises TooLarge, BadRequest (also for a body that trickles) or ClientGone."""
    stated = headers.get(b"content-length")
    if stated is not None and stated.isdigit() and int(stated[:18]) > limit:
        if b"expect" not in headers:  # a client that asks first gets the refusal instead of "100 Continue"
            await _discard(receive, timeout_s)
        raise too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        try:
            async with asyncio.timeout(timeout_s):
                body, has_more = await _rest(receive, body, limit)
        except TimeoutError:
            raise BadRequest(f"the request body did not arrive within {timeout_s:g} s; send it faster") from None
        if has_more:
            await _discard(receive, timeout_s)
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _rest(receive: Receive, first: bytes, limit: int) -> tuple[bytes, bool]:
    """The body, and whether there is more of it although the limit is reached."""
    parts, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        parts.append(part)
        has_more = message.get("more_body", False)
        if size > limit or not has_more:
            return b"".join(parts), has_more


async def _discard(receive: Receive, timeout_s: float) -> None:
    """Read on for a while and keep nothing: most clients read the answer only after they have sent the whole body."""
    size, has_more = 0, True
    try:
        async with asyncio.timeout(timeout_s):
            while has_more and size < DISCARDED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                has_more = message.get("more_body", False)
    except TimeoutError:
        return


def too_large(limit: int) -> TooLarge:
    """The body is over the limit."""
    return TooLarge(
        f"the request body is larger than {limit} bytes; send fewer rows at a time, or raise the server's max_body_bytes"
    )


async def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding. Raises BadRequest or TooLarge."""
    name = encoding.strip().lower()
    if name in {b"identity", b""} or not body:
        return body
    bits = _ENCODINGS.get(name)
    if bits is None:
        shown = brief(encoding.decode("latin-1"))
        raise BadRequest(f"Content-Encoding {shown} is not understood here; use gzip, deflate or none")
    if name == b"deflate" and not _is_zlib(body):
        bits = _RAW_DEFLATE
    if len(body) < IN_THREAD_FROM_BYTES // 8:
        return _inflate(body, bits, limit)
    return await asyncio.to_thread(_inflate, body, bits, limit)


def _is_zlib(body: bytes) -> bool:
    return body[0] & 0x0F == 8 and len(body) > 1 and (body[0] << 8 | body[1]) % 31 == 0


def _inflate(body: bytes, bits: int, limit: int) -> bytes:
    """Makes at most limit + 1 bytes, at any ratio of compression. gzip members may follow one another. zlib copies the input that
    follows the end of a member, so the input is fed in small pieces."""
    parts, size, at, stream = [], 0, 0, zlib.decompressobj(bits)
    try:
        while at < len(body):
            piece = body[at : at + _INFLATED_AT_ONCE]
            if stream.eof:
                stream = zlib.decompressobj(bits)
            part = stream.decompress(piece, limit + 1 - size)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise too_large(limit)
            at += len(piece) - len(stream.unused_data)
    except zlib.error as problem:
        raise BadRequest(f"the request body is not valid in its Content-Encoding: {problem}") from None
    if not stream.eof:
        raise BadRequest("the compressed request body ends early; send it whole, or without Content-Encoding")
    return b"".join(parts)


def accepted_encoding(accept: bytes | None, size: int) -> str | None:
    """`gzip` or `deflate` if the client accepts it and the answer is worth it."""
    if accept is None or size < COMPRESS_FROM_BYTES:
        return None
    for choice in accept.lower().split(b","):
        name, _, quality = choice.strip().partition(b";")
        if name.strip() in {b"gzip", b"deflate"} and quality.replace(b" ", b"").rstrip(b"0.") != b"q=":
            return name.strip().decode()
    return None


async def deflate(body: bytes, encoding: str) -> bytes:
    """The body in that encoding (`deflate` means zlib's format, as RFC 9110 says)."""
    if len(body) < IN_THREAD_FROM_BYTES:
        return _deflate(body, encoding)
    return await asyncio.to_thread(_deflate, body, encoding)


def _deflate(body: bytes, encoding: str) -> bytes:
    stream = zlib.compressobj(level=1, wbits=31 if encoding == "gzip" else 15)
    return stream.compress(body) + stream.flush()
