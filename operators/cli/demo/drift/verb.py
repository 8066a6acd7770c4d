"""`vedette demo drift`: a stream drifts, an alarm, a challenger, its rollout, and recall before and after."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json, errors, finite_option, print_json, print_table


def drift(
    rate: Annotated[float, typer.Option(min=1, callback=finite_option, help="Requests a second, over HTTP and gRPC.")] = 300.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated network.")] = 1,
    answers: Annotated[
        int, typer.Option(min=600, help="Answers before the drift and after the promotion; twice as many after the drift.")
    ] = 1500,
    report: Annotated[Path | None, typer.Option(help="Write a page with recall over time to this file.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Run in this new folder, and keep it.")] = None,
    as_json: Json = False,
) -> None:
    """Let a stream drift until the monitor alarms, train a challenger, roll it out, and count recall before and after.

    Exit code 1 if a promise is not kept."""
    from operators.cli.demo.drift.page import COLUMNS, drift_demo_page, figure_rows
    from operators.cli.demo.drift.play import DriftOptions, play

    if keep is not None and keep.exists():
        raise CommandError(f"--keep {keep}: is there already; name a folder that is not")
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") if keep is None else nullcontext(str(keep)) as folder:
        store = Path(folder).resolve()
        result = play(store, DriftOptions(seed, rate, answers), lambda line: errors.print(line, soft_wrap=True))
    if report is not None:
        from lifecycle.documents.document import write

        report.write_text(write(drift_demo_page(result), "html"), encoding="utf-8")
        errors.print(f"written: {report}", markup=False)
    if as_json:
        print_json(result.as_record())
    else:
        print_table("recall before and after, counted on known truth", COLUMNS, figure_rows(result), right=COLUMNS[1:])
    if result.broken:
        raise CommandError("not as promised: " + "; ".join(result.broken))
    errors.print(f"[bold green]every promise was kept[/]; it took {result.took_s:.0f} s")
    if keep is not None:
        errors.print(f"look around: vedette lineage show sessions --store-dir {keep}", markup=False)
