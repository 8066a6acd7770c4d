"""`vedette operator`: run the operator from a terminal. What it does is operators.handlers'."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def operator() -> None:
    """The operator of a cluster: carries out ModelServices by their RolloutPolicies."""


@app.command()
def run(
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file; else KUBECONFIG, else the pod's account.")] = None,
    namespaces: Annotated[str, typer.Option(help="Look after these namespaces only, separated by commas.")] = "",
) -> None:
    """Run it until a signal. Everything else is a setting; the reference of the operator has them all."""
    from operators.handlers.main import run as run_operator
    from operators.handlers.settings import OperatorSettings

    said = {"kubeconfig": kubeconfig, "namespaces": namespaces or None}
    settings = OperatorSettings().model_copy(update={k: v for k, v in said.items() if v is not None})
    sys.exit(run_operator(settings))
