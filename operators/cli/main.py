"""The `vedette` command: its verbs, each a module of this package, and how its errors end.

Heavy libraries are imported by the verbs that need them, when they run."""

import importlib.metadata
import os
import sys
from typing import Annotated

import typer

from operators.cli import conform, operator, up
from operators.cli.console import errors
from operators.cli.demo import app as demo
from operators.cli.models import bundle, evaluate, features, listing, score, train
from operators.cli.rollout import app as rollout
from operators.cli.rollout import experiment
from operators.cli.rules import app as rules
from operators.cli.scale import app as scale

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
app.command()(up.up)
app.command()(score.score)
app.command()(listing.models)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.add_typer(bundle.app, name="bundle")
app.add_typer(rules.app, name="rules")
app.add_typer(features.app, name="features")
app.command()(conform.conform)
app.add_typer(demo.app, name="demo")
app.add_typer(rollout.app, name="rollout")
app.add_typer(scale.app, name="scale")
app.add_typer(experiment.app, name="experiment")
app.add_typer(operator.app, name="operator")


@app.callback(invoke_without_command=True)
def vedette(is_version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Serve threat-detection models: verdicts with their evidence."""
    if is_version:
        typer.echo(importlib.metadata.version("vedette"))
        raise typer.Exit


def run() -> None:
    """Entry point of vedette."""
    ending(app)


def ending(command: typer.Typer) -> None:
    """Run a command line: a known error ends in one message and exit code 1; a defect keeps its trace."""
    try:
        command()
    except Exception as problem:
        if not _is_known(problem) or os.environ.get("VEDETTE_LOG_LEVEL") == "debug":
            raise
        errors.print(f"[red]vedette:[/] {_words(problem)}", soft_wrap=True)
        sys.exit(1)


def _is_known(problem: Exception) -> bool:
    from pydantic import ValidationError

    is_ours = type(problem).__module__.split(".")[0] in {"serving", "lifecycle", "operators", "feature_repo"}
    return is_ours or isinstance(problem, OSError | ValidationError)


def _words(problem: Exception) -> str:
    from pydantic import ValidationError
    from rich.markup import escape

    if isinstance(problem, ValidationError):
        return escape("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in problem.errors()))
    if isinstance(problem, OSError) and problem.filename is not None:
        from operators.cli.documents import reason

        return escape(f"{problem.filename}: {reason(problem)}")
    return escape(str(problem))


if __name__ == "__main__":
    run()
