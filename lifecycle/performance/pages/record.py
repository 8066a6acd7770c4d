"""A report on performance as JSON. A figure that cannot be estimated is `{"not_estimated": REASON}`, never a number. Pure."""

import dataclasses
from typing import Any

from lifecycle.performance.delays import DelayCurve, Delays, in_days
from lifecycle.performance.figures import Figure, NotEstimated
from lifecycle.performance.from_scores import ScoreFigure
from lifecycle.performance.labelled_rows import ATTACK, BENIGN
from lifecycle.performance.windows import FIGURES, PerformanceReport, WindowPerformance

PerformanceRecord = dict[str, Any]
_COUNTS = ("rows", "alerts", "labelled_alerts", "audited", "set_aside", "unsure", "maturity")
_SHARES = (0.5, 0.9)


def performance_record(report: PerformanceReport) -> PerformanceRecord:
    """The whole report."""
    return {
        "model": report.model,
        "version": report.version,
        "now_us": report.now_us,
        "window_us": report.window_us,
        "baseline": None if report.baseline is None else dataclasses.asdict(report.baseline),
        "assumed": {"label_noise": report.assumed.label_noise, "mature": report.assumed.mature},
        "whole": _window(report.whole),
        "windows": [_window(window) for window in report.windows],
        "segments": [_window(window) for window in report.segments],
        "delays": _delays(report.delays),
        "concept": None if report.concept is None else _concept(report),
    }


def _window(window: WindowPerformance) -> PerformanceRecord:
    labels = window.by_labels
    return {
        "since_us": window.since_us,
        "until_us": window.until_us,
        "segment": window.segment,
        **{name: getattr(labels, name) for name in _COUNTS},
        **{name: _figure(getattr(labels, name)) for name in (*FIGURES, "attack_share")},
        "recall_by_family": {name: _figure(figure) for name, figure in labels.by_family.items()},
        "from_scores": {
            name: _score_figure(getattr(window.by_scores, name))
            | (
                {"error": window.errors[name].error, "is_within": window.errors[name].is_within}
                if name in window.errors
                else {}
            )
            for name in FIGURES
        },
    }


def _figure(figure: Figure) -> PerformanceRecord:
    return _why(figure) if isinstance(figure, NotEstimated) else {**dataclasses.asdict(figure), "estimated_from": "labels"}


def _score_figure(figure: ScoreFigure) -> PerformanceRecord:
    return _why(figure) if isinstance(figure, NotEstimated) else dataclasses.asdict(figure)


def _why(figure: NotEstimated) -> PerformanceRecord:
    maturity = {} if figure.maturity is None else {"maturity": figure.maturity}
    return {"not_estimated": figure.reason, "words": figure.words, **maturity}


def _delays(delays: Delays) -> list[PerformanceRecord]:
    """Of each kind of label: after how many days half and nine tenths are in."""
    found = []
    for by_alert in (True, False):
        for label, name in ((ATTACK, "attack"), (BENIGN, "benign")):
            curve: DelayCurve | None = delays.curves.get((by_alert, label))
            days = {
                f"days_{share:.0%}".rstrip("%"): None if curve is None else in_days(curve.age_with(share)) for share in _SHARES
            }
            found.append({"labels_of": "alerts" if by_alert else "samples", "verdict": name, **days})
    return found


def _concept(report: PerformanceReport) -> PerformanceRecord:
    concept = report.concept
    assert concept is not None  # noqa: S101  # nosec B101  # the caller asked
    return {**dataclasses.asdict(concept), "is_drift": concept.is_drift(), "words": concept.words}
