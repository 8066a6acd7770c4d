"""`vedette scale`: how many replicas there are, why, and what a policy would do. Each verb is a function of a module beside this one."""

import typer

from operators.cli.control_plane import Context, Kubeconfig, Namespace, say_before
from operators.cli.scale import simulate as scale_simulate
from operators.cli.scale import verbs

app = typer.Typer(no_args_is_help=True)


@app.callback()
def scale(started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None) -> None:
    """How many replicas, between which bounds, and why."""
    say_before(started, context, namespace, kubeconfig)


app.command()(verbs.get)
app.command(name="set")(verbs.set_bounds)
app.command()(verbs.schedule)
app.command()(scale_simulate.simulate)
