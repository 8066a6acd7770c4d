"""The file of the index: its tables, how it is opened, and how it is made again.

It holds nothing that the logs do not hold. A file of another layout, or one that is damaged, is removed and made again."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

FILE: Final = "log-index.db"
LAYOUT: Final = 2
"""Raise it with every change of the tables: the file is then made again."""
_BUSY_S: Final = 5.0
_NOT_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
    }
)  # fmt: skip
"""What is wrong with the machine and not with the file: to make the file again would take more of the disk, at each look."""
_TABLES: Final = """
CREATE TABLE segments (
  id INTEGER PRIMARY KEY, log TEXT NOT NULL, stem TEXT NOT NULL, bytes INTEGER NOT NULL DEFAULT 0, lines INTEGER NOT NULL DEFAULT 0,
  broken INTEGER NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '', is_archived INTEGER NOT NULL DEFAULT 0, UNIQUE (log, stem)
);
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, receipt TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
  revision TEXT NOT NULL, variant TEXT NOT NULL, door TEXT NOT NULL, source TEXT NOT NULL, caller TEXT NOT NULL, tenant TEXT NOT NULL,
  rows INTEGER NOT NULL, verdict TEXT NOT NULL, entity TEXT NOT NULL, sealed BLOB, subject TEXT,
  segment INTEGER NOT NULL, line INTEGER NOT NULL, at INTEGER NOT NULL
);
CREATE INDEX answers_by_time ON answers (time_us, id);
CREATE INDEX answers_by_receipt ON answers (receipt);
CREATE INDEX answers_by_entity ON answers (entity, time_us, id) WHERE entity != '';
CREATE INDEX answers_by_caller ON answers (caller, time_us, id) WHERE caller != '';
CREATE INDEX answers_by_subject ON answers (subject) WHERE subject IS NOT NULL;
CREATE INDEX answers_by_segment ON answers (segment);
CREATE TABLE revisions (
  segment INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, revision TEXT NOT NULL, is_refused INTEGER NOT NULL,
  records INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
  PRIMARY KEY (segment, model, version, revision, is_refused)
) WITHOUT ROWID;
CREATE TABLE alerts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL UNIQUE, time_us INTEGER NOT NULL, receipt TEXT NOT NULL, place INTEGER NOT NULL,
  row INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, revision TEXT NOT NULL, variant TEXT NOT NULL, source TEXT NOT NULL,
  tenant TEXT NOT NULL, verdict TEXT NOT NULL, score REAL, is_degraded INTEGER NOT NULL, rules TEXT NOT NULL, entity TEXT NOT NULL,
  sealed BLOB, subject TEXT, codes TEXT NOT NULL DEFAULT '', segment INTEGER NOT NULL, line INTEGER NOT NULL, at INTEGER NOT NULL,
  label TEXT NOT NULL DEFAULT '', label_by TEXT NOT NULL DEFAULT '', label_us INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX alerts_by_time ON alerts (time_us, event);
CREATE INDEX alerts_by_verdict ON alerts (verdict, time_us, event);
CREATE INDEX alerts_by_model ON alerts (model, verdict, time_us, event);
CREATE INDEX alerts_by_entity ON alerts (entity, time_us, event) WHERE entity != '';
CREATE INDEX alerts_open ON alerts (verdict, time_us, event) WHERE label = '';
CREATE INDEX alerts_by_subject ON alerts (subject) WHERE subject IS NOT NULL;
CREATE INDEX alerts_by_segment ON alerts (segment);
CREATE TABLE models (model TEXT NOT NULL, tenant TEXT NOT NULL, PRIMARY KEY (model, tenant)) WITHOUT ROWID;
CREATE TABLE labels (
  id INTEGER PRIMARY KEY, label_id TEXT NOT NULL UNIQUE, event TEXT NOT NULL, model TEXT NOT NULL, verdict TEXT NOT NULL,
  analyst TEXT NOT NULL, time_us INTEGER NOT NULL, note TEXT NOT NULL, source TEXT NOT NULL, segment INTEGER NOT NULL
);
CREATE INDEX labels_by_event ON labels (event, model);
CREATE INDEX labels_by_time ON labels (time_us, id);
CREATE INDEX labels_by_segment ON labels (segment);
CREATE TABLE acts (
  id INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
  reason TEXT NOT NULL, outcome TEXT NOT NULL, body BLOB NOT NULL, segment INTEGER NOT NULL, line INTEGER NOT NULL
);
CREATE INDEX acts_by_time ON acts (time_us, id);
CREATE INDEX acts_by_segment ON acts (segment);
CREATE TABLE erased (subject TEXT PRIMARY KEY, time_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class IndexUnavailable(Exception):
    """The index cannot be read now; the message says why. It is made again from the logs."""


class IndexFile:
    """The SQLite file in a folder. One process writes it at a time; any number read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._turn = threading.Lock()
        self._is_damaged = False

    @contextmanager
    def writing(self, wait_s: float = -1) -> Iterator[sqlite3.Connection | None]:
        """A connection that may write, with the tables there; None while another process writes. Raises OSError, sqlite3.Error.

        wait_s: how long to wait for another thread of this process; then None too. Below 0: as long as it takes."""
        if not self._turn.acquire(timeout=wait_s):
            yield None
            return
        try:
            with self._locked() as connection:
                yield connection
        finally:
            self._turn.release()

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection | None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.folder / ".log-index.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            with closing(self._opened()) as connection:
                yield connection
        finally:
            os.close(fd)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that reads one state of the index; an empty one where the file is only just being made. Raises IndexUnavailable."""
        try:
            with closing(self._for_reading()) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("BEGIN")
                yield connection
        except sqlite3.Error as problem:
            self._is_damaged |= (
                type(problem) is sqlite3.DatabaseError
            )  # its subclasses are about the question, not about the file
            raise IndexUnavailable(f"{self.path}: cannot be read ({problem}); it is made again from the logs") from problem

    def _for_reading(self) -> sqlite3.Connection:
        if self.path.exists():
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
            try:
                layout = connection.execute("PRAGMA user_version").fetchone()[0]
            except BaseException:
                connection.close()
                raise
            if layout:
                return connection
            connection.close()
        empty = sqlite3.connect(":memory:", isolation_level=None)
        empty.executescript(_TABLES)
        return empty

    def remove(self) -> None:
        """Remove the file; the next writer makes it again."""
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")

    def _opened(self) -> sqlite3.Connection:
        if self._is_damaged:
            self.remove()
            self._is_damaged = False
        try:
            return self._connected()
        except sqlite3.DatabaseError as problem:
            if not is_damage(problem):
                raise
            self.remove()
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        if not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            layout = connection.execute("PRAGMA user_version").fetchone()[0]
            if layout not in (0, LAYOUT):
                raise sqlite3.DatabaseError(f"layout {layout}")
            if layout == 0:
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={LAYOUT}; COMMIT;")
            return connection
        except BaseException:
            connection.close()
            raise


def is_busy(problem: sqlite3.Error) -> bool:
    """Whether somebody else writes."""
    return _code(problem) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(problem: sqlite3.Error) -> bool:
    """Whether the file has to be made again."""
    return _code(problem) not in _NOT_DAMAGE or problem.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHORT_READ


def _code(problem: sqlite3.Error) -> int:
    """The primary result code; -1 where the error is our own or that of Python's module."""
    code = getattr(problem, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF
