"""A drift report as a document: what was found and what to do, every check, and the distributions side by side. Pure."""

import dataclasses
import math
from typing import Any, Final

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section
from lifecycle.monitoring.drift.advice import advice, effects, summary
from lifecycle.monitoring.drift.check import DriftCheck, ShareBars
from lifecycle.monitoring.drift.judge import DriftReport

_CHARTS: Final = 24
_SIDEWAYS: Final = 6
"""More names than this are written beside their bars."""
_COLUMNS: Final = ("subject", "segment", "drift", "severity", "effects", "p, corrected", "what changed")


def drift_page(report: DriftReport, title: str) -> Document:
    """The page."""
    about = (
        f"{report.current.words} against {report.reference.words}. A finding is beyond chance and large enough to matter; "
        "how each figure is defined: docs/reference/drift.md."
    )
    found = [check for check in report.checks if check.is_finding]
    others = [check for check in report.checks if not check.is_finding]
    notes = tuple(f"Note: {note}" for note in (*report.reference.notes, *report.current.notes))
    sections = [
        Section("What was found", (*summary(report), *notes)),
        Section("Findings", grid=_grid(found), empty="none"),
        *(_bars(check) for check in found[:_CHARTS] if check.bars is not None),
        Section("No change that matters", grid=_grid(others), empty="none"),
        Section("Not judged", grid=_unjudged(report), empty="nothing was left out"),
    ]
    return Document(title, about, tuple(sections), drift_record(report))


def drift_record(report: DriftReport) -> dict[str, Any]:
    """The same for programs."""
    return {
        "reference": {"rows": len(report.reference), "words": report.reference.words},
        "current": {"rows": len(report.current), "words": report.current.words},
        "severity": report.severity, "kinds": list(report.kinds), "level": report.settings.level,
        "summary": list(summary(report)), "advice": list(advice(report)),
        "checks": [_check_record(check) for check in report.checks],
        "unjudged": [dataclasses.asdict(one) for one in report.unjudged],
    }  # fmt: skip


def _check_record(check: DriftCheck) -> dict[str, Any]:
    """effects, figures: None for one that is infinite, as JSON has no infinity."""
    sizes, figures = (
        {name: value if math.isfinite(value) else None for name, value in of.items()} for of in (check.effects, check.figures)
    )
    return {**dataclasses.asdict(check), "effects": sizes, "figures": figures, "is_finding": check.is_finding}


def _grid(checks: list[DriftCheck]) -> Grid:
    rows = tuple(
        (c.subject, c.segment or "", c.kind, c.severity, effects(c), f"{c.adjusted_p:.2g}", "; ".join(c.details))
        for c in checks
    )
    return Grid(_COLUMNS, rows, right=("p, corrected",))


def _unjudged(report: DriftReport) -> Grid:
    return Grid(("subject", "segment", "why"), tuple((u.subject, u.segment or "", u.reason) for u in report.unjudged))


def _bars(check: DriftCheck) -> Section:
    name = check.subject if check.segment is None else f"{check.subject}, {check.segment}"
    bars = check.bars or ShareBars((), (), ())
    lines = (
        Line("reference", bars.names, bars.reference, is_bars=True),
        Line("window", bars.names, bars.current, is_bars=True),
    )
    about = f"Shares of the values of {name} in the reference and in the window."
    chart = Chart(about, name, "share", lines, is_sideways=len(bars.names) > _SIDEWAYS)
    return Section(f"{name}: {effects(check)}", charts=(chart,))
