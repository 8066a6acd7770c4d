"""Precision, recall and F1 over time: by window, by segment and over all, from labels, and from scores beside them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lifecycle.arrays import Floats, Mask
from lifecycle.performance.baseline import Baseline
from lifecycle.performance.concept import ConceptFinding, concept_finding
from lifecycle.performance.delays import Delays, delays_of
from lifecycle.performance.estimates import AS_GIVEN, Assumed, Performance, estimate_performance
from lifecycle.performance.from_scores import ScoreError, ScorePerformance, score_error, score_performance
from lifecycle.performance.labelled_rows import ATTACK, RowsWithLabels
from lifecycle.performance.weights import alert_weights, quiet_weights
from serving.models.verdicts import CalibrationTable

FIGURES: Final = ("precision", "recall", "f1")
MOST_WINDOWS: Final = 1000
MOST_SEGMENTS: Final = 20


class TooManyWindows(ValueError):
    """The time asked for has too many windows; the message says the way out."""


@dataclass(frozen=True, slots=True)
class WindowPerformance:
    """Performance in one window of time or in one segment. errors: by figure, of the estimate from scores, once labels are in."""

    since_us: int
    until_us: int
    segment: str | None
    by_labels: Performance
    by_scores: ScorePerformance
    errors: Mapping[str, ScoreError]


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """Performance of one model over time, from late labels. whole: over all windows. segments: over all windows too, the largest first.
    concept: None where the bundle has no calibration."""

    model: str
    version: str
    now_us: int
    window_us: int
    baseline: Baseline | None
    whole: WindowPerformance
    windows: tuple[WindowPerformance, ...]
    segments: tuple[WindowPerformance, ...]
    delays: Delays
    concept: ConceptFinding | None
    assumed: Assumed


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is of: a model, the time from since_us on and before until_us, windows of window_us."""

    model: str
    version: str
    since_us: int
    until_us: int
    window_us: int
    now_us: int


def performance_report(
    asked: Asked,
    rows: RowsWithLabels,
    *,
    segments: Sequence[str] = (),
    history: RowsWithLabels | None = None,
    baseline: Baseline | None,
    table: CalibrationTable | None,
    has_table: Mask | None = None,
    assumed: Assumed = AS_GIVEN,
) -> PerformanceReport:
    """Estimate all. segments: of each row, "" for none; history: labelled rows that delays are estimated from, with those before; None:
    rows.

    has_table: rows that `table` is the calibration of; others have no probability. Raises TooManyWindows."""
    delays = delays_of(rows if history is None else history, asked.now_us)
    scores = rows.scores if has_table is None else np.where(has_table, rows.scores, np.nan)
    names = np.array(segments if len(segments) else [""] * len(rows), dtype=object)

    def of(which: Mask, since_us: int, until_us: int, segment: str | None = None) -> WindowPerformance:
        chosen = rows.take(which)
        by_labels = estimate_performance(chosen, asked.now_us, delays, assumed=assumed)
        by_scores = score_performance(scores[which], chosen.alert, table)
        errors = {name: score_error(getattr(by_scores, name), getattr(by_labels, name)) for name in FIGURES}
        known = {name: error for name, error in errors.items() if error is not None}
        return WindowPerformance(since_us, until_us, segment, by_labels, by_scores, known)

    starts = _starts(asked, rows)
    place = np.searchsorted(starts, rows.times_us, side="right") - 1
    windows = tuple(of(place == i, start, start + asked.window_us) for i, start in enumerate(starts))
    return PerformanceReport(
        asked.model,
        asked.version,
        asked.now_us,
        asked.window_us,
        baseline,
        of(np.ones(len(rows), dtype=bool), asked.since_us, asked.until_us),
        windows,
        tuple(of(names == name, asked.since_us, asked.until_us, name) for name in _largest(names)),
        delays,
        None if table is None else concept_of(rows, scores, delays, asked.now_us, table),
        assumed,
    )


def concept_of(rows: RowsWithLabels, scores: Floats, delays: Delays, now_us: int, table: CalibrationTable) -> ConceptFinding:
    """Whether labels still agree with the scores, over the labelled rows by what each stands for."""
    age = (now_us - rows.times_us).astype(np.float64)
    weights = alert_weights(rows, age, delays) + quiet_weights(rows, age, delays)
    used = (weights > 0) & ~np.isnan(scores)
    step = table.look_up(scores[used])
    low, high = (values[step].astype(np.float64) for values in (table.low, table.high))
    return concept_finding(low, high, rows.label[used] == ATTACK, weights[used])


def _starts(asked: Asked, rows: RowsWithLabels) -> list[int]:
    """Windows begin at whole multiples of their length since the epoch; those before the first row and after the last one are left out."""
    if not len(rows):
        return []
    first, last = int(rows.times_us.min()), int(rows.times_us.max())
    starts = range(first - first % asked.window_us, last + 1, asked.window_us)
    if len(starts) > MOST_WINDOWS:
        raise TooManyWindows(
            f"there are {len(starts):,} windows, at most {MOST_WINDOWS:,}; make them longer, or ask for a shorter time"
        )
    return list(starts)


def _largest(names: np.ndarray) -> list[str]:
    found, counts = np.unique(names[names != ""].astype(str), return_counts=True)
    return [str(found[i]) for i in np.argsort(-counts, kind="stable")[:MOST_SEGMENTS]]
