"""One look at what a model has answered since the last: the next state, and the alarms. Pure: no clock, no file.

What is found depends on the rows and their order only, not on how they were batched. A new revision of the stable variant begins anew,
against the reference of its own bundle. Rows of other variants are not looked at: a rollout judges them. Degraded rows are not either:
their features are defaults, which is no drift."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.monitoring.alarm import Alarm
from lifecycle.monitoring.sequential.binning import text_of
from lifecycle.monitoring.sequential.signs import Sign
from lifecycle.monitoring.watch.labelled_alerts import SHARE, LabelledAlert, with_labels
from lifecycle.monitoring.watch.model_state import LATEST, ModelState, Revision, SeenSign
from lifecycle.monitoring.watch.reference import SCORE, ModelReference, NoReference
from lifecycle.monitoring.watch.settings import SEGMENT_BASELINE_ROWS, WatchSettings
from lifecycle.monitoring.watch.stream_set import SetView, StreamFinding, StreamSet, after_rows
from lifecycle.monitoring.watch.words import alarm_of
from lifecycle.monitoring.windows.answered import AnsweredRows

STABLE: Final = "stable"
LATE_US: Final = 600 * 1_000_000
"""How long after a new revision the old one may still answer, on replicas that have not followed yet. Later it is a rollback."""
NO_SEGMENT: Final = "(none)"
FindReference = Callable[[Revision], ModelReference]
"""The reference of a revision of the model. Raises NoReference."""


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """What is needed to look at one model."""

    settings: WatchSettings
    reference: FindReference


def look(state: ModelState, rows: AnsweredRows, now_us: int, watched: WatchedModel) -> tuple[ModelState, tuple[Alarm, ...]]:
    """The state after these rows, and what is to be alarmed. rows: of this model, in order of time. now_us: goes into alarms only."""
    state = replace(state, looked_us=now_us, looks=state.looks + 1, unsent=())
    if not len(rows):
        return state, ()
    state = replace(state, newest_us=max(state.newest_us, int(rows.times_us[-1])))
    is_wanted = (rows.variants == STABLE) & ~rows.degraded
    state = replace(state, passed_over=state.passed_over + int((~is_wanted).sum()))
    alarms: list[Alarm] = []
    for part in _by_revision(rows.take(is_wanted)):
        state, found = _look_at_one(state, part, now_us, watched)
        alarms += found
    state = replace(state, alarms=state.alarms + len(alarms), unsent=tuple(alarms))
    return state, tuple(alarms)


def look_at_labels(
    state: ModelState, labels: Sequence[LabelledAlert], position: Mapping[str, int], now_us: int, settings: WatchSettings
) -> tuple[ModelState, tuple[Alarm, ...]]:
    """The state after these labels of alerts, and what is to be alarmed. Its alarms join those of the look before.

    position: of the labels' log after them. Labels before any row was answered are passed over."""
    if state.current is None:
        return replace(state, labelled=replace(state.labelled, position=dict(position))), ()
    labelled, alarms, signs = with_labels(state.labelled, labels, state.model, state.current.revision, settings, now_us)
    state = replace(
        state,
        labelled=replace(labelled, position=dict(position)),
        signs=(*state.signs, *(SeenSign(f"{detector} on labels", time_us) for detector, time_us in signs))[-LATEST:],
        alarms=state.alarms + len(alarms),
        unsent=(*state.unsent, *alarms),
    )
    return state, tuple(alarms)


def _by_revision(rows: AnsweredRows) -> list[AnsweredRows]:
    """Runs of rows of one revision, in their order."""
    if not len(rows):
        return []
    borders = np.flatnonzero(rows.revisions[1:] != rows.revisions[:-1]) + 1
    return [rows.take(which) for which in np.split(np.arange(len(rows)), borders)]


def _look_at_one(state: ModelState, rows: AnsweredRows, now_us: int, watched: WatchedModel) -> tuple[ModelState, list[Alarm]]:
    revision, begin_us = str(rows.revisions[0]), int(rows.times_us[0])
    if state.current is None or state.current.revision != revision:
        before = next((r for r in state.earlier if r.revision == revision), None)
        if before is not None and begin_us <= (before.until_us or 0) + LATE_US:
            return replace(state, passed_over=state.passed_over + len(rows)), []
        state = _begun(state, Revision(revision, str(rows.versions[0]), begin_us), watched)
    assert state.current is not None  # noqa: S101  # nosec B101  # begun above
    try:
        reference = watched.reference(state.current)
    except NoReference as problem:
        return replace(state, unwatched=str(problem), whole=None, passed_over=state.passed_over + len(rows)), []
    if state.whole is None or state.shape != reference.shape or state.method != watched.settings.method:
        state = _with_reference(state, reference, watched.settings)
    bins = reference.bins_of(rows)
    state, alarms = _whole(state, rows, bins, reference, now_us, watched.settings)
    if watched.settings.segment_column is not None:
        state, more = _segments(state, rows, bins, reference, now_us, watched.settings)
        alarms += more
    return replace(state, rows=state.rows + len(rows)), alarms


