"""Keys of a terminal, one at a time and without the enter key. Where stdin is no terminal there are none."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


class Keys:
    """What is typed. fd: of the terminal; None: nobody types."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def wait(self, seconds: float, wake: int) -> str:
        """The next key; empty if none came in time, or something came on the file descriptor `wake`. Ctrl-C raises KeyboardInterrupt."""
        ready, _, _ = select.select([wake, *([self._fd] if self._fd is not None else [])], [], [], max(0.0, seconds))
        if wake in ready:
            os.read(wake, 4096)
        if self._fd not in ready or self._fd is None:
            return ""
        typed = os.read(self._fd, 32)
        if not typed:  # the terminal is gone
            raise KeyboardInterrupt
        return typed[:1].decode("ascii", "replace")


@contextmanager
def terminal_keys() -> Iterator[Keys]:
    """Keys of stdin while the block runs; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield Keys(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
