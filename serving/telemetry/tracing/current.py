"""The trace of the current work, for log lines about it. Loads no OpenTelemetry.

Set while a traced request is answered; a request has a context of its own, so no other sees it."""

from contextvars import ContextVar, Token
from typing import Final

_TRACE_ID: Final[ContextVar[str | None]] = ContextVar("vedette_trace_id", default=None)


def current_trace_id() -> str | None:
    """32 hex digits; None if what is being done is not traced."""
    return _TRACE_ID.get()


def enter_trace(trace_id: str) -> Token[str | None]:
    """Make it the current one. The result goes to `leave_trace`."""
    return _TRACE_ID.set(trace_id)


def leave_trace(entered: Token[str | None]) -> None:
    """Make the one before current again."""
    _TRACE_ID.reset(entered)
