"""The cache in this process (port Cache): evicts the least recently used values first, and expired ones.

Belongs to the listeners' loop. A cache that replicas share is serving.cache.redis_cache's; what is kept under which key, and
when it is worth it, serving.cache.predictions'."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_VALUE_BYTES: Final = 256 * 1024
"""A larger value is not kept, here or elsewhere: an answer of thousands of rows is not asked for twice."""
_ENTRY_BYTES: Final = 250
"""About what an entry takes besides its value."""


class MemoryCache:
    """max_bytes: what entries may take together. ttl_s: how long one is kept."""

    def __init__(self, max_bytes: int, ttl_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._ttl_s, self._now = max_bytes, ttl_s, now
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.bytes = 0

    async def get(self, key: bytes, within_s: float) -> bytes | None:
        """See ports.Cache.get; answers at once."""
        found = self._entries.get(key)
        if found is None:
            return None
        until_s, value = found
        if self._now() >= until_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """See ports.Cache.put."""
        if len(value) > MAX_VALUE_BYTES:
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (self._now() + self._ttl_s, value)
        self.bytes += len(value) + _ENTRY_BYTES
        while self.bytes > self._max_bytes and self._entries:
            self._drop(next(iter(self._entries)))

    async def close(self) -> None:
        """See ports.Cache.close."""
        self._entries.clear()
        self.bytes = 0

    def _drop(self, key: bytes) -> None:
        _, value = self._entries.pop(key)
        self.bytes -= len(value) + _ENTRY_BYTES
