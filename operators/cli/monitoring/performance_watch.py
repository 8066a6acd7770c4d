"""Watches whether a model's precision and recall have fallen: asks logs, looks, keeps the state, hands alarms on. Shell of
lifecycle.performance.watching, beside the loop of `vedette monitor`. The state and its new alarms are one file, so a crash loses none."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.labels.label import Label
from lifecycle.monitoring.alarm import Alarm, AlarmLog
from lifecycle.monitoring.watch.model_state import Revision, StateError
from lifecycle.performance.baseline import Baseline, baseline_of
from lifecycle.performance.labelled_rows import RowsWithLabels
from lifecycle.performance.reading import PerformanceReader
from lifecycle.performance.watching import FallSettings, WatchedPerformance, alarm_of, begin, is_due, look
from serving.files.whole_files import write_whole
from serving.models.manifest import Manifest

FOLDER: Final = "performance"
"""Beside the states of the monitor, in STORE/monitoring."""


class KeptPerformance(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one model. raised: alarms that may not be in the file of alarms yet."""

    watched: WatchedPerformance | None = None
    raised: tuple[Alarm, ...] = ()


class PerformanceWatch:
    """Watches one model. labels: reads all labels, in the order of their log; manifest: of a version. Goes on where its file says."""

    def __init__(
        self,
        store: Path,
        model: str,
        alarms: AlarmLog,
        settings: FallSettings,
        labels: Callable[[], Sequence[Label]],
        manifest: Callable[[str], Manifest],
        archive: ArchivePlace | None = None,
    ) -> None:
        self._log, self._model, self._alarms, self._settings = store / "audit", model, alarms, settings
        self._labels, self._manifest, self._archive = labels, manifest, archive
        self._path = store / "monitoring" / FOLDER / f"{model}.json"
        self._kept = self._read()
        self._baselines: dict[str, Baseline | None] = {}

    @property
    def watched(self) -> WatchedPerformance | None:
        """What is known; None before a model with figures of its own has answered."""
        return self._kept.watched

    def look(self, current: Revision | None, now_us: int) -> tuple[Alarm, ...]:
        """Look once; the alarms that are new. current: the revision that answers; a new one is watched anew.

        Raises OSError, AlarmError, NoteError, ArchiveError, BundleError: nothing is lost, look again."""
        new = self._hand_on()
        if current is None:
            return new
        before = self._kept.watched
        if before is None or before.revision != current.revision:
            before = begin(current.revision, current.since_us, self._settings)
        baseline = self._baseline(current) if is_due(before, now_us, self._settings) else None
        if baseline is None:
            return new
        reader: list[PerformanceReader] = []

        def read(since_us: int, until_us: int, *, only_labelled: bool = False) -> RowsWithLabels:
            if not reader:
                reader.append(PerformanceReader(self._log, self._model, list(self._labels()), archive=self._archive))
            found = reader[0].read(since_us, until_us, only_labelled=only_labelled)
            return found.rows.take(found.revisions == current.revision)

        after, falls = look(before, read, baseline, now_us, self._settings)
        if after != self._kept.watched:
            self._kept = KeptPerformance(watched=after, raised=tuple(alarm_of(fall, self._model) for fall in falls))
            write_whole(self._path, msgspec.json.encode(self._kept).decode())
        return new + self._hand_on()

    def _baseline(self, current: Revision) -> Baseline | None:
        """Of a revision, read once: reading a bundle verifies it."""
        if current.revision not in self._baselines:
            self._baselines = {current.revision: baseline_of(self._manifest(current.version))}
        return self._baselines[current.revision]

    def _hand_on(self) -> tuple[Alarm, ...]:
        """Put alarms that are kept into the file of alarms; those that were not there."""
        new = tuple(alarm for alarm in self._kept.raised if self._alarms.add(alarm))
        if self._kept.raised:
            self._kept = msgspec.structs.replace(self._kept, raised=())
        return new

    def _read(self) -> KeptPerformance:
        if not self._path.exists():
            return KeptPerformance()
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=KeptPerformance)
        except (ValueError, RecursionError) as problem:
            raise StateError(
                f"{self._path}: is not a valid state ({problem}); remove the file, and the watch starts again"
            ) from problem
