"""Replies to bytes on the wire: status line, date, headers, body. Heads of the common answers are made once a second.

Pure: the time is an argument. Knows nothing of connections."""

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from serving.doors.http.reply import PLAIN_JSON, Reply, refusal
from serving.errors import ServingError

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
"""For HTTP/1.0, which closes by default."""
JOINED_BYTES: Final = 64 * 1024
"""A body up to this size is copied behind its head and leaves in one write; a larger one is not copied."""
REMEMBERED: Final = 64
"""Refusals whose bytes are remembered, until the date changes a second later."""

_STATUS: Final = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


class ResponseHeads:
    """The heads of answers, valid until the next `tick`."""

    __slots__ = ("_date", "_refusals", "json")

    def __init__(self, now_s: float) -> None:
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        """A second later. now_s: wall clock, seconds since the epoch."""
        self._date = b"date: %s\r\n" % formatdate(now_s, usegmt=True).encode()
        self.json = b"%b%bcontent-type: application/json\r\ncontent-length: " % (_STATUS[200], self._date)
        self._refusals: dict[tuple[type[ServingError], str, float | None], bytes] = {}

    def written(self, reply: Reply, ending: bytes = b"", *, is_head: bool = False) -> list[bytes]:
        """The whole answer, in pieces to write one by one. ending: CLOSE, KEEP_ALIVE or nothing."""
        body = reply.body
        if reply.headers is PLAIN_JSON and reply.status == 200:
            head = b"%b%d\r\n%b\r\n" % (self.json, len(body), ending)
        else:
            headers = b"".join([b"%b: %b\r\n" % header for header in reply.headers])
            status = _STATUS.get(reply.status) or b"HTTP/1.1 %d \r\n" % reply.status
            head = b"%b%b%bcontent-length: %d\r\n%b\r\n" % (status, self._date, headers, len(body), ending)
        if is_head:
            return [head]
        return [head + body] if len(body) <= JOINED_BYTES else [head, body]

    def refused(self, error: ServingError) -> bytes:
        """The whole answer for an error on a connection that stays open; remembered, so that many refusals cost little."""
        key = (type(error), error.message, error.retry_after_s)
        found = self._refusals.get(key)
        if found is None:
            found = b"".join(self.written(refusal(error)))
            if len(self._refusals) < REMEMBERED:
                self._refusals[key] = found
        return found
