"""Limits for clients that do not read their answers: how long an answer may wait, and what counts as reading. Both doors use them."""

import fcntl
import sys
import termios
from contextlib import suppress
from typing import Any, Final

WRITE_TIMEOUT_S: Final = 30.0
"""How long a client may read nothing of an answer that waits for it."""
PROGRESS_BYTES: Final = 4096
"""A client counts as reading if it takes at least this much of the waiting bytes within WRITE_TIMEOUT_S."""


def unread_bytes(transport: Any) -> int:
    """Bytes that the client has not read yet: in this process and, if the system tells, in the kernel, which may hold megabytes."""
    unread = int(transport.get_write_buffer_size())
    with suppress(OSError, AttributeError):
        unread += int.from_bytes(
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0" * 4), sys.byteorder
        )
    return unread
