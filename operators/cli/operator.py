"""`vedette operator`: run the operator (operators.handlers) from a terminal."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def operator() -> None:
    """Run the operator of a cluster, which rolls out ModelServices by their RolloutPolicies."""


@app.command()
def run(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig file (default: KUBECONFIG, then the pod's account).")
    ] = None,
    namespaces: Annotated[str, typer.Option(help="Watch only these namespaces, separated by commas.")] = "",
) -> None:
    """Run the operator until it gets a signal. All other options are settings; see the operator reference."""
    from operators.handlers.main import run as run_operator
    from operators.handlers.settings import OperatorSettings

    options = {"kubeconfig": kubeconfig, "namespaces": namespaces or None}
    settings = OperatorSettings().model_copy(update={k: v for k, v in options.items() if v is not None})
    sys.exit(run_operator(settings))
