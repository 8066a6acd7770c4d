"""What the monitor of a store knows, ready to be shown: models by how bad it is, columns with their distributions, alarms.

Reads STORE/monitoring, and references of bundles; a monitor need not run. Decides nothing: severities are the monitor's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from lifecycle.monitoring.alarm import Alarm, AlarmError, AlarmLog
from lifecycle.monitoring.sequential.binning import NumberBins, TextBins
from lifecycle.monitoring.watch.model_state import ModelState, StateError
from lifecycle.monitoring.watch.reference import ModelReference, NoReference, Subject, reference_of
from lifecycle.monitoring.watch.state_files import StateFiles
from lifecycle.monitoring.watch.stream_set import MAJOR, MINOR
from operators.console.drawing.bars import BarChart, bar_chart
from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.models.verdicts import VERDICTS

_ENDLESS: Final = np.float32(np.inf)
SEVERITIES: Final = ("", "minor", "major")
MOST_CHARTS: Final = 12
MOST_ALARMS: Final = 50


@dataclass(frozen=True, slots=True)
class WatchedModelRow:
    """One model. major, minor: alarms that are open; of segments: segments. problem: why nothing is known of it."""

    model: str
    version: str = ""
    rows: int = 0
    newest: datetime | None = None
    looked: datetime | None = None
    major: int = 0
    minor: int = 0
    segments_major: int = 0
    segments_minor: int = 0
    unwatched: str = ""
    problem: str = ""

    @property
    def severity(self) -> str:
        """The worst that is open; empty: none."""
        return "major" if self.major or self.segments_major else "minor" if self.minor or self.segments_minor else ""


@dataclass(frozen=True, slots=True)
class DriftSubject:
    """A column, the score or the verdict. psi, gap: size of the change beyond chance. chart: None where too many stand before it.

    is_since_change: whether the chart's latest rows are those since a change began; else they are all rows of the revision."""

    name: str
    severity: str
    e_value: float
    psi: float
    gap: float
    is_since_change: bool = False
    chart: BarChart | None = None


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """One model in full."""

    row: WatchedModelRow
    subjects: tuple[DriftSubject, ...] = ()
    segments: tuple[tuple[str, int, float, str], ...] = ()
    """(segment, its rows, the strongest evidence in it, the worst severity)."""
    alarms: tuple[Alarm, ...] = ()
    no_reference: str = ""
    """Why the distributions cannot be shown; empty: they can, or there is nothing to show."""
    signs: tuple[tuple[str, datetime | None], ...] = field(default_factory=tuple)


def watched_models(store_dir: Path) -> tuple[WatchedModelRow, ...]:
    """Every model of which the monitor keeps a state, the worst first. Never raises for a state that cannot be read."""
    files = StateFiles(store_dir / "monitoring")
    rows = [_row_or_problem(files, model) for model in files.models()]
    return tuple(sorted(rows, key=lambda row: (-SEVERITIES.index(row.severity), not row.problem, row.model)))


def latest_alarms(store_dir: Path, model: str | None = None, most: int = MOST_ALARMS) -> tuple[Alarm, ...]:
    """The newest alarms, the newest first. Raises AlarmError, OSError."""
    found = [alarm for alarm in AlarmLog(store_dir / "monitoring").read() if model in (None, alarm.model)]
    return tuple(reversed(found[-most:]))


