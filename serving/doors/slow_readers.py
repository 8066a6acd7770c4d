"""Clients that ask and do not read: how long an answer may wait for one, and what counts as reading. Both doors hold to it."""

import fcntl
import sys
import termios
from contextlib import suppress
from typing import Any, Final

WRITE_TIMEOUT_S: Final = 30.0
"""How long a client may read nothing of an answer that waits for it."""
PROGRESS_BYTES: Final = 4096
"""A client that reads takes at least so much of what waits for it within WRITE_TIMEOUT_S."""


def unread_bytes(transport: Any) -> int:
    """What the client has yet to read: here and, where the system tells, in the kernel, which holds megabytes."""
    unread = int(transport.get_write_buffer_size())
    with suppress(OSError, AttributeError):
        unread += int.from_bytes(
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4), sys.byteorder
        )
    return unread
