"""`kubectl vedette`: the plugin. The verbs of `vedette rollout`, also without the word `rollout`, and of `vedette experiment`; they
speak to the cluster of the current context."""

import typer

from operators.cli.control_plane import Context, Kubeconfig, Namespace, say_before
from operators.cli.main import ending
from operators.cli.rollout import app as rollout
from operators.cli.rollout import experiment
from operators.cli.scale import app as scale

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback()
def kubectl_vedette(
    started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None
) -> None:
    """Roll out models, compare them, scale them: in the cluster of the current context."""
    say_before(started, context, namespace, kubeconfig, prefers_cluster=True)


app.add_typer(rollout.app, name="rollout")
app.add_typer(experiment.app, name="experiment")
app.add_typer(scale.app, name="scale")
app.registered_commands.extend(rollout.app.registered_commands)


def run() -> None:
    """Entry point of kubectl-vedette."""
    ending(app)


if __name__ == "__main__":
    run()
