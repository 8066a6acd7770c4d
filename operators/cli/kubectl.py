"""`kubectl vedette`: the plugin. The verbs of `vedette rollout`, also without the word `rollout`, and of `vedette experiment`; they
speak to the cluster of the current context."""

from operators.cli.control_plane import verb_group
from operators.cli.main import run_command
from operators.cli.rollout import app as rollout
from operators.cli.rollout import experiment
from operators.cli.scale import app as scale
from operators.cli.views import top

app = verb_group(
    "kubectl-vedette",
    "Roll out models, compare and scale them, in the cluster of the current context.",
    prefers_cluster=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(rollout.app, name="rollout")
app.add_typer(experiment.app, name="experiment")
app.add_typer(scale.app, name="scale")
app.command()(top.top)
app.registered_commands.extend(rollout.app.registered_commands)


def run() -> None:
    """Entry point of kubectl-vedette."""
    run_command(app)


if __name__ == "__main__":
    run()
