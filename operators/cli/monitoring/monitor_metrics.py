"""What the monitor counts, and the gauges of each model. Names are in operators.telemetry.monitor_names."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, get_args

import numpy as np

from lifecycle.monitoring.alarm import AlarmKind, Severity
from lifecycle.monitoring.watch.model_state import ModelState
from lifecycle.monitoring.watch.reference import ModelReference
from lifecycle.monitoring.watch.stream_set import MAJOR, MINOR
from lifecycle.performance.watching import SUBJECTS, WatchedPerformance
from operators.telemetry import monitor_names as names
from operators.telemetry.exposition import MetricsPage, Sample


class ModelGauges(NamedTuple):
    """The gauges of one model. subjects: name -> (e-value, psi). open, segments_open: by severity. newest_label_s: None where there is no
    label. judged_s, fallen: None and empty where no label was judged."""

    model: str
    looked_s: float
    newest_s: float
    is_watched: bool
    subjects: Mapping[str, tuple[float, float]]
    open: Mapping[str, int]
    segments_open: Mapping[str, int]
    newest_label_s: float | None
    judged_s: float | None
    fallen: Mapping[str, bool]


def gauges_of(
    state: ModelState,
    reference: ModelReference | None,
    performance: WatchedPerformance | None,
    newest_label_us: int,
    now_us: int,
) -> ModelGauges:
    """The gauges of one model. newest_label_us: 0 where there is no label."""
    whole, subjects = state.whole, dict[str, tuple[float, float]]()
    if whole is not None and reference is not None and state.shape == reference.shape:
        moved, _ = whole.effects(reference.is_text)
        e_values = whole.capital.e_values
        subjects = {s.name: (float(e), float(m)) for s, e, m in zip(reference.subjects, e_values, moved, strict=True)}
    status = np.zeros(0) if whole is None else whole.status
    worst = [int(streams.status.max(initial=0)) for streams in state.segments.values()]
    quiet_until = {} if performance is None else performance.quiet_until_us
    return ModelGauges(
        state.model,
        state.looked_us / 1e6,
        state.newest_us / 1e6,
        whole is not None,
        subjects,
        {"minor": int((status == MINOR).sum()), "major": int((status == MAJOR).sum())},
        {"minor": worst.count(MINOR), "major": worst.count(MAJOR)},
        newest_label_us / 1e6 if newest_label_us else None,
        None if performance is None else performance.next_us / 1e6,
        {} if performance is None else {figure: quiet_until.get(figure, 0) > now_us for figure in SUBJECTS},
    )


class MonitorMetrics:
    """Counters, and gauges that are read when they are scraped. read: gives them, and how many alarms wait for each receiver."""

    def __init__(self, read: Callable[[], tuple[list[ModelGauges], dict[str, int]]]) -> None:
        self._read = read
        page = MetricsPage(names.MONITOR_METRICS, self._samples)
        self.count, self.render = page.count, page.render
        for what in ("look", "act", "deliver"):
            self.count(names.FAILURES, what, by=0)

    def watches(self, model: str) -> None:
        """Show every counter of a model before its first event."""
        for kind in get_args(AlarmKind):
            for severity in get_args(Severity):
                self.count(names.ALARMS, model, kind, severity, by=0)

    def _samples(self) -> Iterator[Sample]:
        models, undelivered = self._read()
        for found in models:
            yield from _of_model(found)
        for receiver, waiting in undelivered.items():
            yield names.UNDELIVERED, (receiver,), waiting


def _of_model(found: ModelGauges) -> Iterator[Sample]:
    key = (found.model,)
    yield names.LAST_LOOK, key, found.looked_s
    yield names.NEWEST, key, found.newest_s
    yield names.WATCHED, key, float(found.is_watched)
    for severity, count in found.open.items():
        yield names.OPEN, (*key, severity), count
    for severity, count in found.segments_open.items():
        yield names.SEGMENTS_OPEN, (*key, severity), count
    for subject, (e_value, moved) in found.subjects.items():
        yield names.E_VALUE, (*key, subject), e_value
        yield names.PSI, (*key, subject), moved
    if found.newest_label_s is not None:
        yield names.NEWEST_LABEL, key, found.newest_label_s
    if found.judged_s is not None:
        yield names.JUDGED, key, found.judged_s
    for figure, is_fallen in found.fallen.items():
        yield names.FALLEN, (*key, figure), float(is_fallen)
