"""The ledger in one SQLite file, for one machine: processes share it through SQLite's own locks (write-ahead log)."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from serving.risk.assess import Risk, assess
from serving.risk.entity_record import EntityRecord, newest_us
from serving.risk.ledger import LedgerDown, RiskUpdate, by_entity, updated
from serving.risk.records import ceiling, decode_record, encode_record
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import PendingCheck, RiskSignal

FILE: Final = "risk.db"
BUSY_S: Final = 10.0
"""How long a writer waits for another one."""
_TOGETHER: Final = 500
"""Entities in one query; SQLite's own limit on parameters is 999 in old versions."""
_PAGE: Final = 200
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS risk (
  entity TEXT PRIMARY KEY, ceiling REAL NOT NULL, newest_us INTEGER NOT NULL, record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS risk_by_ceiling ON risk (ceiling DESC, entity);
CREATE INDEX IF NOT EXISTS risk_by_time ON risk (newest_us);
"""


class SqliteLedger:
    """Port RiskLedger. The file is made if it is not there. May be used from several threads, one at a time. Raises LedgerDown."""

    def __init__(self, path: Path, rules: RiskRules) -> None:
        self._path, self._rules = path, rules
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as problem:
            raise LedgerDown(f"{path}: cannot be opened: {problem}") from problem
        try:
            with self._errors():
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.executescript(_SCHEMA)
        except BaseException:
            self.close()
            raise

    def add(self, signals: Sequence[RiskSignal], pending: Sequence[PendingCheck], now_us: int) -> list[RiskUpdate]:
        """See the port."""
        wanted, updates = by_entity(signals, pending), []
        with self._errors(), self._transaction():
            records = self._read(list(wanted))
            rows = []
            for entity, (theirs, checks) in wanted.items():
                record = records.get(entity) or EntityRecord(entity=entity)
                after, update = updated(record, theirs, checks, self._rules, now_us)
                if update is not None:
                    updates.append(update)
                    rows.append((entity, ceiling(after, self._rules), newest_us(after), encode_record(after)))
            self._connection.executemany("INSERT OR REPLACE INTO risk VALUES (?, ?, ?, ?)", rows)
        return updates

    def find(self, entity: str, now_us: int) -> Risk | None:
        """See the port."""
        with self._errors():
            record = self._read([entity]).get(entity)
        return None if record is None else assess(record, self._rules, now_us)

    def highest(self, most: int, now_us: int, is_wanted: Callable[[str], bool] | None = None) -> list[Risk]:
        """See the port. Reads entities in order of the highest risk they may have, until none that is left can be among those wanted."""
        found: list[Risk] = []
        with self._errors():
            rows = self._connection.execute("SELECT ceiling, record, entity FROM risk ORDER BY ceiling DESC, entity")
            while page := rows.fetchmany(_PAGE):
                if len(found) >= most and page[0][0] < found[most - 1].risk:
                    break
                wanted = [blob for _, blob, entity in page if is_wanted is None or is_wanted(entity)]
                found += [assess(decode_record(blob), self._rules, now_us) for blob in wanted]
                found.sort(key=lambda risk: (-risk.risk, risk.entity))
                del found[most:]
        return found

    def forget_before(self, until_us: int) -> int:
        """See the port."""
        with self._errors(), self._transaction():
            return self._connection.execute("DELETE FROM risk WHERE newest_us < ?", (until_us,)).rowcount

    def close(self) -> None:
        """See the port."""
        self._connection.close()

    def _read(self, entities: Sequence[str]) -> dict[str, EntityRecord]:
        found: dict[str, EntityRecord] = {}
        for start in range(0, len(entities), _TOGETHER):
            some = entities[start : start + _TOGETHER]
            marks = ",".join("?" * len(some))
            for entity, blob in self._connection.execute(f"SELECT entity, record FROM risk WHERE entity IN ({marks})", some):  # noqa: S608  # nosec B608  # marks only
                found[entity] = decode_record(blob)
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise LedgerDown(f"{self._path}: {problem}; check the disk and who else writes there, then try again") from problem
