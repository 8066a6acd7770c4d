"""`vedette retrain`: its verbs, each a function of a module beside this one."""

import typer

from operators.cli.retraining import example, status, verbs

app = typer.Typer(
    no_args_is_help=True, help="Train a model again when its policy says so; a challenger that passes becomes a rollout."
)
app.command()(verbs.check)
app.command()(verbs.run)
app.command()(status.status)
app.command()(example.policy)
