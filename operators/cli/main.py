"""The `vedette` command: its verbs, each a module of this package, and how errors are printed.

Heavy libraries are imported by the verbs that need them, when they run."""

import importlib.metadata
import os
import sys
from typing import Annotated

import typer

from operators.cli import conform, explain, lineage, operator, up
from operators.cli.access import keys as access_keys
from operators.cli.access import policy as access_policy
from operators.cli.audit import app as audit
from operators.cli.batch import batch
from operators.cli.capacity import capacity
from operators.cli.console import errors, is_expected, message_of
from operators.cli.demo import app as demo
from operators.cli.gate import gate
from operators.cli.labels import app as labels
from operators.cli.models import bundle, bundle_explanation, compare, evaluate, features, listing, score, train
from operators.cli.monitoring import drift, monitor, performance
from operators.cli.pipeline import app as pipeline
from operators.cli.pipeline import data
from operators.cli.registry import app as registry
from operators.cli.report import app as report
from operators.cli.retraining import app as retraining
from operators.cli.risk import app as risk
from operators.cli.rollout import app as rollout
from operators.cli.rollout import experiment
from operators.cli.rules import app as rules
from operators.cli.scale import app as scale
from operators.cli.sinks import app as sinks
from operators.cli.store import app as store
from operators.cli.stream import app as stream
from operators.cli.suppressions import app as suppressions
from operators.cli.views import console, top

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
_SERVING, _MODELS, _ROLLOUTS, _RULES, _EVIDENCE = (
    "Serving", "Models and features", "Rollouts and scaling", "Rules", "Evidence"
)  # fmt: skip
app.command(rich_help_panel=_SERVING)(up.up)
app.command(rich_help_panel=_SERVING)(console.console)
app.command(rich_help_panel=_SERVING)(top.top)
app.command(rich_help_panel=_SERVING)(score.score)
app.command(rich_help_panel=_SERVING)(batch.batch)
app.command(rich_help_panel=_SERVING)(conform.conform)
app.add_typer(stream.app, name="stream", rich_help_panel=_SERVING)
app.add_typer(demo.app, name="demo", rich_help_panel=_SERVING)
app.add_typer(sinks.app, name="sinks", rich_help_panel=_SERVING)
app.add_typer(store.app, name="store", rich_help_panel=_SERVING)
app.add_typer(access_policy.app, name="access", rich_help_panel=_SERVING)
app.add_typer(access_keys.app, name="keys", rich_help_panel=_SERVING)
app.command(rich_help_panel=_MODELS)(listing.models)
app.add_typer(data.app, name="data", rich_help_panel=_MODELS)
app.add_typer(pipeline.app, name="pipeline", rich_help_panel=_MODELS)
app.command(rich_help_panel=_MODELS)(train.train)
app.command(rich_help_panel=_MODELS)(evaluate.evaluate)
app.command(rich_help_panel=_MODELS)(compare.compare)
app.command(rich_help_panel=_MODELS)(gate.gate)
app.add_typer(bundle.app, name="bundle", rich_help_panel=_MODELS)
bundle.app.command("explain")(bundle_explanation.explain)
app.add_typer(registry.app, name="registry", rich_help_panel=_MODELS)
app.add_typer(features.app, name="features", rich_help_panel=_MODELS)
app.add_typer(retraining.app, name="retrain", rich_help_panel=_MODELS)
app.add_typer(rollout.app, name="rollout", rich_help_panel=_ROLLOUTS)
app.add_typer(experiment.app, name="experiment", rich_help_panel=_ROLLOUTS)
app.add_typer(scale.app, name="scale", rich_help_panel=_ROLLOUTS)
app.add_typer(operator.app, name="operator", rich_help_panel=_ROLLOUTS)
app.command(rich_help_panel=_ROLLOUTS)(capacity.capacity)
app.add_typer(rules.app, name="rules", rich_help_panel=_RULES)
app.add_typer(suppressions.app, name="suppressions", rich_help_panel=_RULES)
app.command(rich_help_panel=_EVIDENCE)(explain.explain)
app.add_typer(lineage.app, name="lineage", rich_help_panel=_EVIDENCE)
app.add_typer(report.app, name="report", rich_help_panel=_EVIDENCE)
app.command(rich_help_panel=_EVIDENCE)(drift.drift)
app.add_typer(labels.app, name="label", rich_help_panel=_EVIDENCE)
app.add_typer(risk.app, name="risk", rich_help_panel=_EVIDENCE)
app.add_typer(audit.app, name="audit", rich_help_panel=_EVIDENCE)
app.add_typer(monitor.app, name="monitor", rich_help_panel=_EVIDENCE)
app.command(rich_help_panel=_EVIDENCE)(performance.performance)


@app.callback(invoke_without_command=True)
def vedette(is_version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Serve threat-detection models: verdicts with their evidence."""
    if is_version:
        typer.echo(importlib.metadata.version("vedette"))
        raise typer.Exit


def run() -> None:
    """Entry point of vedette."""
    run_command(app)


def run_command(command: typer.Typer) -> None:
    """Run a command line. A known error prints one message and exits with 1; any other keeps its traceback."""
    try:
        command()
    except Exception as problem:
        if not is_expected(problem) or os.environ.get("VEDETTE_LOG_LEVEL") == "debug":
            raise
        errors.print(f"[red]vedette:[/] {message_of(problem)}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
