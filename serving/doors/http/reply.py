"""An answer on its way out over HTTP, and the one for an error. Pure; bytes on the wire are serving.doors.http.response_heads'."""

from typing import Final

from serving.doors.oip.errors import error_body, http_status, retry_after_header
from serving.errors import ServingError

HeaderTuple = tuple[tuple[bytes, bytes], ...]

JSON: Final = (b"content-type", b"application/json")
PLAIN_JSON: Final[HeaderTuple] = (JSON,)
"""The headers of almost every answer. They are recognised by identity, so that a prepared head is used."""


class Reply:
    """An answer on its way out."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: HeaderTuple = PLAIN_JSON) -> None:
        self.body = body
        self.status = status
        self.headers = headers


def refusal(error: ServingError) -> Reply:
    """The answer for an error: its status, the error body, and Retry-After."""
    wait = retry_after_header(error)
    headers = PLAIN_JSON if wait is None else (JSON, (b"retry-after", wait))
    return Reply(error_body(error.message), http_status(error), headers)


def error_reply(status: int, message: str) -> Reply:
    """The answer to an error of HTTP itself, which has no class in serving.errors."""
    return Reply(error_body(message), status)
