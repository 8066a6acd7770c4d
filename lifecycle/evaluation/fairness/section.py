"""The fairness section of a report: for people as a table, for programs as a record. Pure."""

import dataclasses
from typing import Any, Final

from lifecycle.evaluation.fairness.disparity import RATE_WORDS, Disparity, FairnessReport, SegmentRate
from lifecycle.metrics import Interval

COLUMNS: Final = (
    "segment",
    "rate",
    "segment's (95 %)",
    "rest's (95 %)",
    "difference (95 %)",
    "ratio (95 %)",
    "p, corrected",
    "",
)


def fairness_record(report: FairnessReport) -> dict[str, Any]:
    """The whole report, for programs."""
    return {
        "alpha": report.alpha, "correction": report.correction, "rows": report.rows, "unmapped": report.unmapped,
        "clustered_by_entity": report.is_by_entity, "findings": [f"{d.name} {d.rate}" for d in report.findings],
        "disparities": [dataclasses.asdict(d) for d in report.disparities],
    }  # fmt: skip


def fairness_lines(report: FairnessReport) -> list[list[str]]:
    """One line for each segment and rate, in the order of COLUMNS."""
    return [
        [
            d.name,
            d.rate.replace("_", " "),
            _counted(d.segment),
            _counted(d.rest),
            _points(d.difference) if not d.too_small else "-",
            _times(d.ratio) if not d.too_small else "-",
            "-" if d.adjusted is None else f"{d.adjusted:.3g}",
            "DISPARITY" if d.is_finding else (f"too small: {d.too_small}" if d.too_small else ""),
        ]
        for d in report.disparities
    ]


def fairness_words(report: FairnessReport) -> list[str]:
    """What was found, a sentence each; and how it was judged."""
    how = "permutations of entities" if report.is_by_entity else "Fisher's exact test"
    many = sum(d.p is not None for d in report.disparities)
    sentences = [_sentence(d) for d in report.findings] or ["No disparity beyond chance was found."]
    sentences.append(
        f"{many} comparisons by {how}, corrected together ({report.correction}), alpha {report.alpha:g}; "
        f"{report.unmapped:,} of {report.rows:,} rows are in no segment and count with the rest."
    )
    return sentences


def _sentence(d: Disparity) -> str:
    side = "more" if (d.difference.value or 0) > 0 else "less"
    ratio = f", {_times(d.ratio)} as often" if d.ratio.value is not None else ""
    return (
        f"{d.name}: {RATE_WORDS[d.rate]}: {_counted(d.segment)} next to {_counted(d.rest)} of the rest{ratio}: "
        f"{_points(d.difference)} points {side}."
    )


def _counted(of: SegmentRate) -> str:
    if of.interval.value is None or of.interval.low is None or of.interval.high is None:
        return "none of 0"
    low, high = 100 * of.interval.low, 100 * of.interval.high
    return f"{of.events:,}/{of.total:,} = {100 * of.interval.value:.2f} % ({low:.2f}..{high:.2f})"


def _points(of: Interval) -> str:
    if of.value is None or of.low is None or of.high is None:
        return "-"
    return f"{100 * of.value:+.2f} ({100 * of.low:+.2f}..{100 * of.high:+.2f})"


def _times(of: Interval) -> str:
    if of.value is None:
        return "-"
    high = "" if of.high is None else f"{of.high:.2f}"
    return f"{of.value:.2f}x ({of.low or 0.0:.2f}..{high})"
