"""W3C Trace Context: the header that says which trace a call belongs to. Pure; what is done with it is the tracer's."""

import re
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(-.*)?", re.DOTALL
)
_PLAIN_NO: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
"""The common header of a caller that does not sample: told without taking it apart."""


def parse_traceparent(header: str) -> tuple[str, str, bool] | None:
    """Read a W3C traceparent: (trace id, caller's span id, sampled); None if it is malformed.

    Source: W3C Trace Context, level 1, section 3.2. A version we do not know is read like version 00, as it asks."""
    match = _TRACEPARENT.fullmatch(header)
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return match[2], match[3], bool(int(match[4], 16) & 1)


def is_plainly_unsampled(header: str) -> bool:
    """Whether this is the common header of a caller that does not sample. False says nothing: parse it."""
    return _PLAIN_NO.fullmatch(header) is not None


def format_traceparent(trace_id: str, span_id: str, *, is_sampled: bool) -> str:
    """The header for the next call, version 00. trace_id: 32 hex digits; span_id: 16, of the calling span."""
    return f"00-{trace_id}-{span_id}-{is_sampled:02x}"
