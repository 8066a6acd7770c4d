"""`vedette retrain status`: past trainings, the one under way, and what the budget has left."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.acts import now_us
from operators.cli.console import Json, plain_line, print_json, print_table
from operators.cli.store.store_option import StoreDir


def status(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The policy; the output then has its remaining budget.")
    ] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Show how far the retraining of a model is."""
    from lifecycle.retraining.decide import compute_left_s, moment
    from lifecycle.retraining.policy import read_policy
    from lifecycle.retraining.progress import folder_of, load_progress
    from serving.settings import ServingSettings

    now = now_us()
    progress = load_progress(folder_of(store_dir or ServingSettings().store_dir, name), name, now)
    left = None if policy is None else compute_left_s(read_policy(policy), progress, now)
    if as_json:
        print_json({**dataclasses.asdict(progress), "compute_left_s": left})
        return
    rows = [
        (moment(p.started_us), p.strategy, p.outcome.replace("_", " "), f"{p.compute_s:.0f}", p.bundle[7:19], p.words)
        for p in progress.past
    ]
    columns = ("started", "strategy", "outcome", "processor s", "bundle", "what was found")
    print_table(f"{name}: trainings", columns, rows or [("none",) + ("",) * 5], right=("processor s",))
    if progress.pending is not None:
        pending = progress.pending
        print(
            plain_line(
                f"under way: {pending.trigger.strategy}, {pending.stage}, since {moment(pending.started_us)}: {pending.trigger.words}"
            )
        )
    if left is not None:
        print(f"processor time left this week: {left:.0f} s")
