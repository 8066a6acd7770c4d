"""The bytes of a span in the OpenTelemetry protocol (OTLP, protobuf). Pure; loads no OpenTelemetry.

Written by hand, as each span ends: the SDK's encoder makes an object of each field and takes 50 to 100 microseconds a span, this one
about two. Repeated parts (names, and the attributes of a revision) are encoded once. A test holds what a collector reads equal to what it
reads from the SDK.
Source: opentelemetry-proto 1.x, trace/v1/trace.proto, collector/trace/v1/trace_service.proto."""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from serving.telemetry.tracing.names import NO_ATTRIBUTES, Attributes, TraceKind

NO_PARENT: Final = b""
_KINDS: Final[Mapping[TraceKind, int]] = MappingProxyType(
    {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
)
_ERROR: Final = 2
_UNSET: Final = b"\x7a\x00"
"""The status of what was done, or failed through no fault of ours."""
_TIMES: Final = struct.Struct("<BQBQ")
_START, _END = 0x39, 0x41
_FIXED32: Final = struct.Struct("<I")
_DOUBLE: Final = struct.Struct("<d")
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_LOCAL_FLAGS: Final = b"\x85\x01" + _FIXED32.pack(_HAS_IS_REMOTE)
_REMOTE_FLAGS: Final = b"\x85\x01" + _FIXED32.pack(_HAS_IS_REMOTE | _IS_REMOTE)
_SCOPE: Final = "vedette"
_ONE_BYTE: Final = 0x80
"""A length below this is one byte."""


class KnownAttributes(dict[str, bool | int | float | str]):
    """Attributes that many spans have, with their bytes. Not to be changed."""

    __slots__ = ("encoded",)

    def __init__(self, values: Attributes) -> None:
        super().__init__(values)
        self.encoded = _encode_all(values)


def encode_resource(attributes: Mapping[str, object]) -> bytes:
    """The head of every request: who sends. Values that are no text, number or truth are written as text."""
    told = [(name, value if isinstance(value, (bool, int, float, str)) else str(value)) for name, value in attributes.items()]
    return _field(1, b"".join([_field(1, _key_value(name, value)) for name, value in told]))


def encode_request(resource: bytes, spans: Iterable[bytes]) -> bytes:
    """An ExportTraceServiceRequest. resource: of `encode_resource`; spans: of `encode_span`."""
    scope = _field(1, _text(1, _SCOPE))
    return _field(1, resource + _field(2, scope + b"".join(spans)))


def head_of(trace_id: bytes, tracestate: str = "") -> tuple[bytes, bytes]:
    """What all spans of one trace have, before and after the span's own id. trace_id: 16 bytes."""
    return b"\x0a\x10" + trace_id + b"\x12\x08", _text(3, tracestate) if tracestate else b""


def encode_span(
    head: tuple[bytes, bytes],
    span_id: bytes,
    parent_id: bytes,
    name: str,
    kind: TraceKind,
    start_ns: int,
    end_ns: int,
    attributes: Attributes = NO_ATTRIBUTES,
    more: Attributes = NO_ATTRIBUTES,
    *,
    is_remote: bool = False,
    links: tuple[tuple[bytes, bytes], ...] = (),
    error: str | None = None,
) -> bytes:
    """A span of a ScopeSpans. head: of `head_of`. span_id, parent_id: 8 bytes, NO_PARENT for none. is_remote: whether the parent is another
    process's. more: further attributes, of other names. links: (trace id, span id). Times: nanoseconds since the epoch. error: None unless
    what it stands for was not done."""
    body = b"".join(
        (
            head[0],
            span_id,
            head[1],
            b"\x22\x08" + parent_id if parent_id else b"",
            _name_and_kind(name, kind),
            _TIMES.pack(_START, start_ns, _END, end_ns),
            attributes.encoded if type(attributes) is KnownAttributes else _encode_all(attributes),
            more.encoded if type(more) is KnownAttributes else _encode_all(more) if more else b"",
            b"".join([_link(*ids) for ids in links]) if links else b"",
            _UNSET if error is None else _field(15, _text(2, error) + b"\x18" + _varint(_ERROR)),
            _REMOTE_FLAGS if is_remote else _LOCAL_FLAGS,
        )
    )
    return b"\x12" + _varint(len(body)) + body


def _link(trace_id: bytes, span_id: bytes) -> bytes:
    return _field(13, b"\x0a\x10" + trace_id + b"\x12\x08" + span_id + b"\x35" + _FIXED32.pack(_HAS_IS_REMOTE | _IS_REMOTE))


@lru_cache(maxsize=256)
def _name_and_kind(name: str, kind: TraceKind) -> bytes:
    return _text(5, name) + b"\x30" + _varint(_KINDS[kind])


def _encode_all(attributes: Attributes) -> bytes:
    return b"".join([_attribute(name, value) for name, value in attributes.items()])


def _attribute(name: str, value: bool | int | float | str) -> bytes:
    """The values of most attributes that come here are of one request, so only the name's bytes are kept."""
    key, told = _key(name), _any_value(value)
    length = len(told)
    if length < _ONE_BYTE and (whole := len(key) + length + 2) < _ONE_BYTE:
        return b"\x4a%c%b\x12%c%b" % (whole, key, length, told)
    return _field(9, key + _field(2, told))


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return _text(1, name)


def _key_value(name: str, value: bool | int | float | str) -> bytes:
    return _key(name) + _field(2, _any_value(value))


def _any_value(value: bool | int | float | str) -> bytes:
    if isinstance(value, str):
        return _text(1, value)
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return b"\x21" + _DOUBLE.pack(value)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "replace"))


def _field(number: int, body: bytes) -> bytes:
    """A field of bytes: its tag, the length, the bytes. Numbers are below 16, so the tag is one byte."""
    return b"%c%b%b" % (number << 3 | 2, _varint(len(body)), body)


def _varint(value: int) -> bytes:
    if value < 0x4000:
        return _SHORT[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT: Final = tuple([bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(0x4000)])
"""Numbers of one byte or two."""
