"""An experiment's report drawn for people: rates with their intervals on one scale, and the winner. Pure."""

from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from operators.cli.console import plain_line
from operators.cli.rollout.ages import ago
from operators.rollout.status import ExperimentReport, VariantReport

_SCALE: Final = 36


def report_panel(report: ExperimentReport, now: datetime) -> RenderableType:
    """The whole report."""
    top = max([1e-9, *(v.interval[1] for v in report.variants if v.interval)])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in (
        "variant",
        f"{report.metric} ({report.goal} is better)",
        "rate",
        "of",
        f"0 to {top:.2%}",
        "against the baseline",
    ):
        table.add_column(name, justify="right" if name in ("rate", "of") else "left", no_wrap=True)
    for index, variant in enumerate(report.variants):
        table.add_row(*_row(variant, top, is_baseline=index == 0, is_winner=variant.name == report.winner))
    state = "ended" if report.is_final else "under way"
    words = Text(plain_line(report.reason), style="bold green" if report.winner else "yellow")
    title = Text(f" experiment, {state}, began {ago(report.started, now)} ", style="bold")
    return Panel(Group(table, Text(), words), title=title, title_align="left", border_style="magenta")


def _row(variant: VariantReport, top: float, *, is_baseline: bool, is_winner: bool) -> tuple[RenderableType, ...]:
    name = Text(f"★ {variant.name}" if is_winner else f"  {variant.name}", style="bold green" if is_winner else "")
    if variant.stopped:
        state = Text(f"stopped: {plain_line(variant.stopped)}", style="red")
    elif is_baseline:
        state = Text("baseline", style="dim")
    elif variant.difference is None:
        state = Text("nothing measured", style="dim")
    else:
        low, high = variant.difference
        state = Text(f"{low:+.2%} to {high:+.2%}")
    rate = "–" if variant.rate is None else f"{variant.rate:.2%}"
    shown = "" if variant.interval is None else f"{variant.interval[0]:.2%} to {variant.interval[1]:.2%}"
    return name, shown, rate, f"{variant.k:,}/{variant.n:,}", _interval_bar(variant, top), state


def _interval_bar(variant: VariantReport, top: float) -> Text:
    if variant.interval is None or variant.rate is None:
        return Text("·" * _SCALE, style="dim")
    low, high, at = (min(_SCALE - 1, round(v / top * (_SCALE - 1))) for v in (*variant.interval, variant.rate))
    cells = ["━" if low <= i <= high else "·" for i in range(_SCALE)]
    cells[at] = "●"
    return Text.assemble(*((c, "magenta" if c != "·" else "dim") for c in cells))
