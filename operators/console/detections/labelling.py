"""Labels that people give in the console: through the same desk as `vedette label`, under the person's name."""

import os
import threading
from collections.abc import Callable, Collection
from typing import Final

from lifecycle.governance.acts import LABELS, PREDICTIONS
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.labels.desk import LabelDesk, TakenLabel
from lifecycle.labels.errors import LabellingError, UnknownEvent
from lifecycle.labels.events import AnsweredEvent, EventFinder
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from lifecycle.labels.requests import LabelRequest
from operators.console.log_index.alert_queries import AlertRow
from operators.console.log_index.index_scope import LogScope
from operators.console.log_index.store_index import StoreIndex
from operators.console.page import PageProblem
from serving.audit.keys.keyring import Keyring
from serving.audit.signed_note import NoteError, Signer
from serving.settings import ServingSettings

WORDS: Final = {"attack": "attack", "benign": "false alarm", "unsure": "unsure"}
"""Verdicts of labels, as people read them."""
_ALL: Final = LogScope()


class IndexedEvents(EventFinder):
    """Finds an alert by the index; everything else in the log, as the finder of the command line does."""

    def __init__(self, log: RecordLog, index: StoreIndex) -> None:
        super().__init__(log)
        self._index = index

    def find_all(self, names: Collection[str], model: str | None = None) -> dict[str, AnsweredEvent | UnknownEvent]:
        """See EventFinder."""
        found: dict[str, AnsweredEvent | UnknownEvent] = {}
        for name in names:
            row = self._index.alerts.one(name, _ALL)
            if row is not None and model in (None, row.model):
                found[name] = AnsweredEvent(row.event, row.model, row.variant, row.revision, row.time_us, row.verdict)
        missing = [name for name in names if name not in found]
        return found | (super().find_all(missing, model) if missing else {})


class AlertLabels:
    """Gives labels of one store. One object for all threads."""

    def __init__(self, settings: ServingSettings, index: StoreIndex, log: Callable[[], RecordLog]) -> None:
        self._settings, self._folder = settings, settings.store_dir / LABELS
        self._found: Keyring | None = None
        self._labels = LabelLog(self._folder, signer=self._signer, knows=self._knows)
        self._index, self._log = index, log
        self._desk: LabelDesk | None = None
        self._using = threading.Lock()

    def _signer(self) -> Signer | None:
        return self._keyring.signer()

    def _knows(self, note: str) -> bool:
        return self._keyring.knows(note)

    @property
    def _keyring(self) -> Keyring:
        """Of the store, from the first label on: a store that somebody only looks at gets no key."""
        if self._found is None:
            settings = self._settings
            self._found = Keyring.of(settings.store_dir, settings.audit_key, settings.audit_key_name, folders=[self._folder])
        return self._found

    def give(self, alert: AlertRow, verdict: str, by: str, label_id: str, note: str = "") -> TakenLabel:
        """Take one label; durable when this returns. Raises PageProblem, which says that nothing was kept and why."""
        if verdict not in WORDS:
            raise PageProblem(f"A label is one of {', '.join(WORDS.values())}; {verdict[:40]!r} is not. No label was stored.")
        selection = "alert" if alert.verdict == "alert" else "other"
        request = LabelRequest(
            event=alert.event, model=alert.model, verdict=verdict, analyst=by, note=note, selection=selection, label_id=label_id
        )
        try:
            with self._using:
                if self._desk is None:
                    self._desk = LabelDesk(self._labels, IndexedEvents(self._log(), self._index), "console")
                (taken,) = self._desk.take([request])
        except (LabellingError, NoteError, OSError) as problem:
            raise PageProblem(f"The label was not kept: {problem}", 503) from problem
        if taken.problem is not None:
            raise PageProblem(f"The label was not kept: {taken.problem}")
        self._index.refresh(1.0, fresh_s=0.0)
        return taken

    @property
    def problem(self) -> str:
        """Why no label can be kept here, and the way out; empty if it can. Nothing is written to find out."""
        place = next(one for one in (self._folder, *self._folder.parents) if one.exists())
        if os.access(place, os.W_OK | os.X_OK):
            return ""
        return (
            f"No label can be given here: {self._folder} cannot be written by the console. In a cluster, mount the folder `labels` of the "
            "volume of the logs for writing, as manifests/base/console does; until then give labels with `vedette label give` or through "
            "the server of labels."
        )

    def history(self, alert: AlertRow) -> list[Label]:
        """Every word on an alert, the last one counts. Raises PageProblem."""
        try:
            return [label for label in self._labels.history(alert.event) if label.model == alert.model]
        except (NoteError, OSError) as problem:
            raise PageProblem(f"The log of labels cannot be read: {problem}", 503) from problem

    def undo(self, alert: AlertRow, by: str, label_id: str) -> str:
        """Say again what was said before the last label, or `unsure` if nothing was; the verdict. A label stays in the log, so this is a
        new one; the same press says it once. Raises PageProblem."""
        words = self.history(alert)
        if pressed := [word for word in words if word.label_id == label_id]:
            return pressed[0].verdict
        if not words:
            raise PageProblem("There is no label to undo.")
        verdict = words[-2].verdict if len(words) > 1 else "unsure"
        self.give(alert, verdict, by, label_id, note="undone in the console")
        return verdict


def prediction_log(settings: ServingSettings, index: StoreIndex) -> RecordLog:
    """The prediction log with its archive. Raises ArchiveError."""
    return RecordLog(settings.store_dir / PREDICTIONS, index.archive())
