"""Which entities stay in memory: S3-FIFO, bounded by bytes. Core.

A new entity enters a small queue (a tenth of the bytes). One that is used before it reaches the queue's end moves to the main queue; the
others leave, and only the hash of their name is remembered: an entity that comes back soon enters the main queue at once. So entities
that are seen once, most of a scan, push out nobody. Source: Yang et al. (2023), FIFO queues are all you need for cache eviction, SOSP."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

V = TypeVar("V")

_SMALL_SHARE: Final = 0.1
_MOST_USES: Final = 3


class _Entry(Generic[V]):
    __slots__ = ("size", "uses", "value")

    def __init__(self, value: V, size: int) -> None:
        self.value, self.size, self.uses = value, size, 0


class S3Fifo(Generic[V]):
    """Values by name, of at most `most_bytes` by the sizes that are told."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._most_small = most_bytes, int(most_bytes * _SMALL_SHARE)
        self._small: OrderedDict[bytes, _Entry[V]] = OrderedDict()
        self._main: OrderedDict[bytes, _Entry[V]] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._small_bytes = 0
        self.bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def get(self, name: bytes) -> V | None:
        """The value, which counts as a use; None if it is not here."""
        entry = self._main.get(name) or self._small.get(name)
        if entry is None:
            return None
        if entry.uses < _MOST_USES:
            entry.uses += 1
        return entry.value

    def put(self, name: bytes, value: V, size: int) -> None:
        """Keep a value of `size` bytes, in place of the former. A value larger than all the room is not kept."""
        if size > self._most:
            self.drop(name)
            return
        entry = self._main.get(name)
        in_small = None if entry is not None else self._small.get(name)
        if entry is not None or in_small is not None:
            known = entry or in_small
            assert known is not None  # noqa: S101  # nosec B101  # for the type checker
            self.bytes += size - known.size
            if in_small is not None:
                self._small_bytes += size - known.size
            known.value, known.size = value, size
        else:
            self.bytes += size
            if self._ghosts.pop(hash(name), self) is None:
                self._main[name] = _Entry(value, size)
            else:
                self._small[name] = _Entry(value, size)
                self._small_bytes += size
        while self.bytes > self._most:
            self._evict()

    def drop(self, name: bytes) -> bool:
        """Forget a value; whether there was one."""
        entry = self._main.pop(name, None)
        if entry is None:
            entry = self._small.pop(name, None)
            if entry is None:
                return False
            self._small_bytes -= entry.size
        self.bytes -= entry.size
        return True

    def clear(self) -> None:
        """Forget all values. The names that left before stay remembered: they say what is used, not what its value is."""
        self._small.clear()
        self._main.clear()
        self.bytes = self._small_bytes = 0

    def _evict(self) -> None:
        """Let one entry leave, or move one on."""
        if self._small and (self._small_bytes > self._most_small or not self._main):
            name, entry = self._small.popitem(last=False)
            self._small_bytes -= entry.size
            if entry.uses:
                entry.uses = 0
                self._main[name] = entry
                return
            self._ghosts[hash(name)] = None
            while len(self._ghosts) > max(len(self), 1):
                self._ghosts.popitem(last=False)
        else:
            name, entry = self._main.popitem(last=False)
            if entry.uses:
                entry.uses -= 1
                self._main[name] = entry
                return
        self.bytes -= entry.size
        self.evicted += 1