def _begun(state: ModelState, revision: Revision, watched: WatchedModel) -> ModelState:
    """A new revision answers: nothing is known of it."""
    earlier = state.earlier
    if state.current is not None:
        ended = Revision(state.current.revision, state.current.version, state.current.since_us, revision.since_us)
        earlier = (*(r for r in earlier if r.revision not in (ended.revision, revision.revision)), ended)[-LATEST:]
    return replace(
        state,
        current=revision,
        earlier=earlier,
        whole=None,
        segments={},
        shape=(0, 0),
        rows=0,
        unwatched="",
        signs=(),
    )


def _with_reference(state: ModelState, reference: ModelReference, settings: WatchSettings) -> ModelState:
    base = reference.counts if settings.baseline_rows is None else np.zeros_like(reference.counts)
    whole = StreamSet.start(base, settings.baseline_rows or 0, settings)
    return replace(state, whole=whole, segments={}, shape=reference.shape, method=settings.method, unwatched="")


def _whole(
    state: ModelState,
    rows: AnsweredRows,
    bins: NDArray[np.int64],
    reference: ModelReference,
    now_us: int,
    settings: WatchSettings,
) -> tuple[ModelState, list[Alarm]]:
    score = next((n for n, subject in enumerate(reference.subjects) if subject.name == SCORE), None)
    share = (1 - SHARE) * (1.0 if settings.segment_column is None else 0.5)
    view = _view(state, reference, settings, share, None, score)
    assert state.whole is not None  # noqa: S101  # nosec B101  # the caller has made it
    whole, findings, signs = after_rows(state.whole, view, bins, rows.times_us)
    state = replace(state, whole=whole, signs=_latest(state.signs, signs))
    return state, [_alarm(state, finding, reference, None, now_us) for finding in findings]


def _segments(
    state: ModelState,
    rows: AnsweredRows,
    bins: NDArray[np.int64],
    reference: ModelReference,
    now_us: int,
    settings: WatchSettings,
) -> tuple[ModelState, list[Alarm]]:
    """Each segment by itself; half of the rows' level is theirs, the j-th one to appear has 1 / (j (j + 1)) of it."""
    names = segments_of_rows(rows, settings.segment_column or "")
    known: dict[str, StreamSet] = dict(state.segments)
    alarms: list[Alarm] = []
    passed_over = 0
    for name in dict.fromkeys(names.tolist()):
        which = np.flatnonzero(names == name)
        if name not in known:
            if len(known) >= settings.most_segments:
                passed_over += len(which)
                continue
            known[name] = StreamSet.start(np.zeros_like(reference.counts), SEGMENT_BASELINE_ROWS, settings)
        place = list(known).index(name) + 1
        view = _view(state, reference, settings, (1 - SHARE) * 0.5 / (place * (place + 1)), name, None)
        known[name], findings, _ = after_rows(known[name], view, bins[which], rows.times_us[which])
        alarms += [_alarm(state, finding, reference, name, now_us) for finding in findings]
    return replace(state, segments=known, passed_over=state.passed_over + passed_over), alarms


def segments_of_rows(rows: AnsweredRows, column: str) -> NDArray[np.object_]:
    """The segment of each row, shape (n,): the value of a column as text."""
    values: NDArray[Any] = rows.columns.get(column, np.full(len(rows), None, dtype=object))
    found = np.empty(len(rows), dtype=object)
    found[:] = [_segment(value) for value in values.tolist()]
    return found


def _segment(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return NO_SEGMENT
    return text_of(value)[:200]


def _view(
    state: ModelState, reference: ModelReference, settings: WatchSettings, share: float, segment: str | None, score: int | None
) -> SetView:
    revision = state.current.revision if state.current is not None else ""
    key = "\x00".join([state.model, revision, "" if segment is None else f"segment {segment}"])
    return SetView(key, reference.is_text, settings, share, score)


def _alarm(state: ModelState, finding: StreamFinding, reference: ModelReference, segment: str | None, now_us: int) -> Alarm:
    assert state.current is not None  # noqa: S101  # nosec B101  # rows were looked at
    subject = reference.subjects[finding.subject]
    return alarm_of(finding, subject, state.model, state.current.revision, segment, now_us, [s.detector for s in state.signs])


def _latest(seen: tuple[SeenSign, ...], more: list[tuple[Sign, int]]) -> tuple[SeenSign, ...]:
    return (*seen, *(SeenSign(detector, time_us) for detector, time_us in more))[-LATEST:]
