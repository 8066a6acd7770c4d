"""The page of the drift demonstration: recall over time, the figures before and after, and the story."""

from collections.abc import Mapping
from typing import Final

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section, percent
from lifecycle.metrics.intervals import Interval
from operators.cli.demo.drift.result import DriftResult, recall_over_time

COLUMNS: Final = ("when", "version", "answers", "attacks", "recall", "false alarms", "precision")
_HAPPENED: Final[Mapping[str, str]] = {
    "drift": "the traffic drifts", "alarm": "major alarm", "labels": "labels are given", "challenger": "a challenger passes",
    "promoted": "it is promoted",
}  # fmt: skip


def figure_rows(result: DriftResult) -> list[tuple[str, ...]]:
    """The figures of each phase, as COLUMNS name them."""
    return [
        (p.title, p.version, f"{p.answers:,}", f"{p.attacks:,}", shown(p.recall), shown(p.false_alarms), shown(p.precision))
        for p in result.phases
    ]


def shown(figure: Interval) -> str:
    """A share with its bounds, in percent.

    >>> shown(Interval(0.5, 0.4, 0.6))
    '50.0 % (40.0 to 60.0)'
    """
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{figure.value:.1%} ({100 * figure.low:.1f} to {100 * figure.high:.1f})".replace("%", " %")


def drift_demo_page(result: DriftResult) -> Document:
    """The whole."""
    gates = tuple(
        (
            g["kind"].replace("_", " "),
            g["subject"],
            percent(g["champion"]),
            percent(g["challenger"]),
            g["verdict"].replace("_", " "),
        )
        for g in result.gates
    )
    return Document(
        "A detector drifts, and is trained again",
        "The traffic is generated and the analyst is simulated; the server, the monitor, the training, the gates and the rollout are real.",
        (
            Section(
                "Recall before and after",
                ("Counted on answers whose truth is known, with 95 % bounds.",),
                grid=Grid(COLUMNS, tuple(figure_rows(result)), right=COLUMNS[1:]),
                charts=(recall_chart(result),),
            ),
            Section(
                "What happened",
                grid=Grid(("time, UTC", "what", "words"), tuple((s.time, s.what, s.words) for s in result.story)),
            ),
            Section(
                "The challenge",
                (f"{result.labels} answers were labelled.",),
                grid=Grid(("gate", "of", "champion", "challenger", "verdict"), gates),
            ),
            Section(
                "Promises",
                grid=Grid(("promise", "kept"), tuple((p.words, "yes" if p.is_kept else "NO") for p in result.promises)),
            ),
        ),
        result.as_record(),
    )


def recall_chart(result: DriftResult) -> Chart:
    """Recall of every 60 attacks in turn, and when what happened."""
    points = recall_over_time(result.answers)
    happened = {_HAPPENED[what]: at for what, at in result.moments.items() if what in _HAPPENED}
    return Chart(
        "Recall of every 60 attacks in turn: it falls when the traffic drifts, and rises with the promotion.",
        "answers",
        "recall",
        (
            Line(
                "recall", [float(p.until) for p in points], [p.recall.value for p in points],
                low=[p.recall.low for p in points], high=[p.recall.high for p in points], is_band=True,
            ),
            Line("what happened", [float(at) for at in happened.values()], [0.02] * len(happened), text=list(happened), is_points=True),
        ),
        y_range=(0.0, 1.02),
    )  # fmt: skip
