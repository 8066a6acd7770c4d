"""A forecast drawn for people. Pure."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from operators.cli.console import plain
from operators.labs.forecast import Forecast
from operators.values import format_duration, parse_duration


def plan_panel(
    name: str, stable: str, candidate: str, forecast: Forecast, examples: Sequence[dict[str, Any]]
) -> RenderableType:
    """The whole forecast."""
    estimate, low, high = forecast.added_per_day
    span = format_duration(parse_duration(round(forecast.span_s)))
    table = Table(box=None, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("replayed", f"{forecast.rows:,} rows of {forecast.entities:,} entities, {span} of traffic")
    if forecast.skipped:
        skipped_words = f"{forecast.skipped:,} requests, the first is {forecast.first_skip_reason}"
        table.add_row("set aside", Text(skipped_words, style="yellow"))
    table.add_row("alerts", f"{forecast.stable_alerts:,} by stable, {forecast.candidate_alerts:,} by the candidate")
    colour = "red" if low > 0 else "green" if high < 0 else "yellow"
    table.add_row("added a day", Text(f"{estimate:+,.0f} ({low:+,.0f} to {high:+,.0f}, 95 %)", style=f"bold {colour}"))
    flips = ", ".join(f"{count:,} {flip.replace('>', ' to ')}" for flip, count in forecast.flips.items()) or "none"
    table.add_row("flips", Text(plain(flips)))
    table.add_row("fails on", Text(f"{forecast.failed_rows:,} rows", style="bold red" if forecast.failed_rows else "green"))
    table.add_row("a run takes", _latency(forecast))
    parts: list[RenderableType] = [table]
    if examples:
        shown = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
        for column in ("entity", "stable", "candidate", "receipt"):
            shown.add_column(column)
        for example in examples[:5]:
            shown.add_row(*(Text(plain(example[c])) for c in ("entity", "stable", "candidate", "receipt")))
        parts += [Text(), shown]
    if forecast.reproduced_ratio < 1:
        parts += [
            Text(),
            Text(f"stable, replayed, gives the logged verdict on {forecast.reproduced_ratio:.2%} of the rows", style="yellow"),
        ]
    note = "if the coming day is like the time replayed; nights and weekends are not in it"
    title = Text(f" plan: {name}, version {stable} to {candidate} ", style="bold")
    return Panel(Group(*parts), title=title, title_align="left", subtitle=Text(note, style="dim"), border_style="cyan")


def _latency(forecast: Forecast) -> Text:
    (stable, slow), (candidate, slower) = forecast.stable_us, forecast.candidate_us
    ratio = candidate / stable if stable else 1.0
    style = "bold red" if ratio > 2 else ""
    shown = f"{_us(candidate)} (p99 {_us(slower)}), stable {_us(stable)} (p99 {_us(slow)})"
    return Text(f"{shown}: {ratio:.1f} times", style=style)


def _us(value: float) -> str:
    return f"{value:.0f} µs" if value < 1000 else f"{value / 1000:.1f} ms"
