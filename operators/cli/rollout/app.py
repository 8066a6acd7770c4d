"""`vedette rollout`: the verbs of a rollout, the same here and in a cluster. Each verb is a function of a module beside this one."""

import typer

from operators.cli.control_plane import Context, Kubeconfig, Namespace, say_before
from operators.cli.rollout import lint as rollout_lint
from operators.cli.rollout import plan as rollout_plan
from operators.cli.rollout import show, verbs
from operators.cli.rollout import simulate as rollout_simulate
from operators.cli.rollout import start as rollout_start

app = typer.Typer(no_args_is_help=True)


@app.callback()
def rollout(
    started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None
) -> None:
    """Change the model without anyone getting hurt: plan, start, watch, promote, abort, undo."""
    say_before(started, context, namespace, kubeconfig)


app.command()(show.get)
app.command()(show.status)
app.command()(rollout_plan.plan)
app.command()(rollout_start.start)
for _verb in (
    verbs.promote,
    verbs.pause,
    verbs.resume,
    verbs.abort,
    verbs.retry,
    verbs.undo,
    verbs.approve,
):
    app.command()(_verb)
app.command()(show.history)
app.command()(rollout_lint.lint)
app.command()(rollout_simulate.simulate)
