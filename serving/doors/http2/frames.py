"""HTTP/2's frames as bytes, its error codes, and our settings. Pure; serving.doors.http2.connection uses them."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME: Final = 16_384
"""Largest frame that we take; the protocol's default."""
STREAM_WINDOW: Final = 1 << 20
"""How much a client may send on one stream before we widen its window."""
CONNECTION_WINDOW: Final = 16 << 20
MAX_STREAMS: Final = 1024
"""Most concurrent calls on one connection."""
LARGEST_WINDOW: Final = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE = 0x0, 0x1, 0x2, 0x3, 0x5, 0x6
REFUSED_STREAM, CANCEL, COMPRESSION, CALM = 0x7, 0x8, 0x9, 0xB


class ProtocolFault(Exception):
    """The client broke the protocol. stream: the one it concerns, 0 for the whole connection."""

    def __init__(self, code: int, why: str, stream: int = 0) -> None:
        super().__init__(why)
        self.code, self.stream = code, stream


def frame(kind: int, flags: int, number: int, size: int) -> bytes:
    """A frame's first nine bytes."""
    return (size << 48 | kind << 40 | flags << 32 | number).to_bytes(9, "big")


def ended(number: int, code: int) -> bytes:
    """The end of one stream."""
    return frame(RST_STREAM, 0, number, 4) + code.to_bytes(4, "big")


def goaway(last: int, code: int, why: bytes = b"") -> bytes:
    """The end of a connection; streams after `last` are not answered."""
    return frame(GOAWAY, 0, 0, 8 + len(why)) + last.to_bytes(4, "big") + code.to_bytes(4, "big") + why


def window_update(number: int, more: int) -> bytes:
    """Allow so many more bytes, on a stream or (0) the connection."""
    return frame(WINDOW_UPDATE, 0, number, 4) + more.to_bytes(4, "big")


def unpadded(payload: bytes) -> bytes:
    """A padded payload without its padding. Raises ProtocolFault."""
    if not payload or payload[0] >= len(payload):
        raise ProtocolFault(PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """(identifier, value) in their order. Raises ProtocolFault for values that the protocol forbids."""
    found = [
        (int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big"))
        for at in range(0, len(payload), 6)
    ]
    for name, value in found:
        if name == ENABLE_PUSH and value > 1:
            raise ProtocolFault(PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        if name == INITIAL_WINDOW and value > LARGEST_WINDOW:
            raise ProtocolFault(FLOW_CONTROL, f"INITIAL_WINDOW_SIZE is {value}")
        if name == LARGEST_FRAME and not MAX_FRAME <= value < 1 << 24:
            raise ProtocolFault(PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {value}")
    return found


ENABLE_PUSH, CONCURRENT, INITIAL_WINDOW, LARGEST_FRAME, FIELDS_BYTES = 2, 3, 4, 5, 6


def _settings(**values: int) -> bytes:
    names = {"concurrent": CONCURRENT, "initial_window": INITIAL_WINDOW, "fields_bytes": FIELDS_BYTES}
    values_bytes = b"".join(names[name].to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items())
    return frame(SETTINGS, 0, 0, len(values_bytes)) + values_bytes


SERVER_PREFACE: Final = _settings(concurrent=MAX_STREAMS, initial_window=STREAM_WINDOW, fields_bytes=64 * 1024) + window_update(
    0, CONNECTION_WINDOW - 65_535
)
"""The server's connection preface (RFC 9113, 3.4): the first bytes that we send."""
HTTP1: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ")
_NOT_HTTP2_TEXT: Final = b"this port speaks gRPC over HTTP/2; plain HTTP has a port of its own"
NOT_HTTP2: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
) % (len(_NOT_HTTP2_TEXT), _NOT_HTTP2_TEXT)
"""The answer to a client that speaks HTTP/1."""
