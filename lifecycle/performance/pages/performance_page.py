"""A report on performance as a document: figures over time with their bounds, why some are missing, and what scores said before. Pure."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section, percent
from lifecycle.performance.baseline import Baseline
from lifecycle.performance.delays import DAY_US
from lifecycle.performance.figures import Figure, NotEstimated
from lifecycle.performance.from_scores import ScoreFigure
from lifecycle.performance.pages.record import performance_record
from lifecycle.performance.windows import FIGURES, PerformanceReport, WindowPerformance

NAMES: Final = {"precision": "precision", "recall": "recall", "f1": "F1"}
_SHARE_APART: Final = 2.0
"""From this ratio of the shares of attacks on, the bundle's precision is not comparable."""


def performance_document(report: PerformanceReport) -> Document:
    """The page."""
    labels = report.whole.by_labels
    about = (
        f"Version {report.version}, {_time(report.whole.since_us)} to {_time(report.whole.until_us)} UTC, by labels that were in at "
        f"{_time(report.now_us)}. Figures have 95 % bounds; they respect that alerts are labelled more often and that labels come late."
    )
    sections = [
        Section("Over all", _whole_words(report), _whole_facts(report)),
        Section(
            "Over time",
            _reasons(report.windows),
            (),
            _grid(report.windows, _window_name(report), "from"),
            charts=_charts(report),
        ),
        Section(
            "From scores, before labels arrive",
            _score_words(report),
            (),
            _score_grid(report),
            empty="the bundle has no calibration, so scores give no probabilities",
        ),
    ]
    if report.segments:
        sections.append(Section("By segment", (), (), _grid(report.segments, lambda w: w.segment or "", "segment")))
    if labels.by_family:
        grid = Grid(
            ("family", "recall"), tuple((name, figure_words(f)) for name, f in labels.by_family.items()), right=("recall",)
        )
        sections.append(Section("Recall by attack family", (), (), grid))
    sections.append(_concept_section(report))
    return Document(f"Performance of {report.model}", about, tuple(sections), performance_record(report))


def figure_words(figure: Figure | ScoreFigure) -> str:
    """A figure with its bounds, or in short why there is none."""
    if isinstance(figure, NotEstimated):
        return figure.reason.replace("_", " ")
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _whole_facts(report: PerformanceReport) -> tuple[tuple[str, str], ...]:
    labels, base = report.whole.by_labels, report.baseline
    figures = [(NAMES[name], figure_words(getattr(labels, name)) + _own(base, name)) for name in FIGURES]
    return (
        ("rows", f"{labels.rows:,}, {labels.alerts:,} of them alerts"),
        ("labels", f"{labels.labelled_alerts:,} of alerts, {labels.audited:,} of the samples among other rows"),
        ("set aside", f"{labels.set_aside:,} labels of other rows that no sample had, {labels.unsure:,} unsure ones"),
        *figures,
        ("share of attacks", figure_words(labels.attack_share)),
    )


def _own(base: Baseline | None, name: str) -> str:
    return "" if base is None else f"; the bundle's own: {getattr(base, name):.3f}"


def _whole_words(report: PerformanceReport) -> tuple[str, ...]:
    labels, base = report.whole.by_labels, report.baseline
    words = [
        f"There is no {NAMES[name]}: {figure.words}." for name, figure in _figures(labels) if isinstance(figure, NotEstimated)
    ]
    if base is None:
        words.append("The bundle has no measured figures to compare with.")
    share = labels.attack_share
    if base is not None and not base.is_moved and not isinstance(share, NotEstimated) and base.attack_share > 0 < share.value:
        apart = max(share.value / base.attack_share, base.attack_share / share.value)
        if apart >= _SHARE_APART:
            there = base.at_share(share.value)
            words.append(
                f"The bundle's precision holds where {percent(base.attack_share)} of the rows are attacks. Here it is "
                f"{percent(share.value)}: at this share the same recall and false alarm rate give a precision of {there.precision:.3f}."
            )
    if report.assumed.label_noise:
        words.append(f"It is assumed that {percent(report.assumed.label_noise)} of the labels are wrong.")
    return tuple(words)


def _figures(labels: object) -> Sequence[tuple[str, Figure]]:
    return [(name, getattr(labels, name)) for name in FIGURES]


