"""Alarms that labels raise about the serving model: precision or recall fell, or more alerts are false than before."""

from dataclasses import dataclass

from lifecycle.monitoring.alarm import Alarm
from lifecycle.monitoring.watch.labelled_alerts import LabelledAlert, LabelWatch, with_labels
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.performance.baseline import baseline_of
from lifecycle.performance.labelled_rows import RowsWithLabels
from lifecycle.performance.watching import FallSettings, WatchedPerformance, alarm_of, begin, look
from loadtests.bench.worlds.year.analysts import LabelledYear
from loadtests.bench.worlds.year.events import DAY_US
from loadtests.bench.worlds.year.model import MODEL, ServedModel


@dataclass(frozen=True, slots=True)
class _Reader:
    """The answers of one revision, as they were known at a moment."""

    year: LabelledYear
    since_us: int
    now_us: int

    def __call__(self, since_us: int, until_us: int, *, only_labelled: bool = False) -> RowsWithLabels:
        """As lifecycle.performance.watching.ReadRows."""
        first, last = max(since_us, self.since_us), min(until_us, self.now_us)
        return self.year.rows(first, last, self.now_us, only_labelled=only_labelled)


@dataclass(slots=True)
class LabelAlarms:
    """Watches one model by its labels, with one look per day, from the moment on at which it began to serve."""

    year: LabelledYear
    model: ServedModel
    since_us: int
    settings: FallSettings
    performance: WatchedPerformance
    labelled: LabelWatch

    @classmethod
    def of(cls, year: LabelledYear, model: ServedModel, since_us: int) -> "LabelAlarms":
        """A watch that has seen nothing yet."""
        settings = FallSettings(label_noise=year.habits.noise)
        return cls(year, model, since_us, settings, begin(model.revision, since_us, settings), LabelWatch())

    def copy(self, year: LabelledYear) -> "LabelAlarms":
        """The same watch over another year that has been the same until now."""
        return LabelAlarms(year, self.model, self.since_us, self.settings, self.performance, self.labelled)

    def look(self, now_us: int) -> tuple[Alarm, ...]:
        """The new alarms."""
        falls: tuple[Alarm, ...] = ()
        baseline = baseline_of(self.model.bundle.manifest)
        if baseline is not None:
            reader = _Reader(self.year, self.since_us, now_us)
            self.performance, found = look(self.performance, reader, baseline, now_us, self.settings)
            falls = tuple(alarm_of(fall, MODEL) for fall in found)
        news = [
            LabelledAlert(label.time_us, label.verdict == "benign")
            for label in self.year.known(now_us)
            if label.selection == "alert" and label.time_us > now_us - DAY_US
        ]
        self.labelled, alarms, _ = with_labels(self.labelled, news, MODEL, self.model.revision, WatchSettings(), now_us)
        return (*falls, *alarms)
