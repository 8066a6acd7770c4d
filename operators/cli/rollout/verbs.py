"""Verbs for a rollout under way. Each leaves a request with who and why; the control loop decides and acts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json
from operators.cli.control_plane import ControlPlaneChoice, Name, Why, send_verb, with_control_plane

if TYPE_CHECKING:
    from operators.control.port import Control


@with_control_plane
def promote(
    choice: ControlPlaneChoice,
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Skip every remaining step and analysis.")] = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Go on to the next step without waiting for the end of this one."""
    control = choice.open()
    send_verb(control, name, "promote-full" if full else "promote", why, as_json=as_json, args=expected_step(control, name))


def _verb(verb: str, help_text: str) -> Callable[..., None]:
    """A command that sends one verb without arguments."""

    def command(choice: ControlPlaneChoice, name: Name, why: Why = "", as_json: Json = False) -> None:
        send_verb(choice.open(), name, verb, why, as_json=as_json)

    command.__name__, command.__doc__ = verb, help_text
    return with_control_plane(command)


pause = _verb("pause", "Hold the rollout where it is. Evidence is still gathered, and a worse candidate is still aborted.")
resume = _verb("resume", "End a pause.")
abort = _verb("abort", "Give all traffic back to stable at once.")
retry = _verb("retry", "Start an aborted rollout again from its first step, with fresh evidence.")
undo = _verb("undo", "Make the former stable serve everybody again; immediate within the rollback window.")


@with_control_plane
def approve(choice: ControlPlaneChoice, name: Name, why: Why = "", as_json: Json = False) -> None:
    """Approve the approval step under way."""
    control = choice.open()
    groups = control.groups()
    args = {**expected_step(control, name), **({"groups": ",".join(groups)} if groups else {})}
    send_verb(control, name, "approve", why, as_json=as_json, args=args)


def expected_step(control: "Control", name: str) -> dict[str, str]:
    """The revision and step that the person saw. The verb is refused if the rollout is at another one when it is handled."""
    status = control.read(name).status
    if not status.is_under_way or status.candidate is None:
        return {}
    return {"revision": status.candidate.digest, "step": str(status.step_index + 1)}
