"""An HTTP/2 connection without a socket: its wire, an application that echoes, and its client's side."""

from serving.doors.http2.connection import Http2Connection, Http2Connections
from serving.doors.http2.frames import PREFACE
from serving.doors.http2.hpack import HeaderDecoder, encode

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
BLOCK = encode([(b":path", b"/a")])


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.sent, self.is_closed, self.is_paused, self.unread = b"", False, False, 0

    def get_extra_info(self, _name):
        return None

    def write(self, data):
        self.sent += data

    def get_write_buffer_size(self):
        return self.unread

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True

    abort = close

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False


class Echo:
    """Answers every request with its body."""

    max_bytes = 1 << 16

    def __init__(self):
        self.room_bytes = 1 << 17
        self.heads, self.went, self.refused, self.held = 0, [], [], []
        self.is_holding = False

    def head(self, fields):
        self.heads += 1
        return dict(fields)

    def opened(self, stream): ...

    def arrived(self, stream): ...

    def complete(self, stream):
        if self.is_holding:
            self.held.append(stream)
        else:
            self.answer(stream)

    def answer(self, stream):
        stream.connection.answer(stream, encode([(b":status", b"200")]), bytes(stream.body), encode([(b"end", b"1")]))

    def too_large(self, stream):
        self.refused.append(stream.number)
        stream.connection.send(stream, encode([(b":status", b"413")]), b"", b"", is_last=True)

    too_slow = too_large

    def gone(self, stream):
        self.went.append(stream.number)


class Talk:
    """A connection, what answers it, and its client's side."""

    def __init__(self):
        self.wire, self.app = Wire(), Echo()
        self.connection = Http2Connection(self.app, Http2Connections())
        self.connection.connection_made(self.wire)
        self._decoder, self._read = HeaderDecoder(), 0
        self.say(PREFACE, frame(SETTINGS, 0, 0))
        self.frames()

    def say(self, *parts):
        self.connection.data_received(b"".join(parts))
        return self.frames()

    def frames(self):
        """What was sent since the last look: (kind, flags, stream, payload)."""
        found = []
        while self._read < len(self.wire.sent):
            head = self.wire.sent[self._read : self._read + 9]
            end = self._read + 9 + int.from_bytes(head[:3], "big")
            found.append((head[3], head[4], int.from_bytes(head[5:], "big"), self.wire.sent[self._read + 9 : end]))
            self._read = end
        return found


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def ask(stream, body=b"hi", block=BLOCK):
    return frame(HEADERS, 4, stream, block) + frame(DATA, 1, stream, body)


def number(value):
    return value.to_bytes(4, "big")
