"""A page that takes long to write (a second, for /metrics of a hundred variants). It is written in a thread of its own, so that
the loop goes on answering requests; the thread ends with it. /metrics comes in two forms: who asks for OpenMetrics gets exemplars,
traces that a latency is of."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from serving.doors.http.reply import Reply

OPEN_METRICS: Final = b"application/openmetrics-text"
_OPEN: Final = (b"content-type", OPEN_METRICS + b"; version=1.0.0; charset=utf-8")
_CLASSIC: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_SELF: Final = b"replica=self"
"""Query of /metrics that asks for this replica's own page alone."""


class Page:
    """One page is written at a time. Requests that come meanwhile share the next one. So a page holds all counts from before its request,
    and a hundred requests at once cost two pages.

    write: called in the thread, while the loop goes on counting."""

    def __init__(self, write: Callable[[], bytes], name: str) -> None:
        self._write, self._name = write, name
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
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self._name)  # others' threads may be busy for minutes
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, self._write)
        finally:
            thread.shutdown(wait=False)


class MetricsPages:
    """/metrics in the form that its reader takes. union: makes of this replica's page that of all replicas that share the port.

    write_open: the page in OpenMetrics; None: everybody gets the classic form."""

    def __init__(
        self,
        write: Callable[[], bytes],
        write_open: Callable[[], bytes] | None = None,
        union: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        self._classic, self._union = Page(write, "metrics"), union
        self._open = None if write_open is None else Page(write_open, "openmetrics")

    async def reply(self, accept: bytes, query: bytes) -> Reply:
        """The page as of now or later. accept: of the request."""
        page, form = self._classic, _CLASSIC
        if self._open is not None and OPEN_METRICS in accept:
            page, form = self._open, _OPEN
        text = await page.get()
        if self._union is not None and query != _SELF:
            text = await self._union(text)
        return Reply(text, 200, (form,))
