"""Why an alert was given: the reasons of its score, computed again from its record and the bundle that answered. The log holds none."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from lifecycle.governance.replay.explained import explain_record
from lifecycle.governance.replay.recompute import NotReplayable
from lifecycle.governance.replay.revisions import RevisionBook
from operators.console.log_index.alert_queries import AlertRow
from serving.audit.encoding import decode_array, decode_record
from serving.audit.personal.redaction import is_redacted, reveal
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord
from serving.settings import ServingSettings

WITHIN_S: Final = 5.0
"""How long one explanation may take."""
MOST_AT_ONCE: Final = 8
"""Explanations that are waited for at one moment: they come one after another, and other pages need threads too."""
MOST_COLUMNS: Final = 200
_MOST_REVISIONS: Final = 8
"""Revisions whose models are kept loaded."""
_MOST_TEXT: Final = 200
GONE: Final = "erased or redacted"


@dataclass(frozen=True, slots=True)
class AlertReasons:
    """lines: (code, share of the contributions or None, sentence) each. words: how they were found. problem: why there are none."""

    lines: tuple[tuple[str, float | None, str], ...] = ()
    words: str = ""
    problem: str = ""

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes, the most important first."""
        return tuple(code for code, _, _ in self.lines if code)


class AlertExplainer:
    """Explains alerts of one store, one at a time: a model's session is loaded once for each revision."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._book = RevisionBook(settings.store_dir, settings.model_threads)
        self._revisions: OrderedDict[str, None] = OrderedDict()
        self._using = threading.Lock()
        self.asking = threading.BoundedSemaphore(MOST_AT_ONCE)

    def reasons(self, alert: AlertRow, line: bytes) -> AlertReasons:
        """The reasons of one row."""
        if not self.asking.acquire(blocking=False):
            return AlertReasons(problem="many reasons are being computed at this moment; ask again in a few seconds")
        try:
            with self._using:
                return self._reasons(alert, line)
        finally:
            self.asking.release()

    def _reasons(self, alert: AlertRow, line: bytes) -> AlertReasons:
        self._make_room(alert.revision)
        try:
            keys = SubjectKeys(self._settings.store_dir / "keys" / "subjects")
            found = explain_record(self._book, line, "shap", keys=keys, row=alert.row, budget_s=WITHIN_S)
        except NotReplayable as problem:
            return AlertReasons(problem=str(problem))
        except (ValueError, KeyError, TypeError, OSError) as problem:
            return AlertReasons(problem=f"the record cannot be explained: {problem}")
        if found is None or not found.rows:
            return AlertReasons(problem="the record has no such row")
        return _read(found.rows[0].explanation, is_same=found.is_same)

    def _make_room(self, revision: str) -> None:
        self._revisions[revision] = None
        self._revisions.move_to_end(revision)
        if len(self._revisions) > _MOST_REVISIONS:
            self._book = RevisionBook(self._settings.store_dir, self._settings.model_threads)
            self._revisions = OrderedDict([(revision, None)])


def _read(body: Mapping[str, Any], *, is_same: bool) -> AlertReasons:
    if "reasons" not in body:
        rules = [(str(rule), None, "This rule matched.") for rule in body.get("rules", ())]
        return AlertReasons(
            tuple(rules), "Rules answered in place of the model." if rules else "The model did not run for this row."
        )
    lines = tuple((str(r["code"]), r.get("share"), str(r["sentence"])) for r in body["reasons"])
    words = f"Found by {body['method']}, against {body['background']}."
    return AlertReasons(lines, words if is_same else f"{words} The model gives another score here than was recorded.")


@dataclass(frozen=True, slots=True)
class RecordedValue:
    """One column of a row as it was recorded. kind: input or feature."""

    name: str
    kind: str
    value: str


def recorded_values(line: bytes, place: int, keys: SubjectKeys) -> tuple[AuditRecord, list[RecordedValue]]:
    """The record, and the values of one of its rows; MOST_COLUMNS at most. Raises ValueError for a line that is no record."""
    record = decode_record(line)
    record, gone = reveal(record, keys) if is_redacted(line) else (record, frozenset())
    found: list[RecordedValue] = []
    for kind, columns in (("input", record.inputs), ("feature", record.features)):
        for name, column in columns.items():
            if len(found) == MOST_COLUMNS:
                return record, found
            found.append(RecordedValue(name, kind, GONE if name in gone else _value(column, place)))
    return record, found


def _value(column: Any, place: int) -> str:
    try:
        array = column if isinstance(column, list) else decode_array(column)
        value = array[place] if len(array) > place else None
    except (ValueError, KeyError, TypeError, IndexError, msgspec.DecodeError):
        return "cannot be read"
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    text = str(value)
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"
