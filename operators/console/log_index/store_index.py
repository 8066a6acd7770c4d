"""The index of one store for the pages: kept up to date by a thread of its own, asked by theirs.

A page waits a moment for what is new. If there is much to read, the page shows what is there already, and how far the reading is."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lifecycle.governance.archive.place import ArchiveError, ArchivePlace
from operators.console.log_index.alert_queries import AlertQueries
from operators.console.log_index.index_file import IndexFile
from operators.console.log_index.index_follower import LogFollowing
from operators.console.log_index.indexed_lines import NO_KEYS, EntityKeys
from operators.console.log_index.people import People
from operators.console.log_index.record_queries import RecordQueries
from serving.audit.signed_note import NoteError
from serving.models.errors import ModelError
from serving.models.store import BundleStore

FOLDER: Final = "console"
"""Of the index, in a store."""
WAIT_S: Final = 0.05
"""How long a page waits for what is new."""
FRESH_S: Final = 0.25
"""A page does not look again at logs that were read so lately."""
LATE_S: Final = 5.0
"""A page says that it may be behind if the last reading that came to its end is older than this."""
_SHORT_WAIT_S: Final = 0.5
_log = logging.getLogger("vedette.console")


@dataclass(frozen=True, slots=True)
class IndexState:
    """is_current: whether everything that was there a few seconds ago was read. done, total: bytes of the reading that goes on.

    problem: why the logs cannot be followed; empty if they can."""

    is_current: bool
    done: int = 0
    total: int = 0
    problem: str = ""

    @property
    def share(self) -> float:
        """How much of it is read, 0 to 1."""
        return self.done / self.total if self.total else 0.0


class StoreIndex:
    """One object for all threads. archive: opens the archive of the store, if it has one."""

    def __init__(self, store: Path, archive: Callable[[], ArchivePlace | None], *, folder: Path | None = None) -> None:
        self.store, self.archive = store, archive
        self._file = IndexFile(folder or store / FOLDER)
        self.alerts, self.records = AlertQueries(self._file), RecordQueries(self._file)
        self._following = LogFollowing(store, self._file, archive, self.keys_of, advance=self._advance)
        self._keys: dict[tuple[str, str], EntityKeys] = {}
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        self._is_running = False
        self._progress = (0, 0)
        self._is_writer = True
        self._problem = ""
        self._read_s = -LATE_S

    def prepare(self) -> None:
        """Make the file if it is not there, so that it can be read at once. A store that cannot be written says so at the first look."""
        try:
            with self._file.writing(_SHORT_WAIT_S):
                pass
        except (OSError, sqlite3.Error) as problem:
            _log.warning("%s: %s", self._file.path, problem)

    def refresh(self, wait_s: float = WAIT_S, *, fresh_s: float = FRESH_S) -> IndexState:
        """Read what is new, in the index's own thread; wait for it so long at most. fresh_s: unless it was read so lately."""
        now_s = time.monotonic()
        until_s = now_s + wait_s
        with self._turn:
            if now_s - self._read_s < fresh_s and not self._problem:
                return IndexState(True)
            self._asked += 1
            wanted = self._asked
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="vedette-log-index", daemon=True).start()
            while self._answered < wanted and (left_s := until_s - time.monotonic()) > 0:
                self._turn.wait(left_s)
            has_read = (
                self._answered >= wanted and self._is_writer
            )  # else another process reads, and how far it is, is not known
            is_current = has_read or time.monotonic() - self._read_s < LATE_S
            return IndexState(is_current and not self._problem, *self._progress, self._problem)

    def people(self) -> People:
        """Opens names, for one request."""
        return People(self.store / "keys" / "subjects")

    def keep_codes(self, event: str, codes: tuple[str, ...]) -> None:
        """Show the codes of an alert's reasons in lists from now on. Given up if the index is being written."""
        try:
            with self._file.writing(_SHORT_WAIT_S) as connection:
                if connection is not None:
                    connection.execute("UPDATE alerts SET codes = ? WHERE event = ?", (" ".join(codes), event))
        except (OSError, sqlite3.Error) as problem:
            _log.info("codes of %s are not kept: %s", event, problem)

    def keys_of(self, model: str, version: str) -> EntityKeys:
        """The entity keys of a model's version, from its bundle; none where the store has no such bundle."""
        known = self._keys.get((model, version))
        if known is None:
            known = self._keys[model, version] = self._read_keys(model, version)
        return known

    def _read_keys(self, model: str, version: str) -> EntityKeys:
        try:
            manifest = BundleStore(self.store).resolve(model, version).manifest
        except (ModelError, OSError, ValueError):
            return NO_KEYS
        names = tuple(key.name for key in manifest.entity_keys)
        return EntityKeys(names, names_person=list(manifest.personal)[:1] == list(names))

    def _advance(self, done: int, total: int) -> None:
        self._progress = (done, total)

    def _run(self) -> None:
        while True:
            with self._turn:
                wanted = self._asked
            problem, is_writer = "", True
            try:
                found = self._following.catch_up()
                is_writer = found.is_writer
                if found.changed and self._keys:
                    self._keys = {place: keys for place, keys in self._keys.items() if keys.names}  # a bundle may have come
            except (OSError, sqlite3.Error, ArchiveError, NoteError) as cause:
                problem = f"The logs cannot be followed: {cause}"
                _log.warning("%s", problem)
            except Exception:
                problem = "The logs cannot be followed; the console's log says why."
                _log.exception("the index of the logs failed")
            with self._turn:
                self._answered, self._problem, self._progress, self._is_writer = wanted, problem, (0, 0), is_writer
                self._read_s = time.monotonic() if is_writer and not problem else self._read_s
                self._turn.notify_all()
                if self._asked == wanted:
                    self._is_running = False
                    return


def index_of(kept: Mapping[str, object], store: Path) -> "StoreIndex | None":
    """The index that a site keeps, if it is of this store."""
    found = kept.get("log-index")
    return found if isinstance(found, StoreIndex) and found.store == store else None
