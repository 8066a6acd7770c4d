"""An answer on its way out over HTTP, and the one for an error. Pure; bytes on the wire are serving.doors.http.response_heads'."""

from typing import Final

from serving.doors.oip.errors import error_body, http_status, retry_after_header
from serving.errors import ServingError

HeaderTuple = tuple[tuple[bytes, bytes], ...]

JSON: Final = (b"content-type", b"application/json")
PLAIN_JSON: Final[HeaderTuple] = (JSON,)
"""The headers of almost every answer; recognised by identity, its head is made beforehand."""


class Reply:
    """An answer on its way out."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: HeaderTuple = PLAIN_JSON) -> None:
        self.body = body
        self.status = status
        self.headers = headers


def refusal(error: ServingError) -> Reply:
    """The answer that an error is: its status, the one error body, when to come back."""
    wait = retry_after_header(error)
    headers = PLAIN_JSON if wait is None else (JSON, (b"retry-after", wait))
    return Reply(error_body(error.message), http_status(error), headers)


def error_reply(status: int, message: str) -> Reply:
    """The answer to what is wrong with HTTP itself and has no cause of its own in serving.errors."""
    return Reply(error_body(message), status)
