"""`vedette demo`: rollouts under constant load on a temporary store, each outcome checked; `vedette demo tour` shows the other verbs,
`vedette demo approvals` who may bring a rollout through."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, errors, finite_option, page
from operators.cli.demo.approvals import approvals
from operators.cli.demo.drift.verb import drift
from operators.cli.demo.tour import tour

if TYPE_CHECKING:
    from rich.table import Table

    from operators.cli.demo.scenes import SceneResult

_WHY = 160
app = typer.Typer(invoke_without_command=True)
app.command()(tour)
app.command()(approvals)
app.command()(drift)


@app.callback()
def demo(
    context: typer.Context,
    rate: Annotated[float, typer.Option(min=1, callback=finite_option, help="Requests a second, over HTTP and gRPC.")] = 150.0,
    scenes: Annotated[
        str, typer.Option(help="Scenes to play, separated by commas: plan, good, broken, errs, errs-live, slow, floods, ab.")
    ] = "",
) -> None:
    """Roll out good and bad candidates under constant load, and check the outcome of each. Exit code 1 if a check fails."""
    if context.invoked_subcommand is not None:
        return
    from operators.cli.demo.play import SCENES, play

    chosen = tuple(s.strip() for s in scenes.split(",") if s.strip()) or SCENES
    if unknown := [s for s in chosen if s not in SCENES]:
        raise CommandError(f"--scenes {unknown}: there are {', '.join(SCENES)}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") as folder:
        results = play(Path(folder), rate, chosen, lambda line: errors.print(line, soft_wrap=True))
    page().print(summary(results))
    for result in results:
        if result.report is not None:
            from datetime import UTC, datetime

            from operators.cli.rollout.experiment_view import report_panel

            page().print(report_panel(result.report, datetime.now(UTC)))
    failed = sum(r.counts.failed for r in results)
    answered = sum(r.counts.answered for r in results)
    broken = [f"{r.title}: {b}" for r in results for b in r.broken]
    refused = sum(r.counts.refused for r in results)
    held_back = sum(r.counts.held_back for r in results)
    busy = f" ({refused} refusals because this machine was busy; the clients asked again)" if refused else ""
    busy += f" ({held_back} requests were not sent because this machine was busy)" if held_back else ""
    page().print(
        f"{answered:,} client requests answered, {failed} failed{busy}; the demo took {time.monotonic() - began:.0f} s"
    )
    if broken:
        raise CommandError("not as promised: " + "; ".join(broken))


def summary(results: "Sequence[SceneResult]") -> "Table":
    """The outcome of each scene."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="outcomes", title_justify="left", header_style="bold")
    for name in ("scene", "outcome", "time to outcome", "since first met", "answered live", "copies", "failed requests", "why"):
        numbers = name in ("time to outcome", "since first met", "answered live", "copies", "failed requests")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for r in results:
        colour = "green" if not r.broken else "red"
        why = r.report.reason if r.report is not None else r.reason
        why = why if len(why) <= _WHY else f"{why[:_WHY]}…"
        met = "never" if r.met_s is None and r.report is None else "" if r.met_s is None else f"{r.met_s:.1f} s"
        table.add_row(
            r.title, Text(r.outcome, style=colour), f"{r.took_s:.1f} s", met,
            f"{r.live:,}" if r.report is None else "", f"{r.mirrored:,}" if r.report is None else "", f"{r.counts.failed}", why,
        )  # fmt: skip
    return table
