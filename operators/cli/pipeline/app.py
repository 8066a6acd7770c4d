"""`vedette pipeline`: its verbs, each a module beside this one."""

import typer

from operators.cli.pipeline import graph, init, run, status

app = typer.Typer(no_args_is_help=True, help="Stages of a dvc.yaml, run again only where something they are made of changed.")
app.command()(init.init)
app.command()(run.run)
app.command()(status.status)
app.command()(graph.graph)
