"""`vedette store`: which layout a store has, and `migrate` from an older one."""

import importlib.metadata
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json, errors, print_json
from operators.cli.store.store_option import AnyStoreDir

if TYPE_CHECKING:
    from lifecycle.store_layout.run import MigrationPlan

app = typer.Typer(no_args_is_help=True, help="The layout of a store folder, and its migration after an upgrade.")


@app.callback()
def store() -> None:
    """The layout of a store folder, and its migration after an upgrade."""


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the steps, and change nothing.")] = False,
    store_dir: AnyStoreDir = None,
    as_json: Json = False,
) -> None:
    """Bring a store of an earlier version to this version's layout. After a crash, run it again."""
    from lifecycle.store_layout.run import migrate, plan_of
    from operators.cli.acts import record_act
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    root = settings.store_dir.resolve()
    plan = plan_of(root)
    steps = [step.words() for each in plan.migrations for step in each.steps][plan.done :]
    is_current = not plan.migrations and not plan.is_unfinished

    def record(begun: "MigrationPlan") -> None:
        if steps:
            subject = f"store/layout-{begun.target}"
            record_act(settings, "store.migrate", subject, f"from layout {begun.layout} to {begun.target}", {"steps": steps})

    if not dry_run and not is_current:
        plan = migrate(root, version=importlib.metadata.version("vedette"), told=errors.print, begun=record)
        is_current = not plan.migrations and not plan.is_unfinished  # somebody else may have done it meanwhile
    if as_json:
        print_json(
            {
                "store": str(root),
                "layout": plan.layout,
                "target": plan.target,
                "migrations": [{"from": each.source, "to": each.target, "why": each.why} for each in plan.migrations],
                "steps": steps,
                "resumed": plan.is_unfinished,
                "done": not dry_run,
            }
        )
        return
    if is_current:
        typer.echo(f"{root} has layout {plan.target}, the newest; nothing to do")
        return
    for each in plan.migrations:
        typer.echo(f"layout {each.source} -> {each.target}: {each.why}")
    for step in steps:
        typer.echo(f"  {step}")
    typer.echo("nothing was changed (--dry-run)" if dry_run else f"{root} has layout {plan.target}")
