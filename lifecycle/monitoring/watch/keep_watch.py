"""The shell of the monitor: reads the log, looks, keeps the state, delivers alarms. The order is such that a crash loses nothing.

1. The alarms of the last look go into the file of alarms; those that are there already do not count twice.
2. New rows are read and looked at. The next state, with its place in the log and its alarms, replaces the file of the state in one step.
3. As 1. A crash before this is repaired by 1 in the next process."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from lifecycle.monitoring.alarm import Alarm, AlarmLog
from lifecycle.monitoring.watch.labelled_alerts import ReadLabels
from lifecycle.monitoring.watch.look import WatchedModel, look, look_at_labels
from lifecycle.monitoring.watch.model_state import ModelState, Revision
from lifecycle.monitoring.watch.reference import FindBundle, ModelReference, NoReference, reference_of
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.watch.state_files import StateFiles
from lifecycle.monitoring.windows.answered import AnswerFollower
from serving.audit.segment_files import segments_with_records
from serving.audit.signed_note import NoteError

BATCH_ROWS: Final = 5_000
"""Rows of one look at most: what bounds the monitor's memory."""
_LOOK_AGAIN: Final = 30
"""Looks after which a bundle that has no reference is read again: reading one verifies all of its files."""
_WRITE_EVERY_US: Final = 60 * 1_000_000
"""A state without news is written so often, so that `vedette monitor show` knows when the monitor looked last."""


def ends_of_log(log: Path) -> dict[str, int]:
    """How long each segment of the log is now, in bytes, by its name. Raises OSError."""
    found = {}
    for files in segments_with_records(log) if log.is_dir() else []:
        with suppress(FileNotFoundError):  # retention removed it
            found[files.stem] = files.records.stat().st_size
    return found


class ModelWatch:
    """The monitor of one model. log: the folder of the prediction log. Goes on where the state that is kept says."""

    def __init__(
        self,
        model: str,
        log: Path,
        files: StateFiles,
        alarms: AlarmLog,
        settings: WatchSettings,
        find: FindBundle,
        read_labels: ReadLabels | None = None,
    ) -> None:
        self._files, self._alarms, self._read_labels = files, alarms, read_labels
        self._reference: tuple[str, ModelReference] | None = None
        self._missing: tuple[str, str, int] | None = None
        self._find = find
        self._watched = WatchedModel(settings, self.reference)
        self.state = files.read(model)
        self._follower = AnswerFollower(log, model, dict(self.state.position))
        self._written_us = 0
        self.raised: tuple[Alarm, ...] = ()
        """Alarms of the last look."""
        self.acts_missing = False
        """Whether a major alarm could not be recorded as an act: the log of acts is not as its last checkpoint says."""

    def begin_at_end(self) -> None:
        """Take what is in the log as seen, if nothing was seen yet."""
        if not self.state.position:
            self._follower.skip_to_end()
            self._keep(self.state.with_position(self._follower.position))

    def look(self, now_us: int, most_rows: int = BATCH_ROWS) -> int:
        """Look once; how many rows were new. Raises OSError and AlarmError if something cannot be kept: look again."""
        self.raised = ()
        self._hand_on()
        before: Mapping[str, int] = dict(self._follower.position)
        rows = self._follower.read(most_rows)
        try:
            state, raised = look(self.state, rows, now_us, self._watched)
            state = state.with_position(self._follower.position)
            state, more = self._with_labels(state, now_us)
            raised += more
            is_news = len(rows) or state.position != before or state.labelled is not self.state.labelled
            if is_news or now_us - self._written_us >= _WRITE_EVERY_US:
                self._files.write(state)
                self._written_us = now_us
        except BaseException:
            self._follower.position = dict(before)
            raise
        self.state, self.raised = state, raised
        self._hand_on()
        return len(rows)

    def _with_labels(self, state: ModelState, now_us: int) -> tuple[ModelState, tuple[Alarm, ...]]:
        if self._read_labels is None:
            return state, ()
        labels, position = self._read_labels(state.model, state.labelled.position)
        if position == state.labelled.position:
            return state, ()
        return look_at_labels(state, labels, position, now_us, self._watched.settings)

    def has_read(self, ends: Mapping[str, int]) -> bool:
        """Whether every segment was read as far as this; ends: of `ends_of_log`."""
        return all(self.state.position.get(name, 0) >= end for name, end in ends.items())

    def keep(self) -> None:
        """Write the state down, as at the end of a process. Raises OSError."""
        self._files.write(self.state)

    @property
    def known_reference(self) -> ModelReference | None:
        """The reference that was read last; None if none was."""
        return self._reference[1] if self._reference is not None else None

    def reference(self, revision: Revision) -> ModelReference:
        """The reference of a revision, read once. Raises NoReference; what is missing is looked for again after some looks."""
        if self._reference is not None and self._reference[0] == revision.revision:
            return self._reference[1]
        if self._missing is not None and self._missing[0] == revision.revision and self.state.looks < self._missing[2]:
            raise NoReference(self._missing[1])
        try:
            found = reference_of(self._find(self.state.model, revision.version))
            if not found.subjects:
                raise NoReference(f"the reference of {self.state.model} version {revision.version} has only personal columns")
        except NoReference as problem:
            self._missing = (revision.revision, str(problem), self.state.looks + _LOOK_AGAIN)
            raise
        self._reference = (revision.revision, found)
        return found

    def _keep(self, state: ModelState) -> None:
        self._files.write(state)
        self.state = state

    def _hand_on(self) -> None:
        for alarm in self.state.unsent:
            try:
                self._alarms.add(alarm)
                self.acts_missing = False
            except NoteError:
                self.acts_missing = True  # the alarm itself is kept
        if not self.acts_missing:
            self.state = self.state.without_unsent()
