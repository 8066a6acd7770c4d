"""Limits of the connections of an HTTP server, and the answer to a connection beyond them. serving.doors.http.connection applies them."""

from dataclasses import dataclass
from typing import Final

from serving.errors import Overloaded, Unavailable

FULL: Final = Unavailable("this server has reached its limit of connections; try again soon", retry_after_s=1.0)
SHARE_USED: Final = Overloaded("this address has too many connections to this server; use open ones again")
TOLD: Final = 64
"""Maximum number of connections beyond the limit that get an answer at one time."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections are allowed. Times in seconds."""

    connections: int
    unfinished_bytes: int
    head_s: float
    body_s: float
    keep_alive_s: float
    write_s: float
    linger_s: float
    age_s: float
