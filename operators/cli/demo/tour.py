"""`vedette demo tour`: a tour on a throw-away store, with the very commands a person would type."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from operators.cli.console import CommandError, errors


def tour() -> None:
    """Train on generated flows, serve, ask over HTTP, check the protocol, evaluate. Everything is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") as folder:
        store = ["--store-dir", folder]
        _step("train a detector on generated flows", ["train", "flows", *store])
        _step("what the store holds now", ["models", *store])
        with _served(folder) as running:
            _step("ask it over HTTP", running["curl"].split(), program=None)
            _step("is it an Open Inference Protocol server?", ["conform", "--http", running["http"], "--grpc", running["grpc"]])
        _step("how good is it, at each operating point?", ["evaluate", "flows"])
    errors.print("\n[bold green]the tour is over[/]; `make up` serves for good")


def _step(
    title: str, arguments: Sequence[str], program: Sequence[str] | None = (sys.executable, "-m", "operators.cli.main")
) -> None:
    shown = " ".join(arguments if program is None else ["vedette", *arguments])
    errors.print(f"\n[bold]{title}[/]\n[dim]$ {shown}[/]")
    done = subprocess.run([*(program or ()), *arguments], check=False, env=_environment())
    if done.returncode != 0:
        raise CommandError(f"`{shown}` ended with status {done.returncode}; its message is above")
    sys.stdout.write("\n")
    sys.stdout.flush()


@contextmanager
def _served(folder: str) -> Iterator[dict[str, str]]:
    errors.print("\n[bold]serve it[/]\n[dim]$ vedette up[/]")
    command = [
        sys.executable,
        "-m",
        "operators.cli.main",
        "up",
        "--store-dir",
        folder,
        "--http-port",
        "0",
        "--grpc-port",
        "0",
        "--json",
    ]
    with (Path(folder) / "up.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
        try:
            yield _ready(process, Path(log.name))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _ready(process: "subprocess.Popen[str]", log: Path) -> dict[str, str]:
    body = ""
    if process.stdout is not None:
        for line in process.stdout:
            body += line
            if line.startswith("}"):
                answer: dict[str, str] = json.loads(body)
                return answer
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise CommandError(f"`vedette up` ended before it was ready:\n{tail}")


def _environment() -> dict[str, str]:
    """No setting of the caller's, who may have a store, ports and a Redis in use, and no real data."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}
