"""A page that takes long to write (a second, for /metrics of a hundred variants). It is written in a thread of its own, so that
the loop goes on answering requests."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Page:
    """One page is written at a time. Requests that come meanwhile share the next one. So a page holds all counts from before its request,
    and a hundred requests at once cost two pages.

    write: called in the thread, while the loop goes on counting."""

    def __init__(self, write: Callable[[], bytes], name: str) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)  # others' threads may be busy for minutes
        self._under_way: asyncio.Task[bytes] | None = None
        self._next: asyncio.Task[bytes] | None = None

    async def get(self) -> bytes:
        """The page as of now or later. Raises the writer's exception."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._after(self._under_way))
        return await asyncio.shield(self._next)

    async def _after(self, before: "asyncio.Task[bytes] | None") -> bytes:
        if before is not None:
            await asyncio.wait((before,))
        self._under_way, self._next = self._next, None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write)
