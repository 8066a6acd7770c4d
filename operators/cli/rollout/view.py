"""A rollout drawn for people: steps as a track, weights and e-values as bars. Pure: a record in, something rich can print out.

An e-value's bar is drawn on a logarithmic scale whose full length is the threshold: a full bar is a verdict."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from operators.cli.console import plain, plain_line
from operators.cli.rollout.ages import ago
from operators.cli.rollout.experiment_view import report_panel
from operators.control.port import Record
from operators.control.words import UNDER_WAY, move_words, short, split_of, step_words, thresholds, unobserved
from operators.rollout.spec import Analysis, Step
from operators.rollout.status import GateView, HistoryEntry, Phase, RolloutStatus, Verdict

_BAR: Final = 12
_SPLIT_BAR: Final = 48
_EVENTS: Final = 6
_PARTS: Final = " ▏▎▍▌▋▊▉█"
_PHASES: Final = {
    Phase.HEALTHY: "green",
    Phase.PROGRESSING: "cyan",
    Phase.PAUSED: "yellow",
    Phase.ABORTED: "red",
    Phase.EXPERIMENT: "magenta",
}
_VERDICTS: Final = {
    Verdict.BETTER: "bold green",
    Verdict.NO_WORSE: "green",
    Verdict.WORSE: "bold red",
    Verdict.UNDECIDED: "yellow",
    Verdict.INVALID: "magenta",
}
_COLOURS: Final = ("green", "cyan", "magenta", "yellow", "blue", "white", "red", "bright_black")


def rollout_panel(record: Record, now: datetime) -> RenderableType:
    """The whole picture of one service."""
    status = record.status
    parts: list[RenderableType] = [_revisions(status, now)]
    if record.problem is not None:
        parts.append(Text(f"cannot be followed: {plain(record.problem)}", style="red"))
    if not record.is_observed:
        parts.append(Text(f"waits for: {plain(unobserved(record))}", style="yellow"))
    if status.phase in UNDER_WAY or (status.phase is Phase.ABORTED and status.candidate is not None):
        parts += [Text(), step_track(record.rollout.steps, status)]
    parts += [Text(), split_bar(split_of(status))]
    if status.assessment.gates:
        analysis = status.experiment.analysis if status.experiment is not None else record.rollout.analysis
        parts += [Text(), gate_table(status.assessment.gates, analysis), _summary(status)]
    if status.experiment is not None:
        parts += [Text(), *_experiment(status, now)]
    waiting = [Text(f"requested, not handled yet: {r.verb} by {plain_line(r.by)}", style="yellow") for r in record.waiting]
    words = _words(status)
    if words or waiting:
        parts += [Text(), *words, *waiting]
    moves = status.moves or (status.history[0].moves if status.history else ())
    if moves:
        parts += [Text(), event_list(moves[-_EVENTS:], now)]
    style, phase = (_PHASES[status.phase], str(status.phase)) if record.is_observed else ("yellow", "Waiting")
    title = Text.assemble((f" {record.ref.name} ", "bold"), (f"{phase} ", f"bold {style}"))
    where = Text(f" {record.ref.namespace} ", style="dim")
    return Panel(Group(*parts), title=title, title_align="left", subtitle=where, subtitle_align="right", border_style=style)


def split_bar(split: Iterable[tuple[str, float, float]]) -> Text:
    """One bar of 100 %, a colour a variant, and a line for each below it."""
    bar, legend = Text("  "), Text()
    for colour, (name, weight, mirror) in zip(_COLOURS, split, strict=False):
        cells = round(weight / 100 * _SPLIT_BAR)
        cells = max(cells, 1) if weight > 0 else 0
        bar.append("█" * min(cells, _SPLIT_BAR + 2 - len(bar)), style=colour)
        legend.append("  ● ", style=colour).append(f"{name} {weight:g} %")
        if mirror:
            legend.append(f", mirrors {mirror:g} % in the dark", style="dim")
    return Text("\n").join((bar, legend))


def step_track(steps: tuple[Step, ...], status: RolloutStatus) -> Text:
    """Every step in a row: done, under way, to come."""
    track = Text("  ")
    is_over = status.phase is Phase.ABORTED
    for index, step in enumerate(steps):
        if index:
            track.append(" ─ ", style="green" if index <= status.step_index else "dim")
        if index < status.step_index:
            track.append(f"✔ {step_words(step)}", style="green")
        elif index == status.step_index:
            mark, style = ("✖", "bold red") if is_over else ("◉", "bold reverse cyan")
            track.append(f"{mark} {step_words(step)}", style=style)
        else:
            track.append(f"○ {step_words(step)}", style="dim")
    return track


def gate_table(gates: Iterable[GateView], analysis: Analysis) -> Table:
    """Counts, intervals and e-values of each gate."""
    worse_at, fine_at = thresholds(analysis)
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("  gate", no_wrap=True)
    for name in ("stable", "candidate"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in (f"worse, at {worse_at:.3g}", f"no worse, at {fine_at:.3g}", "verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("more", justify="right", no_wrap=True)
    for gate in gates:
        more = "" if gate.more is None else f"≈ {gate.more:,}"
        table.add_row(
            f"  {gate.name}",
            _proportion(gate.stable, None),
            _proportion(gate.candidate, gate.candidate_interval),
            e_bar(gate.e_worse, worse_at, "red"),
            e_bar(gate.e_no_worse, fine_at, "green"),
            Text(gate.verdict, style=_VERDICTS[gate.verdict]),
            more,
        )
    return table


def e_bar(value: float, threshold: float, colour: str) -> Text:
    """log(value) on a bar whose end is log(threshold)."""
    reached = min(max(math.log(max(value, 1e-300)) / math.log(threshold), 0.0), 1.0)
    eighths = round(reached * _BAR * 8)
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (_PARTS[rest] if rest else "")
    style = f"bold {colour}" if reached >= 1 else colour
    number = f"{value:.3g}" if value < 1e6 else f"1e{math.log10(value):.0f}"
    return Text.assemble((drawn, style), ("·" * (_BAR - len(drawn)), "dim"), f" {number}")


def event_list(moves: Iterable[HistoryEntry], now: datetime) -> Table:
    """Moves with how long ago, who and why."""
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False, pad_edge=False)
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for move in moves:
        what = move_words(move)
        by = "" if move.by == "operator" else f" ({move.by})"
        table.add_row(f"  {ago(move.at, now)}", what, Text(plain_line(f"{move.reason}{by}")))
    return table


def overview(records: Iterable[Record], unread: Mapping[str, str], now: datetime) -> Table:
    """One line a service, with the columns `kubectl get` prints. unread: what is wrong with those that cannot be read, by name."""
    table = Table(header_style="bold", title_justify="left")
    for name in ("NAME", "PHASE", "STABLE", "CANDIDATE", "STEP", "WEIGHT", "VERDICT", "WAITING-FOR"):
        table.add_column(name, no_wrap=name == "NAME", overflow="fold")
    for record in records:
        status = record.status
        is_busy = status.phase in UNDER_WAY
        table.add_row(
            Text(record.ref.name),
            Text(status.phase, style=_PHASES[status.phase]) if record.is_observed else Text("Waiting", style="yellow"),
            short(status.stable),
            short(status.candidate) if status.candidate else "",
            f"{min(status.step_index + 1, len(record.rollout.steps))}/{len(record.rollout.steps)}" if is_busy else "",
            f"{status.weight:g}" if is_busy else "",
            Text(status.assessment.verdict, style=_VERDICTS[status.assessment.verdict]) if status.assessment.gates else "",
            Text(plain(record.problem or (status.waiting_for if record.is_observed else unobserved(record)))),
        )
    for name, problem in unread.items():
        table.add_row(Text(plain(name)), Text("Unreadable", style="red"), "", "", "", "", "", Text(plain(problem)))
    return table


def _experiment(status: RolloutStatus, now: datetime) -> list[RenderableType]:
    """The report so far, and each variant's guards."""

    parts: list[RenderableType] = [] if status.report is None else [report_panel(status.report, now)]
    for name, seen in status.variant_assessments.items():
        if seen.gates and status.experiment is not None:
            parts += [Text(f"  guards of {name}", style="bold"), gate_table(seen.gates, status.experiment.analysis)]
    return parts


