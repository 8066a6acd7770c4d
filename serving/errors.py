"""The errors a client can be answered with, named by cause.

    ServingError
    |- BadRequest        the request is wrong; sending it again cannot help
    |- NotFound          no such model, version or path
    |- Unauthenticated   nobody knows who asks
    |- Forbidden         who asks may not do this
    |- TooLarge          the body is over the limit
    |- Unsupported       this server does not do that
    |- Unavailable       not ready, or a dependency is out; try again
    |- Overloaded        refused early to stay fast; try again after `retry_after_s`
    |- DeadlineExceeded  the client's time is up
    `- Internal          a defect of ours; the log has the trace
       `- ModelFault     the model's outputs do not fit its rows: the model's defect, whatever the request was

Only the doors map these to HTTP statuses and gRPC codes (serving.doors.oip.errors)."""

from typing import ClassVar


class ServingError(Exception):
    """An error with a message for the client: what, where, and the way out."""

    can_retry: ClassVar[bool] = False
    """Whether sending the same request again can help."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class BadRequest(ServingError):
    """The request is malformed or does not fit the model."""


class NotFound(ServingError):
    """The model, version or path does not exist."""


class Unauthenticated(ServingError):
    """The request shows no credentials, or such as are not accepted. is_token_wrong: some came."""

    def __init__(self, message: str, *, is_token_wrong: bool = False) -> None:
        super().__init__(message)
        self.is_token_wrong = is_token_wrong


class Forbidden(ServingError):
    """The caller is known and has no right to this."""


class TooLarge(ServingError):
    """The body is larger than the limit."""


class Unsupported(ServingError):
    """The server does not offer this."""


class Unavailable(ServingError):
    """The server or model is not ready."""

    can_retry = True


class Overloaded(ServingError):
    """Refused before a queue builds up."""

    can_retry = True


class DeadlineExceeded(ServingError):
    """The deadline of the request passed before an answer was there."""

    can_retry = True


class Internal(ServingError):
    """A defect on our side."""


class ModelFault(Internal):
    """The model ran, and what it gave does not fit the rows it was given. Another model version is the way out."""
