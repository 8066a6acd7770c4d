"""Questions about records of all three logs: a page of answers, acts and labels together, newest first; the segments of the logs.

Pages go by key like those of alerts (alert_queries)."""

import base64
import heapq
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

import msgspec

from operators.console.log_index.index_file import IndexFile
from operators.console.log_index.index_scope import LogScope, SqlCondition

RecordKind = Literal["act", "answer", "label"]
KINDS: Final[tuple[RecordKind, ...]] = get_args(RecordKind)
PAGE_RECORDS: Final = 50
_ANSWERS: Final = "SELECT t.*, s.stem AS stem FROM answers AS t JOIN segments AS s ON s.id = t.segment"
_LABELS: Final = "SELECT t.*, s.stem AS stem FROM labels AS t JOIN segments AS s ON s.id = t.segment"
_ACTS: Final = "SELECT t.*, s.stem AS stem FROM acts AS t JOIN segments AS s ON s.id = t.segment"
_SELECT: Final[dict[str, str]] = {"answer": _ANSWERS, "label": _LABELS, "act": _ACTS}


@dataclass(frozen=True, slots=True, order=True)
class RecordKey:
    """Where a page ends: the time, the kind and the number of a record in the index."""

    time_us: int
    kind: RecordKind
    number: int

    def encoded(self) -> str:
        """For an address.

        >>> RecordKey.decode(RecordKey(17, "act", 4).encoded())
        RecordKey(time_us=17, kind='act', number=4)
        """
        return base64.urlsafe_b64encode(f"{self.time_us} {self.kind} {self.number}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises ValueError for anything else."""
        time_us, kind, number = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(" ")
        if kind not in KINDS or max(abs(int(time_us)), abs(int(number))) >= 2**62:
            raise ValueError(f"{text[:40]!r} is not a place in the list of records")
        return cls(int(time_us), kind, int(number))


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records. kinds: empty means all. actor: who acted, labelled or asked. action: of an act, or its beginning, or the verdict of a
    label or answer. service: the model, or the service of an act. entities: texts that an answer's entity is looked up by; None: any.

    receipt: of an answer, or of the answer that an act or label is about. since_us, until_us: from inclusive, to exclusive."""

    kinds: tuple[RecordKind, ...] = ()
    actor: str = ""
    action: str = ""
    service: str = ""
    entities: tuple[str, ...] | None = None
    receipt: str = ""
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record as the list has it. who: the actor, analyst or caller. what: the action, verdict or label. about: the subject, receipt or
    event. why: the reason or note. service: the model, where there is one."""

    key: RecordKey
    who: str
    what: str
    about: str
    why: str
    service: str
    tenant: str
    entity: str
    sealed: dict[str, Any] | None
    segment: str
    line: int
    at: int
    body: bytes

    @property
    def kind(self) -> RecordKind:
        """Which log it is in."""
        return self.key.kind


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Newest first. has_older: whether there are records behind these."""

    rows: tuple[RecordRow, ...]
    has_older: bool


@dataclass(frozen=True, slots=True)
class IndexedSegment:
    """What the index knows of a segment. broken: lines that are not records. problem: why it cannot be read; empty if it can."""

    log: str
    stem: str
    lines: int
    broken: int
    problem: str
    is_archived: bool


class RecordQueries:
    """Asks the index of a store. Every method raises IndexUnavailable."""

    def __init__(self, file: IndexFile) -> None:
        self._file = file

    def page(
        self, wanted: RecordFilter, scope: LogScope, *, behind: RecordKey | None = None, most: int = PAGE_RECORDS
    ) -> RecordPage:
        """The newest records; or those behind (older than) a key."""
        kinds = wanted.kinds or KINDS
        with self._file.reading() as connection:
            found = [self._of(connection, kind, wanted, scope, behind, most + 1) for kind in kinds]
            merged = heapq.merge(*found, key=lambda row: row.key, reverse=True)
            rows = [row for row, _ in zip(merged, range(most + 1), strict=False)]
        return RecordPage(tuple(rows[:most]), len(rows) > most)

    def one(self, kind: RecordKind, number: int, scope: LogScope) -> RecordRow | None:
        """A record by its number in the index; None if there is none, or none that may be seen."""
        with self._file.reading() as connection:
            found = connection.execute(f"{_SELECT[kind]} WHERE t.id = ?", (number,)).fetchone()
        row = _row(kind, found) if found is not None else None
        is_seen = row is not None and (scope.sees(row.service, row.tenant) if kind == "answer" else scope.is_whole)
        return row if is_seen else None

    def of_receipt(self, receipt: str, scope: LogScope) -> list[RecordRow]:
        """The records of an answer, one for each variant."""
        with self._file.reading() as connection:
            found = connection.execute(f"{_ANSWERS} WHERE t.receipt = ? ORDER BY t.id", (receipt,)).fetchall()
        return [row for row in (_row("answer", one) for one in found) if scope.sees(row.service, row.tenant)]

    def answers_of_revisions(self) -> list[tuple[str, str, str, int, int, int]]:
        """Model, version, revision, how many records of answers the logs have of it, the times of the first and the last."""
        with self._file.reading() as connection:
            found = connection.execute(
                "SELECT model, version, revision, sum(records), min(first_us), max(last_us) FROM revisions WHERE NOT is_refused "
                "GROUP BY model, version, revision"
            ).fetchall()
        return [tuple(one) for one in found]

    def segments(self) -> list[IndexedSegment]:
        """All segments, by log and name."""
        with self._file.reading() as connection:
            found = connection.execute("SELECT * FROM segments ORDER BY log, stem").fetchall()
        return [
            IndexedSegment(s["log"], s["stem"], s["lines"], s["broken"], s["problem"], bool(s["is_archived"])) for s in found
        ]

    def state(self, name: str) -> str:
        """A word that the follower left; empty if there is none."""
        with self._file.reading() as connection:
            found = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found is not None else ""

    def _of(
        self,
        connection: sqlite3.Connection,
        kind: RecordKind,
        wanted: RecordFilter,
        scope: LogScope,
        behind: RecordKey | None,
        most: int,
    ) -> Iterator[RecordRow]:
        condition = _condition(kind, wanted)
        if kind == "answer":
            models = (
                []
                if scope.may_see_model is None
                else [m for (m,) in connection.execute("SELECT DISTINCT model FROM revisions")]
            )
            condition = condition.also(scope.condition(models))
        elif not scope.is_whole:
            return iter(())
        if behind is not None:
            condition = condition.also(_behind(kind, behind))
        sql = f"{_SELECT[kind]} WHERE {condition.sql} ORDER BY t.time_us DESC, t.id DESC LIMIT ?"
        return iter([_row(kind, one) for one in connection.execute(sql, (*condition.values, most)).fetchall()])


def _behind(kind: RecordKind, key: RecordKey) -> SqlCondition:
    """Older than a key, in the order of time, kind and number."""
    if kind == key.kind:
        return SqlCondition("(t.time_us, t.id) < (?, ?)", (key.time_us, key.number))
    return SqlCondition("t.time_us <= ?" if kind < key.kind else "t.time_us < ?", (key.time_us,))


def _condition(kind: RecordKind, wanted: RecordFilter) -> SqlCondition:
    parts: list[tuple[str, tuple[object, ...]]] = []
    if wanted.actor:
        parts.append(({"answer": "caller", "label": "analyst", "act": "actor"}[kind] + " = ?", (wanted.actor,)))
    if wanted.action:
        begins = f"{_literal(wanted.action)}%"
        parts.append(("t.action LIKE ? ESCAPE '!'", (begins,)) if kind == "act" else ("t.verdict = ?", (wanted.action,)))
    if wanted.service:
        of_act = "(subject LIKE ? ESCAPE '!' OR subject = ?)", (f"modelservice/%/{_literal(wanted.service)}", wanted.service)
        parts.append(of_act if kind == "act" else ("model = ?", (wanted.service,)))
    if wanted.receipt:
        named = {
            "answer": ("receipt = ?", (wanted.receipt,)),
            "label": ("(event = ? OR event LIKE ? ESCAPE '!')", (wanted.receipt, f"{_literal(wanted.receipt)}#%")),
            "act": ("subject = ?", (f"record/{wanted.receipt}",)),
        }
        parts.append(named[kind])
    if wanted.entities is not None:
        marks = ", ".join("?" * len(wanted.entities))
        parts.append((f"entity != '' AND entity IN ({marks})" if kind == "answer" and marks else "0", wanted.entities))
        if parts[-1][0] == "0":
            parts[-1] = ("0", ())
    if wanted.since_us is not None:
        parts.append(("t.time_us >= ?", (wanted.since_us,)))
    if wanted.until_us is not None:
        parts.append(("t.time_us < ?", (wanted.until_us,)))
    return SqlCondition(" AND ".join(sql for sql, _ in parts) or "1", tuple(v for _, values in parts for v in values))


def _literal(text: str) -> str:
    """Text in a LIKE pattern that stands for itself."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _row(kind: RecordKind, found: sqlite3.Row) -> RecordRow:
    key = RecordKey(found["time_us"], kind, found["id"])
    if kind == "answer":
        sealed = msgspec.json.decode(found["sealed"]) if found["sealed"] is not None else None
        return RecordRow(
            key, found["caller"], found["verdict"] or "answered", found["receipt"], "", found["model"], found["tenant"],
            found["entity"], sealed, found["stem"], found["line"], found["at"], b"",
        )  # fmt: skip
    if kind == "label":
        return RecordRow(
            key, found["analyst"], found["verdict"], found["event"], found["note"], found["model"], "", "", None, found["stem"], -1, -1,
            b"",
        )  # fmt: skip
    return RecordRow(
        key, found["actor"], found["action"], found["subject"], found["reason"], "", "", "", None, found["stem"], found["line"], -1,
        found["body"],
    )  # fmt: skip