def _reasons(windows: Sequence[WindowPerformance]) -> tuple[str, ...]:
    """What each short reason in the table means."""
    found = {f.reason: f for w in windows for _, f in _figures(w.by_labels) if isinstance(f, NotEstimated)}
    return tuple(f"{reason.replace('_', ' ')}: {NotEstimated(reason).words}." for reason in sorted(found))


def _grid(windows: Sequence[WindowPerformance], name: Callable[[WindowPerformance], str], first: str) -> Grid:
    columns = (first, "rows", "alerts", "labels in", "precision", "recall", "F1")
    rows = []
    for w in windows:
        labels = w.by_labels
        known = "-" if labels.maturity is None else f"{labels.maturity:.0%}".replace("%", " %")
        figures = [figure_words(figure) for _, figure in _figures(labels)]
        rows.append((name(w), f"{labels.rows:,}", f"{labels.alerts:,}", known, *figures))
    return Grid(columns, tuple(rows), right=columns[1:])


def _score_grid(report: PerformanceReport) -> Grid:
    columns = ("from", "precision", "error", "recall", "error of recall")
    rows = []
    for w in report.windows:
        if all(isinstance(getattr(w.by_scores, name), NotEstimated) for name in ("precision", "recall")):
            continue
        cells = [_window_name(report)(w)]
        for name in ("precision", "recall"):
            error = w.errors.get(name)
            error_words = "-" if error is None else f"{error.error:+.3f}{'' if error.is_within else ', outside the bounds'}"
            cells += [figure_words(getattr(w.by_scores, name)), error_words]
        rows.append(tuple(cells))
    return Grid(columns, tuple(rows), right=columns[1:])


def _score_words(report: PerformanceReport) -> tuple[str, ...]:
    if not _score_grid(report).rows:
        return ()
    return (
        "Estimated from scores: what the calibrated probabilities add up to. It is no measurement: it does not see that the same score has "
        "come to mean something else. Its error is shown once labels are in.",
    )


def _charts(report: PerformanceReport) -> tuple[Chart, ...]:
    return tuple(
        _chart(report, name)
        for name in FIGURES
        if any(not isinstance(getattr(w.by_labels, name), NotEstimated) for w in report.windows) or name == "precision"
    )


def _chart(report: PerformanceReport, name: str) -> Chart:
    x = [_window_name(report)(w) for w in report.windows]
    known = [_values(getattr(w.by_labels, name)) for w in report.windows]
    lines = [
        Line(
            f"{NAMES[name]}, from labels", x, [k[0] for k in known], low=[k[1] for k in known], high=[k[2] for k in known], is_band=True
        )
    ]  # fmt: skip
    estimates = [_values(getattr(w.by_scores, name))[0] for w in report.windows]
    if any(v is not None for v in estimates):
        lines.append(Line("estimated from scores", x, estimates, is_dashed=True))
    if report.baseline is not None:
        lines.append(Line("the bundle's own", x, [getattr(report.baseline, name)] * len(x), is_dashed=True))
    return Chart(
        f"{NAMES[name]} over time; the band is the 95 % interval.", "from, UTC", NAMES[name], tuple(lines), y_range=(0.0, 1.02)
    )


def _values(figure: Figure | ScoreFigure) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if isinstance(figure, NotEstimated) else (figure.value, figure.low, figure.high)


def _concept_section(report: PerformanceReport) -> Section:
    title, concept = "Do labels still agree with the scores?", report.concept
    if concept is None:
        return Section(title, empty="the bundle has no calibration, so this cannot be judged")
    words = [concept.words[:1].upper() + concept.words[1:] + "."]
    if concept.is_drift():
        words.append("The same scores have come to mean something else: concept drift. Train again with these labels.")
    columns = ("probability", "labelled rows", "attacks by scores", "attacks by labels")
    rows = tuple((f"{b.low:g} to {b.high:g}", f"{b.rows:,}", percent(b.said), percent(b.found)) for b in concept.bands)
    return Section(title, tuple(words), (), Grid(columns, rows, right=columns[1:]))


def _window_name(report: PerformanceReport) -> Callable[[WindowPerformance], str]:
    form = "%Y-%m-%d" if report.window_us % DAY_US == 0 else "%Y-%m-%d %H:%M"
    return lambda window: datetime.fromtimestamp(window.since_us / 1e6, UTC).strftime(form)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
