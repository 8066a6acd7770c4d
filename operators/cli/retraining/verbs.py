"""`vedette retrain check | run`: shows what the policy of a model decides now, and carries it out."""

import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.acts import now_us
from operators.cli.console import CommandError, Json, errors, is_expected, message_of, progress
from operators.cli.control_plane import ControlPlaneChoice, with_control_plane
from operators.cli.models.evaluate import TestFile
from operators.cli.models.train import DataDir, DataFile

if TYPE_CHECKING:
    from lifecycle.retraining.policy import RetrainingPolicy
    from lifecycle.retraining.surroundings import Surroundings

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the service that serves the model.")]
PolicyFile = Annotated[Path, typer.Option("--policy", help="The retraining policy, a YAML file.")]


@with_control_plane
def check(choice: ControlPlaneChoice, name: Model, policy: PolicyFile, as_json: Json = False) -> None:
    """Show what the policy would do now, and why. Changes nothing."""
    from lifecycle.retraining.policy import read_policy
    from lifecycle.retraining.run import check as look
    from operators.cli.retraining.adapters import BaseData, surroundings
    from operators.cli.retraining.view import show_decision

    read = read_policy(policy)
    at = surroundings(choice, name, BaseData(), beside=policy.parent)
    show_decision(at.model, look(at, read, now_us()), as_json=as_json)


@with_control_plane
def run(
    choice: ControlPlaneChoice,
    name: Model,
    policy: PolicyFile,
    data: DataFile = None,
    data_dir: DataDir = None,
    test: TestFile = None,
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Look again and again until Ctrl-C, or look once (the default).")
    ] = False,
    every: Annotated[str, typer.Option(help="With --follow: time between looks, e.g. 60s.")] = "60s",
    as_json: Json = False,
) -> None:
    """Do what the policy decides now: train, challenge the champion, request a rollout. Continues a run that was killed."""
    from lifecycle.retraining.policy import read_policy
    from operators.cli.retraining.adapters import BaseData, surroundings

    read, pause_s = read_policy(policy), _pause_s(every)
    stopping = Event()
    if follow:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
    with progress() as display:
        task = display.add_task("looking", total=100)

        def tell(what: str, share: float) -> None:
            display.update(task, description=what, completed=round(share * 100))

        at = surroundings(choice, name, BaseData(data, data_dir, test), beside=policy.parent, tell=tell)
        printed = _look(at, read, None, as_json=as_json)
        while follow and not stopping.wait(pause_s):
            printed = _look_or_say(at, read, printed, as_json=as_json, again=every)


def _pause_s(every: str) -> float:
    from operators.values import parse_duration

    try:
        pause_s = parse_duration(every).total_seconds()
    except ValueError as problem:
        raise CommandError(f"--every {problem}") from problem
    if pause_s < 1:
        raise CommandError(f"--every {every}: is less than a second; write e.g. 60s")
    return pause_s


def _look_or_say(at: "Surroundings", policy: "RetrainingPolicy", printed: str | None, *, as_json: bool, again: str) -> str:
    """One look. What it fails by is printed once, and the next look tries again: a disk has room again, a control plane is back."""
    try:
        return _look(at, policy, printed, as_json=as_json)
    except Exception as problem:
        if not is_expected(problem):
            raise
        words = message_of(problem)
        if words != printed:
            errors.print(f"[red]vedette:[/] {words}; looks again in {again}", soft_wrap=True)
        return words


def _look(at: "Surroundings", policy: "RetrainingPolicy", printed: str | None, *, as_json: bool) -> str:
    """One look; what it came to is printed unless it was said before."""
    from lifecycle.retraining.run import advance
    from operators.cli.retraining.view import show_look

    look = advance(at, policy, now_us())
    if look.words != printed:
        show_look(at.model, look, as_json=as_json)
    return look.words
