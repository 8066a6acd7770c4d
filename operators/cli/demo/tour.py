"""`vedette demo tour`: a tour on a temporary store, with the commands that a person would type."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from operators.cli.console import CommandError, errors
from operators.cli.demo.server import environment, running_server


def tour() -> None:
    """Train on generated flows, serve, ask over HTTP, check the protocol, evaluate. Everything is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") as folder:
        store = ["--store-dir", folder]
        _step("train a detector on generated flows", ["train", "flows", *store])
        _step("what the store holds now", ["models", *store])
        errors.print("\n[bold]serve it[/]\n[dim]$ vedette up[/]")
        with running_server(Path(folder)) as running:
            _step("ask it over HTTP", running["curl"].split(), program=None)
            _step("is it an Open Inference Protocol server?", ["conform", "--http", running["http"], "--grpc", running["grpc"]])
        _step("how good is it, at each operating point?", ["evaluate", "flows"])
    errors.print("\n[bold green]the tour is over[/]; `make up` serves for good")


def _step(
    title: str, arguments: Sequence[str], program: Sequence[str] | None = (sys.executable, "-m", "operators.cli.main")
) -> None:
    shown = " ".join(arguments if program is None else ["vedette", *arguments])
    errors.print(f"\n[bold]{title}[/]\n[dim]$ {shown}[/]")
    done = subprocess.run([*(program or ()), *arguments], check=False, env=environment())
    if done.returncode != 0:
        raise CommandError(f"`{shown}` ended with status {done.returncode}; its message is above")
    sys.stdout.write("\n")
    sys.stdout.flush()
