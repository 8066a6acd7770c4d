"""An answer on its way out over HTTP, and the one for an error. Pure; bytes on the wire are serving.doors.http.response_heads'."""

from typing import Final

from serving.access.refusals import RateLimited
from serving.doors.oip.errors import error_body, http_status, retry_after_header
from serving.errors import ServingError, Unauthenticated

HeaderTuple = tuple[tuple[bytes, bytes], ...]

JSON: Final = (b"content-type", b"application/json")
PLAIN_JSON: Final[HeaderTuple] = (JSON,)
"""The headers of almost every answer. They are recognised by identity, so that a prepared head is used."""

_CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="vedette"')
_CHALLENGE_AGAIN: Final = (b"www-authenticate", b'Bearer realm="vedette", error="invalid_token"')
"""RFC 6750, section 3. The other fields: draft-ietf-httpapi-ratelimit-headers-10."""


class Reply:
    """An answer on its way out."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: HeaderTuple = PLAIN_JSON) -> None:
        self.body = body
        self.status = status
        self.headers = headers


def refusal(error: ServingError) -> Reply:
    """The answer for an error: its status, the error body, and Retry-After, WWW-Authenticate and RateLimit where they belong."""
    wait = retry_after_header(error)
    headers = PLAIN_JSON if wait is None else (JSON, (b"retry-after", wait))
    if isinstance(error, Unauthenticated):
        headers = (JSON, _CHALLENGE_AGAIN if error.is_token_wrong else _CHALLENGE)
    elif isinstance(error, RateLimited) and wait is not None:
        headers = (*headers, (b"ratelimit-policy", error.policy.encode()), (b"ratelimit", b'"caller";r=0;t=%b' % wait))
    return Reply(error_body(error.message), http_status(error), headers)


def error_reply(status: int, message: str) -> Reply:
    """The answer to an error of HTTP itself, which has no class in serving.errors."""
    return Reply(error_body(message), status)
