"""The HTTP listener before the smallest application there can be, and a client of bare bytes."""

import asyncio
import socket
import struct
from contextlib import contextmanager

from serving.doors.http.reply import Reply
from serving.doors.listener import HttpListener
from serving.errors import Overloaded
from tests.waiting import HANG_S

LIMIT = 200_000
BIG = 4_000_000


class Application:
    """`/now` answers at once, `/later` after two turns of the loop, `/slow` when `release` is set, `/big` with BIG bytes, `/fail`
    not at all. The answer is what was asked."""

    max_body_bytes = LIMIT
    body_timeout_s = 30.0

    def __init__(self):
        self.release, self.is_full = asyncio.Event(), False
        self.begun, self.cancelled, self.most_at_once, self._now = 0, 0, 0, 0

    def admit_head(self, method, url, headers):
        return Overloaded("full", retry_after_s=2) if self.is_full else None

    async def respond(self, method, raw_path, query, headers, body, connection=None):
        self.begun, self._now = self.begun + 1, self._now + 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if raw_path == b"/later":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            elif raw_path == b"/slow":
                await self.release.wait()
            elif raw_path == b"/big":
                return Reply(b"x" * BIG)
            elif raw_path == b"/fail":
                raise ZeroDivisionError("a defect")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._now -= 1
        return Reply(b"%b %b?%b %b" % (method.encode(), raw_path, query, body))


class Client:
    """A socket, and answers read off it one by one."""

    def __init__(self, port, **options):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=HANG_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def until(self, mark):
        while mark not in self._left:
            part = self.socket.recv(1 << 16)
            if not part:
                raise EOFError(self._left)
            self._left += part
        found, _, self._left = self._left.partition(mark)
        return found

    def head(self):
        """The next answer's head in lower case; None at the end of the connection."""
        try:
            return self.until(b"\r\n\r\n").decode().lower()
        except (EOFError, ConnectionResetError) as end:
            if self._left:
                raise AssertionError(f"half an answer: {self._left!r}") from end
            return None

    def take(self, size):
        """So many bytes."""
        while len(self._left) < size:
            part = self.socket.recv(1 << 20)
            if not part:
                raise EOFError(self._left)
            self._left += part
        found, self._left = self._left[:size], self._left[size:]
        return found

    def close(self):
        self.socket.close()

    def answer(self, method="GET"):
        """Status, headers in one lower-case text, body."""
        head = self.until(b"\r\n\r\n").decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        body = b"" if method == "HEAD" else self.take(length)
        return int(head.split()[1]), head, body

    def is_closed(self):
        self.socket.settimeout(HANG_S)
        try:
            return self._left == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def get(path="/now", version="1.1", headers=b""):
    return b"GET %b HTTP/%b\r\nhost: x\r\n%b\r\n" % (path.encode(), version.encode(), headers)


def post(body, path="/now", headers=b"", length=None):
    head = b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n"
    return head % (path.encode(), headers, len(body) if length is None else length) + body


@contextmanager
def opened(**limits):
    application = Application()
    listener = HttpListener(application, **limits)
    application.port = listener.start()
    application.listener, application.loop = listener, listener._thread.loop
    try:
        yield application
    finally:
        if listener._thread is not None:
            application.loop.call_soon_threadsafe(application.release.set)
            listener.stop(1)
