"""A challenge as a document: the outcome in words, every gate with its bounds, a chart of the harms in HTML. Pure."""

from collections.abc import Sequence
from typing import Final

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section, percent
from lifecycle.metrics.intervals import Interval
from lifecycle.retraining.challenge.result import ChallengeResult, GateResult

KINDS: Final = {"newest": "newest labelled rows", "kept": "kept test rows", "family": "family", "left_out": "left-out family"}
FIGURES: Final = {"recall": "recall", "false_alarm_rate": "false alarms"}
_ABOUT: Final = (
    "Both judged on rows that neither was trained on, as they are served. Harm is recall lost or false alarms added, in brackets 95 % "
    "bounds by entity; the challenger may not be worse than the margin. How each gate works: docs/reference/retraining.md."
)


def challenge_page(result: ChallengeResult) -> Document:
    """The page."""
    title = f"{result.model}: version {result.challenger.version} challenges version {result.champion.version}"
    outcome = "passed" if result.passed else "not passed"
    facts = (
        ("outcome", outcome), ("trigger", result.trigger_id), ("operating point", result.point),
        ("champion", f"version {result.champion.version}, {result.champion.digest}, threshold {result.champion.threshold:.4g}"),
        ("challenger", f"version {result.challenger.version}, {result.challenger.digest}, threshold {result.challenger.threshold:.4g}"),
        *result.data,
    )  # fmt: skip
    sections = (
        Section("Outcome", (f"{result.words}.", *(f"Note: {note}." for note in result.notes)), facts),
        Section(
            "Gates", tuple(f"{gate.words}." for gate in result.gates), grid=_grid(result.gates), charts=_charts(result.gates)
        ),
    )
    return Document(title, _ABOUT, sections, result.as_record())


def _grid(gates: Sequence[GateResult]) -> Grid:
    columns = ("gate", "subject", "figure", "champion", "challenger", "harm", "margin", "rows", "entities", "verdict", "passes")
    rows = tuple(
        (
            KINDS[g.kind], g.subject, FIGURES[g.figure], percent(g.champion), percent(g.challenger), _harm(g.harm), f"{g.margin:g}",
            f"{g.rows:,}", f"{g.units:,}", g.verdict.replace("_", " "), "yes" if g.passes else "no",
        )
        for g in gates
    )  # fmt: skip
    return Grid(columns, rows, right=("champion", "challenger", "harm", "margin", "rows", "entities"))


def _harm(harm: Interval) -> str:
    if harm.value is None or harm.low is None or harm.high is None:
        return "-"
    return f"{harm.value:+z.3f} ({harm.low:+z.3f} to {harm.high:+z.3f})"


def _charts(gates: Sequence[GateResult]) -> tuple[Chart, ...]:
    judged = [g for g in gates if g.harm.value is not None]
    if not judged:
        return ()
    names = [f"{KINDS[g.kind]} {g.subject}".strip() + f"\n{FIGURES[g.figure]}" for g in judged]
    points = Line(
        "harm", names, [g.harm.value for g in judged], [g.harm.low for g in judged], [g.harm.high for g in judged],
        [g.words for g in judged], is_points=True,
    )  # fmt: skip
    margins = Line("margin", names, [g.margin for g in judged], is_points=True)
    about = "Harm of the challenger at each gate with 95 % bounds, and the margin; above 0 the challenger is worse."
    return (Chart(about, "", "harm", (points, margins), is_sideways=True),)