def model_drift(store_dir: Path, model: str, reference: ModelReference | str | None, charted: Sequence[str] = ()) -> ModelDrift:
    """One model in full. reference: of its bundle; text: why there is none. charted: subjects that are drawn first.

    Raises StateError, OSError."""
    state = StateFiles(store_dir / "monitoring").read(model)
    try:
        alarms = latest_alarms(store_dir, model)
    except (AlarmError, OSError):
        alarms = ()
    segments = tuple(
        (name, found.rows, float(found.capital.e_values.max(initial=1.0)), SEVERITIES[int(found.status.max(initial=0))])
        for name, found in state.segments.items()
    )
    no_reference = reference if isinstance(reference, str) else ""
    subjects: tuple[DriftSubject, ...] = ()
    if isinstance(reference, ModelReference):
        if reference.shape == state.shape:
            subjects = _subjects(state, reference, charted)
        elif state.whole is not None:
            no_reference = "the bundle's reference is not the one that the monitor compared with"
    signs = tuple((sign.detector, moment(sign.time_us)) for sign in state.signs)
    return ModelDrift(_row(state), subjects, segments, alarms, no_reference, signs)


def reference_in(store_dir: Path, state: ModelState) -> ModelReference | str | None:
    """What the model's rows are compared with; text: why it cannot be read; None: nothing was answered yet."""
    if state.current is None:
        return None
    try:
        return reference_of(BundleStore(store_dir).resolve(state.model, state.current.version))
    except (ModelError, NoReference, OSError) as problem:
        return str(problem)


def _subjects(state: ModelState, reference: ModelReference, charted: Sequence[str]) -> tuple[DriftSubject, ...]:
    whole = state.whole
    if whole is None:
        return ()
    psi, gap = whole.effects(reference.is_text)
    found = []
    for place, subject in enumerate(reference.subjects):
        values = (float(whole.capital.e_values[place]), float(psi[place]), float(gap[place]))
        found.append((int(whole.status[place]), values, place, subject))
    found.sort(key=lambda one: (one[3].name not in charted, -one[0], -one[1][0], one[3].name))
    drawn = []
    for number, (status, (e_value, size, distance), place, subject) in enumerate(found):
        is_since_change = float(whole.recent[place].sum()) > 0
        latest = whole.recent[place] if is_since_change else whole.counts[place] - whole.base[place]
        chart = _chart(subject, whole.base[place], latest) if number < MOST_CHARTS else None
        drawn.append(DriftSubject(subject.name, SEVERITIES[status], e_value, size, distance, is_since_change, chart))
    return tuple(drawn)


def _chart(subject: Subject, base: Any, latest: Any) -> BarChart:
    names = bin_names(subject)
    return bar_chart(subject.name, names, base[: len(names)].tolist(), latest[: len(names)].tolist())


def bin_names(subject: Subject) -> list[str]:
    """What stands in each bin, in their order."""
    bins = subject.bins
    if isinstance(bins, NumberBins):
        cuts = [np.float32(cut) for cut in bins.cuts]
        between = [
            f"{low:.4g}" if high == np.nextafter(low, _ENDLESS) else f"{low:.4g} to {high:.4g}" for low, high in pairwise(cuts)
        ]
        return [f"below {cuts[0]:.4g}" if cuts else "all", *between, *([f"over {cuts[-1]:.4g}"] if cuts else []), "missing"]
    if isinstance(bins, TextBins):
        return [*bins.values, "other values", "missing"]
    return [*VERDICTS[: bins.count - 1], "no score"]


def _row_or_problem(files: StateFiles, model: str) -> WatchedModelRow:
    try:
        return _row(files.read(model))
    except (StateError, OSError) as problem:
        return WatchedModelRow(model, problem=str(problem))


def _row(state: ModelState) -> WatchedModelRow:
    status = [] if state.whole is None else state.whole.status.tolist()
    worst = [int(streams.status.max(initial=0)) for streams in state.segments.values()]
    return WatchedModelRow(
        state.model,
        state.current.version if state.current is not None else "",
        state.rows,
        moment(state.newest_us),
        moment(state.looked_us),
        status.count(MAJOR),
        status.count(MINOR),
        worst.count(MAJOR),
        worst.count(MINOR),
        state.unwatched,
    )


def moment(time_us: int) -> datetime | None:
    """A time of a state or alarm; None where it has none, or one that no calendar holds."""
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC) if time_us else None
    except (ValueError, OverflowError, OSError):
        return None
