"""`vedette rollout`: the verbs of a rollout, the same here and in a cluster. Each verb is a function of a module beside this one."""

import typer

from operators.cli import rollout_lint

app = typer.Typer(no_args_is_help=True)


@app.callback()
def rollout() -> None:
    """Change the model without anyone getting hurt: plan, start, watch, promote, abort, undo."""


app.command()(rollout_lint.lint)
