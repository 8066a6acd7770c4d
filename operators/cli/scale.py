"""`vedette scale`: how many replicas there are, why, and what a policy would do. Each verb is a function of a module beside this one."""

import typer

from operators.cli import scale_simulate, scale_verbs
from operators.cli.place import Context, Kubeconfig, Namespace, say_before

app = typer.Typer(no_args_is_help=True)


@app.callback()
def scale(started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None) -> None:
    """How many replicas, between which bounds, and why."""
    say_before(started, context, namespace, kubeconfig)


app.command()(scale_verbs.get)
app.command(name="set")(scale_verbs.set_bounds)
app.command()(scale_verbs.schedule)
app.command()(scale_simulate.simulate)
