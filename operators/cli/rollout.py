"""`vedette rollout`: the verbs of a rollout, the same here and in a cluster. Each verb is a function of a module beside this one."""

import typer

from operators.cli import rollout_lint, rollout_plan, rollout_show, rollout_simulate, rollout_start, rollout_verbs
from operators.cli.place import Context, Kubeconfig, Namespace, say_before

app = typer.Typer(no_args_is_help=True)


@app.callback()
def rollout(
    started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None
) -> None:
    """Change the model without anyone getting hurt: plan, start, watch, promote, abort, undo."""
    say_before(started, context, namespace, kubeconfig)


app.command()(rollout_show.get)
app.command()(rollout_show.status)
app.command()(rollout_plan.plan)
app.command()(rollout_start.start)
for _verb in (
    rollout_verbs.promote,
    rollout_verbs.pause,
    rollout_verbs.resume,
    rollout_verbs.abort,
    rollout_verbs.retry,
    rollout_verbs.undo,
    rollout_verbs.approve,
):
    app.command()(_verb)
app.command()(rollout_show.history)
app.command()(rollout_lint.lint)
app.command()(rollout_simulate.simulate)
