"""Waiting in tests: until something is so, however long a busy machine takes. No test judges how long that was.

HANG_S ends a test whose event never comes; on no machine does anything here take so long."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any, Final

HANG_S: Final = 120.0
NEVER: Final = "it did not come to that"


def until(
    holds: Callable[[], Any],
    what: str | Callable[[], object] = NEVER,
    *,
    every_s: float = 0.01,
    progress: Callable[[], object] = lambda: None,
) -> Any:
    """Look again and again; gives what `holds` gave. what: for the message, said when the wait has failed.

    progress: something that changes while the work goes on, as long as it may take in all; the wait fails HANG_S after the last change."""
    end, before = time.monotonic() + HANG_S, progress()
    while not (found := holds()):
        if (now := progress()) != before:
            end, before = time.monotonic() + HANG_S, now
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(every_s)
    return found


async def until_so(holds: Callable[[], Any], what: str | Callable[[], object] = NEVER, *, every_s: float = 0.005) -> Any:
    """The same on a loop that goes on meanwhile. holds: a function or a coroutine function."""
    end = time.monotonic() + HANG_S
    while True:
        found = holds()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, what() if callable(what) else what
        await asyncio.sleep(every_s)


def pass_time(seconds: float) -> None:
    """Put the clock of the running loop on: what was to end within this time ends now, and all that came before has had its time."""
    loop = asyncio.get_running_loop()
    so_far = loop.time
    loop.time = lambda: so_far() + seconds  # type: ignore[method-assign]


def ends(work: Callable[[], object]) -> None:
    """Run what could wait for ever in a thread of its own; it must end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(HANG_S)
    assert not thread.is_alive(), "it waits for what does not come"
