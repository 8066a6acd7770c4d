"""A record of a spool segment as bytes: length, CRC-32, kind, time, payload. Pure.

A segment is MAGIC, then frames. What a crash left half written at the end of the last segment is a torn tail and is cut off."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

MAGIC: Final = b"VSPOOL1\n"
SEND, FOLD, CLOSE = 1, 2, 3
"""Kinds: an alert to send; an alert that is folded into others; the alert that stands for them, to send."""
_HEAD: Final = struct.Struct(">IIBQ")
HEAD_BYTES: Final = _HEAD.size
MOST_PAYLOAD: Final = 64 * 1024 * 1024
_REST: Final = struct.Struct(">BQ")


class SpoolFrame(NamedTuple):
    """One record. end: offset of the byte behind it in its segment. time_ms: when it was spooled."""

    kind: int
    time_ms: int
    payload: bytes
    end: int


def encode_frame(kind: int, time_ms: int, payload: bytes) -> bytes:
    """The bytes of one record."""
    crc = zlib.crc32(payload, zlib.crc32(_REST.pack(kind, time_ms)))
    return _HEAD.pack(len(payload), crc, kind, time_ms) + payload


def decode_frame(data: bytes | memoryview, at: int, base: int = 0) -> SpoolFrame | None:
    """The record at an offset of `data`; None if there is no whole, undamaged one. base: where `data` begins in its segment."""
    if at + HEAD_BYTES > len(data):
        return None
    length, crc, kind, time_ms = _HEAD.unpack_from(data, at)
    end = at + HEAD_BYTES + length
    if length > MOST_PAYLOAD or end > len(data):
        return None
    payload = bytes(data[at + HEAD_BYTES : end])
    if zlib.crc32(payload, zlib.crc32(_REST.pack(kind, time_ms))) != crc:
        return None
    return SpoolFrame(kind, time_ms, payload, base + end)


def frames(data: bytes | memoryview) -> Iterator[SpoolFrame]:
    """The whole records of a segment, from its beginning to the first that is torn or damaged."""
    at = len(MAGIC)
    if bytes(data[:at]) != MAGIC:
        return
    while (found := decode_frame(data, at)) is not None:
        yield found
        at = found.end


def is_torn(rest: bytes | memoryview) -> bool:
    """Whether bytes behind the last whole record are what a crash leaves: a record that was not written to its end, or zeros."""
    if len(rest) < HEAD_BYTES or not any(rest):
        return True
    length: int = _HEAD.unpack_from(rest, 0)[0]
    return length <= MOST_PAYLOAD and HEAD_BYTES + length >= len(rest)