def _revisions(status: RolloutStatus, now: datetime) -> RenderableType:
    parts = [Text.assemble(("  stable ", "dim"), (short(status.stable), "bold green"))]
    if status.candidate is not None and status.phase is not Phase.HEALTHY:
        parts.append(Text.assemble(("candidate ", "dim"), (short(status.candidate), "bold cyan")))
        if status.phase in UNDER_WAY:
            loaded = ("loaded in every replica", "green") if status.is_ready else ("not loaded everywhere yet", "yellow")
            parts.append(Text.assemble(loaded))
    if status.started is not None and status.phase is not Phase.HEALTHY:
        parts.append(Text(f"started {ago(status.started, now)} by {plain_line(status.started_by)}", style="dim"))
    return Columns(parts, padding=(0, 3))


def _summary(status: RolloutStatus) -> Text:
    seen = status.assessment
    text = Text.assemble("  together ", (seen.verdict, _VERDICTS[seen.verdict]), f" after {seen.requests:,} candidate requests")
    if seen.more is not None and seen.verdict is Verdict.UNDECIDED:
        text.append(f"; about {seen.more:,} more until the evidence decides")
    if seen.verdict is Verdict.INVALID and seen.reason:
        text.append(f"; {plain_line(seen.reason)}", style="magenta")
    return text


def _words(status: RolloutStatus) -> list[Text]:
    lines = [
        Text(
            plain_line(
                f"  BROKEN GLASS: {use.by} passed step {use.step} alone at {use.at:%Y-%m-%d %H:%MZ}, not reviewed: {use.why}"
            ),
            "bold red",
        )
        for use in status.break_glass
    ]
    if status.approvals:
        given = ", ".join(f"{a.by} as {a.role}" if a.role else a.by for a in status.approvals)
        lines.append(Text(f"  approved by {plain_line(given)}"))
    if status.waiting_for:
        lines.append(Text(f"  waiting for {plain_line(status.waiting_for)}", style="yellow"))
    if status.message:
        lines.append(Text(f"  {plain_line(status.message)}", style="red" if status.phase is Phase.ABORTED else ""))
    if status.is_overdue:
        lines.append(Text("  no progress within the deadline", style="red"))
    return lines


def _proportion(counts: tuple[int, int], interval: tuple[float, float] | None) -> Text:
    n, k = counts
    if n == 0:
        return Text("–", style="dim")
    shown = Text(f"{k / n:.2%}")
    if interval is not None:
        shown.append(f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]", style="dim")
    return shown.append(f" {k:,}/{n:,}", style="dim")
