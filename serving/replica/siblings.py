"""The replicas of this machine find each other, so that each of them can answer `/metrics` for all.

Replicas share one port, and the kernel picks the replica that a scrape reaches. Each replica therefore listens on a loopback port of
its own as well and registers it in `replicas/` of the store. The replica that is scraped fetches the pages of the others and answers
the union; `/metrics?replica=self` is its own page. Every series has the replica's identity as a label, so no two series are the same.
The registration of a process that ended is removed. A replica that does not answer in time is missing in the page."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from serving.files.registrations import Registration, living, register

TIMEOUT_S: Final = 1.0
"""How long a sibling's page may take."""
_END: Final = b"# EOF\n"
"""How a page in OpenMetrics ends, and no classic one does."""
_ASKS_OPEN: Final = b"accept: application/openmetrics-text; version=1.0.0\r\n"
_LARGEST: Final = 16 * 1024 * 1024
_PART_BYTES: Final = 64 * 1024


class Siblings:
    """The replicas that share this store on this machine. Files are read and pages merged in one thread."""

    def __init__(self, store_dir: Path, identity: str, key: str = "") -> None:
        self._folder, self._identity, self._key = store_dir / "replicas", identity, key
        self._host = socket.gethostname()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="siblings")

    @property
    def _registration(self) -> Path:
        return self._folder / f"{self._identity}.json"

    def register(self, port: int) -> None:
        """Register the loopback port on which only this replica answers."""
        register(self._registration, self._identity, port, self._key)

    def leave(self) -> None:
        """Remove the registration and end the thread."""
        self._registration.unlink(missing_ok=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def others(self) -> tuple[Registration, ...]:
        """The other living replicas of this machine. Registrations of dead ones are removed."""
        return tuple(one for one in living(self._folder, self._host) if one.identity != self._identity)

    async def merge(self, own: bytes) -> bytes:
        """This replica's page and those of all that answer in its form, classic or OpenMetrics."""
        loop = asyncio.get_running_loop()
        others = await loop.run_in_executor(self._thread, self.others)
        is_open = own.endswith(_END)
        found = await asyncio.gather(*(_page(s.port, s.key, is_open=is_open) for s in others))
        pages = [own, *(page for page in found if page is not None and page.endswith(_END) is is_open)]
        return own if len(pages) == 1 else await loop.run_in_executor(self._thread, merged, pages)


def merged(pages: Sequence[bytes]) -> bytes:
    """The union of pages in the Prometheus text format, or in OpenMetrics: each family once, with the samples of all."""
    if len(pages) == 1:
        return pages[0]
    heads: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for page in pages:
        family, is_new = b"", False
        for line in page.splitlines():
            if line.startswith((b"# HELP ", b"# TYPE ")):
                name = line.split(b" ", 3)[2]
                if name != family:
                    family, is_new = name, name not in heads
                    heads.setdefault(name, [])
                    samples.setdefault(name, [])
                if is_new:
                    heads[name].append(line)
            elif line and not line.startswith(b"#"):
                samples.setdefault(family, []).append(line)
    lines = [line for name, head in heads.items() for line in (*head, *samples[name])]
    return b"\n".join(lines) + (b"\n" + _END if pages[0].endswith(_END) else b"\n")


async def _page(port: int, key: str, *, is_open: bool = False) -> bytes | None:
    """A sibling's own page; None if it does not answer in time, or with more than _LARGEST bytes."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                shown = b"x-api-key: %b\r\n" % key.encode() if key else b""
                shown += _ASKS_OPEN if is_open else b""
                writer.write(b"GET /metrics?replica=self HTTP/1.1\r\nhost: localhost\r\n%bconnection: close\r\n\r\n" % shown)
                answer = await _read_to_end(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    if answer is None:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200") else None


async def _read_to_end(reader: asyncio.StreamReader) -> bytes | None:
    """All that comes; None if it is more than _LARGEST bytes."""
    parts, size = list[bytes](), 0
    while part := await reader.read(_PART_BYTES):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            return None
    return b"".join(parts)
