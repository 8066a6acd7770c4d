"""Remembers the MD5 of files that did not change since they were read, so that large data is not read each time.

A file is unchanged if its size, times of content and of inode, and inode number are. A file that changed a moment before it was read is
not remembered: it could change again without a new time. What the memory says can always be computed again, so it is dropped when it
cannot be used."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

KnownHash = tuple[int, int, int, int, str]
"""Size, mtime, ctime (nanoseconds), inode, MD5."""

_COARSE_NS: Final = 2_000_000_000
"""Longest tick of a file system's clock: FAT."""
_FINE_NS: Final = 50_000_000
"""Longest tick of a kernel's clock, with a margin, where times have nanoseconds."""
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, md5 TEXT) "
    "WITHOUT ROWID"
)


class HashMemory:
    """The memory in a SQLite file; without a file, that of this process. It never raises."""

    def __init__(self, path: Path | None = None, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._path, self._now_ns = path, now_ns
        self._learnt: dict[str, KnownHash] = {}
        self._forgotten: set[str] = set()
        self._connection = self._open()

    def known(self, path: str) -> KnownHash | None:
        """What is remembered of one file."""
        if path in self._learnt:
            return self._learnt[path]
        rows = self._ask("SELECT path, size, mtime, ctime, inode, md5 FROM hashes WHERE path = ?", (path,))
        return rows.get(path)

    def known_within(self, folder: str) -> Mapping[str, KnownHash]:
        """What is remembered of the files below a folder."""
        rows = self._ask(
            "SELECT path, size, mtime, ctime, inode, md5 FROM hashes WHERE path > ? AND path < ?", (f"{folder}/", f"{folder}0")
        )
        return rows | {path: known for path, known in self._learnt.items() if path.startswith(f"{folder}/")}

    @staticmethod
    def unchanged(known: KnownHash | None, info: os.stat_result) -> str | None:
        """The MD5 if the file is as it was; else None."""
        if known is not None and known[:4] == (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino):
            return known[4]
        return None

    def learn(self, path: str, info: os.stat_result, md5: str) -> None:
        """Remember what was read. info: from before it was."""
        tick = _FINE_NS if info.st_ctime_ns % 1_000_000 else _COARSE_NS
        if self._now_ns() - info.st_ctime_ns > tick:
            self._learnt[path] = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, md5)
            self._forgotten.discard(path)

    def forget(self, paths: Iterable[str]) -> None:
        """Files that are gone."""
        for path in paths:
            self._learnt.pop(path, None)
            self._forgotten.add(path)

    def keep(self) -> None:
        """Write down what was learnt."""
        if self._connection is None or not (self._learnt or self._forgotten):
            return
        with contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.executemany("DELETE FROM hashes WHERE path = ?", [(path,) for path in self._forgotten])
            self._connection.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)",
                [(path, *known) for path, known in self._learnt.items()],
            )
        self._forgotten.clear()

    def close(self) -> None:
        """Write down what was learnt, and let go of the file."""
        self.keep()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _open(self, *, is_again: bool = False) -> sqlite3.Connection | None:
        if self._path is None or not self._path.parent.is_dir():
            return None
        connection = None
        try:
            connection = sqlite3.connect(self._path, timeout=1.0)
            with connection:
                connection.execute(_TABLE)
        except sqlite3.DatabaseError as problem:
            if connection is not None:
                connection.close()
            if isinstance(problem, sqlite3.OperationalError) or is_again:  # locked, read-only, full: do without
                return None
            with contextlib.suppress(OSError):  # not a database: begin again
                self._path.unlink()
            return self._open(is_again=True)
        return connection

    def _ask(self, query: str, values: tuple[str, ...]) -> dict[str, KnownHash]:
        if self._connection is None:
            return {}
        try:
            return {row[0]: row[1:] for row in self._connection.execute(query, values)}
        except sqlite3.Error:
            return {}
