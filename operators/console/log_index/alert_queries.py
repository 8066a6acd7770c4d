"""Questions about alerts: a page of them, newest first; how many are new; one of them.

Pages go by key, not by number: the next one begins behind the last alert that was shown. So alerts that arrive meanwhile move nothing, and
pages together give each alert once that was there when the first one was read."""

import base64
import sqlite3
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from operators.console.log_index.index_file import IndexFile
from operators.console.log_index.index_scope import LogScope, SqlCondition
from operators.console.log_index.indexed_lines import PERSON

PAGE_ROWS: Final = 50
MOST_COUNTED: Final = 100
"""More new alerts are said to be so many or more."""


@dataclass(frozen=True, slots=True)
class AlertKey:
    """Where a page ends: the time and the event of an alert."""

    time_us: int
    event: str

    def encoded(self) -> str:
        """For an address.

        >>> AlertKey.decode(AlertKey(17, "4e23-1#0").encoded())
        AlertKey(time_us=17, event='4e23-1#0')
        """
        return base64.urlsafe_b64encode(f"{self.time_us} {self.event}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises ValueError for anything else."""
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        time_us, _, event = plain.partition(" ")
        if not event or not -(2**62) < int(time_us) < 2**62:
            raise ValueError(f"{text[:40]!r} is not a place in the list of alerts")
        return cls(int(time_us), event)


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts. verdict: empty means any that is not benign. entities: texts that the entity is looked up by; None: any entity.

    since_us, until_us: from inclusive, to exclusive."""

    model: str = ""
    verdict: str = "alert"
    entities: tuple[str, ...] | None = None
    since_us: int | None = None
    until_us: int | None = None
    is_unlabelled: bool = False

    def condition(self) -> SqlCondition:
        """In SQL."""
        parts: list[tuple[str, tuple[object, ...]]] = []
        if self.model:
            parts.append(("model = ?", (self.model,)))
        if self.verdict:
            parts.append(("verdict = ?", (self.verdict,)))
        if self.entities is not None:
            marks = ", ".join("?" * len(self.entities))
            parts.append((f"entity != '' AND entity IN ({marks})" if marks else "0", self.entities))
        if self.since_us is not None:
            parts.append(("time_us >= ?", (self.since_us,)))
        if self.until_us is not None:
            parts.append(("time_us < ?", (self.until_us,)))
        if self.is_unlabelled:
            parts.append(("label = ''", ()))
        return SqlCondition(
            " AND ".join(sql for sql, _ in parts) or "1", tuple(value for _, values in parts for value in values)
        )


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert as the list has it. sealed: the encrypted values of its entity by key. number: grows with each alert that is indexed."""

    number: int
    event: str
    time_us: int
    receipt: str
    place: int
    row: int
    model: str
    version: str
    revision: str
    variant: str
    source: str
    tenant: str
    verdict: str
    score: float | None
    is_degraded: bool
    rules: str
    entity: str
    sealed: dict[str, Any] | None
    codes: tuple[str, ...]
    label: str
    label_by: str
    label_us: int
    segment: str
    line: int
    at: int

    @property
    def key(self) -> AlertKey:
        """Its place in the list."""
        return AlertKey(self.time_us, self.event)

    @property
    def is_person(self) -> bool:
        """Whether the entity is an encrypted name."""
        return self.entity.startswith(PERSON)


@dataclass(frozen=True, slots=True)
class LabelWord:
    """One label of an alert's history."""

    verdict: str
    analyst: str
    time_us: int
    note: str
    source: str


@dataclass(frozen=True, slots=True)
class AlertPage:
    """newer, older: whether there are alerts before and behind these. newest: the largest number that may be seen, whatever the filter."""

    rows: tuple[AlertRow, ...]
    has_newer: bool
    has_older: bool
    newest: int


_COLUMNS: Final = "a.*, s.stem AS stem"
_ANY: Final = AlertFilter(verdict="")
_FROM: Final = "alerts AS a JOIN segments AS s ON s.id = a.segment"


class AlertQueries:
    """Asks the index of a store. Every method raises IndexUnavailable."""

    def __init__(self, file: IndexFile) -> None:
        self._file = file

    def page(
        self,
        wanted: AlertFilter,
        scope: LogScope,
        *,
        behind: AlertKey | None = None,
        before: AlertKey | None = None,
        most: int = PAGE_ROWS,
    ) -> AlertPage:
        """The newest alerts; or those behind (older than) a key, or before (newer than) one. Newest first in any case."""
        with self._file.reading() as connection:
            condition = self._condition(connection, wanted, scope)
            values = condition.values
            where, order = condition.sql, "DESC"
            if before is not None:
                where, values, order = f"{where} AND (time_us, event) > (?, ?)", (*values, before.time_us, before.event), "ASC"
            elif behind is not None:
                where, values = f"{where} AND (time_us, event) < (?, ?)", (*values, behind.time_us, behind.event)
            ids = f"SELECT id FROM alerts WHERE {where} ORDER BY time_us {order}, event {order} LIMIT ?"  # noqa: S608  # nosec B608  # conditions of our own; values apart
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM {_FROM} WHERE a.id IN ({ids}) ORDER BY a.time_us {order}, a.event {order}",  # noqa: S608  # nosec B608  # as above
                (*values, most + 1),
            ).fetchall()
            rows = [_row(one) for one in found[:most]]
            is_cut = len(found) > most
            seen = self._condition(connection, _ANY, scope)
            last = f"SELECT id FROM alerts WHERE {seen.sql} ORDER BY id DESC LIMIT 1"  # noqa: S608  # nosec B608  # as above
            newest = connection.execute(last, seen.values).fetchone()
            newest = int(newest[0]) if newest is not None else 0
        if before is not None:
            return AlertPage(tuple(reversed(rows)), has_newer=is_cut, has_older=True, newest=newest)
        return AlertPage(tuple(rows), has_newer=behind is not None, has_older=is_cut, newest=newest)

    def new_since(self, number: int, wanted: AlertFilter, scope: LogScope) -> int:
        """How many alerts of a filter were indexed since; MOST_COUNTED at most."""
        with self._file.reading() as connection:
            condition = self._condition(connection, wanted, scope)
            sql = f"SELECT count(*) FROM (SELECT 1 FROM alerts WHERE id > ? AND {condition.sql} LIMIT ?)"  # noqa: S608  # nosec B608  # as above
            return int(connection.execute(sql, (number, *condition.values, MOST_COUNTED)).fetchone()[0])

    def newest(self) -> int:
        """The largest number of an alert; 0 without any."""
        with self._file.reading() as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM alerts").fetchone()[0])

    def one(self, event: str, scope: LogScope) -> AlertRow | None:
        """An alert by its event; None if there is none, or none that may be seen."""
        with self._file.reading() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM {_FROM} WHERE a.event = ?", (event,)).fetchone()  # noqa: S608  # nosec B608  # as above
        row = _row(found) if found is not None else None
        return row if row is not None and scope.sees(row.model, row.tenant) else None

    def words(self, alert: AlertRow) -> list[LabelWord]:
        """Every label of an alert, the one that counts last."""
        with self._file.reading() as connection:
            found = connection.execute(
                "SELECT verdict, analyst, time_us, note, source FROM labels WHERE event = ? AND model = ? ORDER BY time_us, id",
                (alert.event, alert.model),
            ).fetchall()
        return [LabelWord(*one) for one in found]

    def models(self, scope: LogScope) -> list[str]:
        """Models that have alerts, sorted; those that may be seen."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT model, tenant FROM models ORDER BY model").fetchall()
        return list(dict.fromkeys(model for model, tenant in rows if scope.sees(model, tenant)))

    def unlabelled(self, wanted: AlertFilter, scope: LogScope) -> int:
        """How many alerts of a filter have no label; MOST_COUNTED at most."""
        with self._file.reading() as connection:
            condition = self._condition(connection, wanted, scope)
            sql = f"SELECT count(*) FROM (SELECT 1 FROM alerts WHERE label = '' AND {condition.sql} LIMIT ?)"  # noqa: S608  # nosec B608  # as above
            return int(connection.execute(sql, (*condition.values, MOST_COUNTED)).fetchone()[0])

    def _condition(self, connection: sqlite3.Connection, wanted: AlertFilter, scope: LogScope) -> SqlCondition:
        models = [] if scope.may_see_model is None else [m for (m,) in connection.execute("SELECT DISTINCT model FROM models")]
        return wanted.condition().also(scope.condition(models))


def _row(found: sqlite3.Row) -> AlertRow:
    return AlertRow(
        number=found["id"],
        event=found["event"],
        time_us=found["time_us"],
        receipt=found["receipt"],
        place=found["place"],
        row=found["row"],
        model=found["model"],
        version=found["version"],
        revision=found["revision"],
        variant=found["variant"],
        source=found["source"],
        tenant=found["tenant"],
        verdict=found["verdict"],
        score=found["score"],
        is_degraded=bool(found["is_degraded"]),
        rules=found["rules"],
        entity=found["entity"],
        sealed=msgspec.json.decode(found["sealed"]) if found["sealed"] is not None else None,
        codes=tuple(found["codes"].split()),
        label=found["label"],
        label_by=found["label_by"],
        label_us=found["label_us"],
        segment=found["stem"],
        line=found["line"],
        at=found["at"],
    )
