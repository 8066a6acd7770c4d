"""Writes into the index: records, labels and acts, and takes out what is gone. One connection, within one transaction of the caller."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from lifecycle.governance.acts import Act
from lifecycle.governance.archive.erasure import ERASE
from lifecycle.labels.label import Label
from operators.console.log_index.indexed_lines import NOBODY, IndexedAnswer, IndexedEntity
from serving.audit.record import REFUSED

MOST_ANSWERS: Final = 1_000_000
"""Records that are kept; the oldest go first. Older ones are found by `vedette audit query`."""
MOST_ALERTS: Final = 500_000
"""Rows that are not benign; the same."""
_SLACK: Final = 20
"""A twentieth more may be there before the oldest go: they go together."""
_ANSWER: Final = f"INSERT INTO answers VALUES (NULL, {', '.join('?' * 18)})"  # noqa: S608  # nosec B608  # names of our own
_ALERT: Final = f"INSERT OR IGNORE INTO alerts VALUES (NULL, {', '.join('?' * 25)})"  # noqa: S608  # nosec B608  # names of our own
_REVISION: Final = """INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET records = records + excluded.records,
  first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us)"""
LinePlace = tuple[int, int]
"""The number of a line in its segment, from 0, and the byte at which it begins; -1: not known."""


class IndexWriter:
    """Writes through a connection. most_answers, most_alerts: the bounds."""

    def __init__(
        self, connection: sqlite3.Connection, *, most_answers: int = MOST_ANSWERS, most_alerts: int = MOST_ALERTS
    ) -> None:
        self._connection, self._most = connection, {"answers": most_answers, "alerts": most_alerts}
        self._erased: dict[str, int] = dict(connection.execute("SELECT subject, time_us FROM erased"))
        self._has_labels = connection.execute("SELECT 1 FROM labels LIMIT 1").fetchone() is not None
        self._models: set[tuple[str, str]] = set()

    def add_answers(self, segment: int, found: Sequence[tuple[LinePlace, IndexedAnswer]]) -> None:
        """Records of one segment."""
        answers, alerts = [], []
        revisions: dict[tuple[str, str, str, bool], tuple[int, int, int]] = {}
        for (line, at), one in found:
            entity = self._unless_erased(one.entity, one.time_us)
            answers.append(
                (
                    one.time_us, one.receipt, one.model, one.version, one.revision, one.variant, one.door, one.source, one.caller,
                    one.tenant, one.rows, one.verdict, entity.text, entity.sealed, entity.subject, segment, line, at,
                )
            )  # fmt: skip
            revision = one.model, one.version, one.revision, one.source == REFUSED
            count, first_us, last_us = revisions.get(revision, (0, one.time_us, one.time_us))
            revisions[revision] = count + 1, min(first_us, one.time_us), max(last_us, one.time_us)
            for alert in one.alerts:
                theirs = self._unless_erased(alert.entity, one.time_us)
                label = self._word(alert.event, one.model) if self._has_labels else ("", "", 0)
                alerts.append(
                    (
                        alert.event, one.time_us, one.receipt, alert.place, alert.row, one.model, one.version, one.revision,
                        one.variant, one.source, one.tenant, alert.verdict, alert.score, alert.is_degraded, alert.rules,
                        theirs.text, theirs.sealed, theirs.subject, "", segment, line, at, *label,
                    )
                )  # fmt: skip
            if one.alerts and (one.model, one.tenant) not in self._models:
                self._models.add((one.model, one.tenant))
                self._connection.execute("INSERT OR IGNORE INTO models VALUES (?, ?)", (one.model, one.tenant))
        self._connection.executemany(_ANSWER, answers)
        self._connection.executemany(_ALERT, alerts)
        self._connection.executemany(_REVISION, [(segment, *revision, *counts) for revision, counts in revisions.items()])

    def add_label(self, segment: int, label: Label) -> None:
        """One word of an analyst. The first of an id counts, the last of an event is shown."""
        row = (label.label_id, label.event, label.model, label.verdict, label.analyst, label.time_us, label.note, label.source)
        self._connection.execute("INSERT OR IGNORE INTO labels VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, segment))
        self._has_labels = True
        self._connection.execute(
            "UPDATE alerts SET label = ?, label_by = ?, label_us = ? WHERE event = ? AND model = ?",
            (*self._word(label.event, label.model), label.event, label.model),
        )

    def add_act(self, segment: int, line: int, act: Act, body: bytes) -> None:
        """One governed act. After an erasure the index no longer knows whose records they were."""
        row = (act.time_us, act.actor, act.action, act.subject, act.reason, act.outcome, body, segment, line)
        self._connection.execute("INSERT INTO acts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        kind, _, subject = act.subject.partition("/")
        if act.action == ERASE and kind == "subject" and act.outcome == "accepted":
            until_us = max(act.time_us, self._erased.get(subject, 0))
            self._erased[subject] = until_us
            self._connection.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", (subject, until_us))
            for table in ("answers", "alerts"):
                self._connection.execute(
                    f"UPDATE {table} SET entity = '', sealed = NULL, subject = NULL WHERE subject = ? AND time_us <= ?",  # noqa: S608  # nosec B608  # names of our own
                    (subject, until_us),
                )

    def forget_segment(self, segment: int) -> None:
        """Take out all that a segment of any log brought."""
        events = self._connection.execute("SELECT DISTINCT event, model FROM labels WHERE segment = ?", (segment,)).fetchall()
        for table in ("answers", "revisions", "alerts", "labels", "acts"):
            self._connection.execute(f"DELETE FROM {table} WHERE segment = ?", (segment,))  # noqa: S608  # nosec B608  # names of our own
        for event, model in events:
            self._connection.execute(
                "UPDATE alerts SET label = ?, label_by = ?, label_us = ? WHERE event = ? AND model = ?",
                (*self._word(event, model), event, model),
            )

    def prune(self) -> None:
        """Let the oldest go, where there are too many."""
        for table, most in self._most.items():
            first, last = self._connection.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()  # noqa: S608  # nosec B608  # names of our own
            if first is None or last - first < most + most // _SLACK:
                continue
            (count,) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # nosec B608  # names of our own
            if count >= most + most // _SLACK:
                self._connection.execute(
                    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY time_us, id LIMIT ?)",  # noqa: S608  # nosec B608  # names of our own
                    (count - most,),
                )

    def oldest_us(self) -> int:
        """How far back the records go, where the index is full; 0 while it has room."""
        (count,) = self._connection.execute("SELECT count(*) FROM answers").fetchone()
        if count < self._most["answers"]:
            return 0
        oldest = self._connection.execute("SELECT min(time_us) FROM answers").fetchone()[0]
        return int(oldest)

    def _word(self, event: str, model: str) -> tuple[str, str, int]:
        """The last word on an event: verdict, analyst, when."""
        found = self._connection.execute(
            "SELECT verdict, analyst, time_us FROM labels WHERE event = ? AND model = ? ORDER BY time_us DESC, id DESC LIMIT 1",
            (event, model),
        ).fetchone()
        return found if found is not None else ("", "", 0)

    def _unless_erased(self, entity: IndexedEntity, time_us: int) -> IndexedEntity:
        subject = entity.subject
        return NOBODY if subject is not None and time_us <= self._erased.get(subject, -1) else entity
