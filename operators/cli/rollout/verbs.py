"""What people say to a rollout under way. Each verb leaves a request with who and why; whoever runs the rollout decides and acts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json
from operators.cli.control_plane import Context, Kubeconfig, Name, Namespace, StoreDir, Why, place_of, say

if TYPE_CHECKING:
    from operators.control.port import Control


def promote(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Skip every remaining step and analysis.")] = False,
    why: Why = "",
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Go on to the next step, whatever this one waits for."""
    control = place_of(store_dir, context, namespace, kubeconfig).open()
    say(control, name, "promote-full" if full else "promote", why, as_json=as_json, args=meant(control, name))


def _verb(verb: str, says: str) -> Callable[..., None]:
    """A command that leaves one verb and needs no more than who and why."""

    def command(
        name: Name,
        why: Why = "",
        store_dir: StoreDir = None,
        context: Context = None,
        namespace: Namespace = None,
        kubeconfig: Kubeconfig = None,
        as_json: Json = False,
    ) -> None:
        say(place_of(store_dir, context, namespace, kubeconfig).open(), name, verb, why, as_json=as_json)

    command.__name__, command.__doc__ = verb, says
    return command


pause = _verb("pause", "Hold the rollout where it is; evidence is still gathered, and a worse candidate is still aborted.")
resume = _verb("resume", "End a pause.")
abort = _verb("abort", "Give all traffic back to stable, at once.")
retry = _verb("retry", "Start an aborted rollout anew, from its first step, with fresh evidence.")
undo = _verb("undo", "Make the former stable serve everybody again; immediate within the rollback window.")


def approve(
    name: Name,
    why: Why = "",
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Say yes to the approval step under way."""
    control = place_of(store_dir, context, namespace, kubeconfig).open()
    groups = control.groups()
    args = {**meant(control, name), **({"groups": ",".join(groups)} if groups else {})}
    say(control, name, "approve", why, as_json=as_json, args=args)


def meant(control: "Control", name: str) -> dict[str, str]:
    """The revision and step that are said yes to: if either is another by the time it is heard, it does not count."""
    status = control.read(name).status
    if not status.is_under_way or status.candidate is None:
        return {}
    return {"revision": status.candidate.digest, "step": str(status.step_index + 1)}
