"""After how many days each detector sees a planted change, and how often it alarms while nothing changes.

Every detector looks once a day at the answers of one model, which nobody retrains. A quiet time comes first. Then the world goes on
unchanged, or with one change. The days before the change are the same in all worlds, to the bit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from lifecycle.labels.queue.plan import QueueBudget
from lifecycle.monitoring.drift.judge import judge_drift
from lifecycle.monitoring.drift.sample import DriftSample
from lifecycle.monitoring.drift.samples import answered_window, bundle_reference
from lifecycle.monitoring.watch.look import WatchedModel, look
from lifecycle.monitoring.watch.model_state import ModelState
from lifecycle.monitoring.watch.reference import reference_of
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.windows.answered import AnsweredRows
from loadtests.bench.worlds.year.analysts import LabelledYear
from loadtests.bench.worlds.year.events import DAY_US, START_US, PlantedChanges, YearWorld
from loadtests.bench.worlds.year.label_alarms import LabelAlarms
from loadtests.bench.worlds.year.model import MODEL, ServedModel
from serving.models.bundle import Bundle

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "monitor, columns": ("data_drift",),
    "monitor, score": ("prediction_drift",),
    "monitor, labels": ("performance", "concept_drift"),
}
_SIGNS: Final = ("adwin", "page-hinkley")
_REPORT: Final = "drift report"
_PSI: Final[Mapping[str, float]] = {"psi over 0.1": 0.1, "psi over 0.25": 0.25}
DETECTORS: Final = (*_KINDS, *_SIGNS, _REPORT, *_PSI)
NOTHING: Final = "nothing"


def planted(day: int, slow_days: int) -> Mapping[str, PlantedChanges]:
    """Worlds by name: each with one change from this day on, and one without a change."""
    return {
        NOTHING: PlantedChanges(None, None, None, None),
        "slow covariate shift": PlantedChanges((day, day + slow_days), None, None, None),
        "sudden covariate shift": PlantedChanges(None, day, None, None),
        "concept shift": PlantedChanges(None, None, day, None),
        "new attack family": PlantedChanges(None, None, None, day),
    }


CHANGES: Final = tuple(planted(0, 1))


@dataclass(slots=True)
class WatchedStream:
    """The detectors on one stream. alarms: detector -> days of its alarms."""

    model: ServedModel
    reference: DriftSample
    watched: WatchedModel
    state: ModelState
    labels: LabelAlarms
    alarms: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in DETECTORS})

    def look(self, day: int, answers: AnsweredRows) -> None:
        """Let every detector look at the end of a day."""
        now_us, earlier = START_US + (day + 1) * DAY_US, self.state.signs
        self.state, found = look(self.state, answers, now_us, self.watched)
        found = (*found, *self.labels.look(now_us))
        for name, kinds in _KINDS.items():
            self._note(day, name, [alarm for alarm in found if alarm.kind in kinds])
        for name in _SIGNS:
            self._note(day, name, [sign for sign in self.state.signs if sign.detector == name and sign not in earlier])
        report = judge_drift(self.reference, answered_window(self.model.bundle, answers))
        self._note(day, _REPORT, report.findings)
        largest = max((check.figures.get("psi", 0.0) for check in report.checks), default=0.0)
        for name, bound in _PSI.items():
            self._note(day, name, [largest] if largest > bound else [])

    def _note(self, day: int, name: str, seen: Sequence[object]) -> None:
        if seen:
            self.alarms[name].append(day)

    def onward(self, year: LabelledYear) -> "WatchedStream":
        """The same detectors over another year that has been the same until now."""
        labels = self.labels.copy(year)
        return WatchedStream(
            self.model, self.reference, self.watched, self.state, labels, {k: list(v) for k, v in self.alarms.items()}
        )


@dataclass(frozen=True, slots=True)
class Delays:
    """days: change -> detector -> days until its first alarm; None: no alarm within the time. false_alarms: detector -> looks with an
    alarm in quiet_days."""

    days: Mapping[str, Mapping[str, int | None]]
    false_alarms: Mapping[str, int]
    quiet_days: int


def watch_changes(
    world: YearWorld,
    bundle: Bundle,
    budget: QueueBudget,
    seed: int,
    *,
    quiet_days: int,
    changed_days: int,
    slow_days: int,
    changes: Sequence[str] = CHANGES,
    tell: Callable[[str], None] = lambda what: None,
) -> Delays:
    """Play one seed: the quiet time once, then each change by itself. changes: names of `planted`, the quiet one first."""
    model, reference = ServedModel.of(bundle), reference_of(bundle)
    days = quiet_days + changed_days
    before: WatchedStream | None = None
    found: dict[str, dict[str, int | None]] = {}
    false_alarms: dict[str, int] = {}
    worlds = planted(quiet_days, slow_days)
    for name in changes:
        tell(name)
        events = replace(world, changes=worlds[name], days=days).year(seed)
        names = np.array([f"event-{i}" for i in range(len(events))], dtype=object)
        year = LabelledYear(events, names, budget, seed)
        stream = (
            before.onward(year)
            if before is not None
            else WatchedStream(
                model, bundle_reference(bundle), WatchedModel(WatchSettings(), lambda revision: reference), ModelState(MODEL),
                LabelAlarms.of(year, model, START_US),
            )
        )  # fmt: skip
        for day in range(days):
            first, last = (int(i) for i in np.searchsorted(events.day, [day, day + 1]))
            answers = model.answer(events.take(slice(first, last)), names[first:last])
            year.take(day, answers, first)
            if day < quiet_days and before is not None:
                continue  # looked at already
            stream.look(day, answers)
            if day == quiet_days - 1:
                before = stream.onward(year)
        if name == NOTHING:
            false_alarms = {detector: len(alarms) for detector, alarms in stream.alarms.items()}
            continue
        found[name] = {
            detector: next((day + 1 - quiet_days for day in alarms if day >= quiet_days), None)
            for detector, alarms in stream.alarms.items()
        }
    return Delays(found, false_alarms, days)
