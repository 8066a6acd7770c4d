"""Which control plane a verb speaks to: the store of this machine, or a cluster. Options and messages that the verbs share."""

import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, errors, print_json

if TYPE_CHECKING:
    from operators.control.port import Control, Record
    from operators.rollout.status import VerbRequest

Name = Annotated[str, typer.Argument(help="Name of the service.")]
StoreDir = Annotated[Path | None, typer.Option(help="Store folder of this machine [default: VEDETTE_STORE_DIR or .vedette].")]
Context = Annotated[str | None, typer.Option(help="Speak to the cluster of this kubeconfig context.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Speak to a cluster: this namespace.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Speak to a cluster: this kubeconfig.")]
Why = Annotated[str, typer.Option(help="Reason; kept in the history with who said it.")]

_HANDLED_WITHIN_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class ControlPlaneChoice:
    """What a command line said about where to speak. prefers_cluster: it began with `kubectl vedette`."""

    store_dir: Path | None = None
    context: str | None = None
    namespace: str | None = None
    kubeconfig: Path | None = None
    prefers_cluster: bool = False

    @property
    def is_cluster(self) -> bool:
        """Whether a cluster is meant: an option of one was given, or this is `kubectl vedette` without a store folder."""
        if self.store_dir is not None:
            return False
        return self._names_cluster or self.prefers_cluster

    @property
    def _names_cluster(self) -> bool:
        return any(option is not None for option in (self.context, self.namespace, self.kubeconfig))

    def or_else(self, before: "ControlPlaneChoice") -> "ControlPlaneChoice":
        """What was said here, else what was said before it on the command line."""
        return ControlPlaneChoice(
            self.store_dir,
            self.context or before.context,
            self.namespace or before.namespace,
            self.kubeconfig or before.kubeconfig,
            self.prefers_cluster or before.prefers_cluster,
        )

    def open(self) -> "Control":
        """The control plane. Raises CommandError, ControlError."""
        if self.store_dir is not None and self._names_cluster:
            raise CommandError("give --store-dir, or the options of a cluster (--context, --namespace, --kubeconfig), not both")
        if self.is_cluster:
            from operators.control.cluster import connect

            return connect(context=self.context, namespace=self.namespace, kubeconfig=self.kubeconfig)
        from operators.control.folder import ControlFolder
        from serving.settings import ServingSettings

        return ControlFolder((self.store_dir or ServingSettings().store_dir).resolve())


_said_before: ContextVar[ControlPlaneChoice] = ContextVar("_said_before", default=ControlPlaneChoice())  # noqa: B039 (frozen)
"""What stood before the verb. Not in click's own context: typer has a click of its own, whose current context has no public door."""


def place_of(store_dir: Path | None, context: str | None, namespace: str | None, kubeconfig: Path | None) -> ControlPlaneChoice:
    """What a verb was told, and what was said before the verb."""
    return ControlPlaneChoice(store_dir, context, namespace, kubeconfig).or_else(_said_before.get())


def say_before(
    started: typer.Context,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    *,
    prefers_cluster: bool | None = None,
) -> None:
    """Options of a cluster that stand before the verb hold for it, as kubectl's do; the verb's own win."""
    before = _said_before.get()
    prefers = before.prefers_cluster if prefers_cluster is None else prefers_cluster
    token = _said_before.set(ControlPlaneChoice(None, context, namespace, kubeconfig, prefers).or_else(before))
    started.call_on_close(lambda: _said_before.reset(token))


def say(control: "Control", name: str, verb: str, why: str, *, as_json: bool, args: dict[str, str] | None = None) -> None:
    """Leave a verb, wait a moment for it to be handled, and say what came of it."""
    request = request_of(control, verb, why, args)
    control.ask(name, request)
    handled = wait_until_handled(control, name, request)
    refused = None if handled is None else refusal_of(handled, request)
    if refused is not None:
        raise CommandError(f"{verb} {name}: refused: {refused}")
    if as_json:
        state = handled.status if handled is not None else control.read(name).status
        print_json(
            {
                "service": name, "request": request.model_dump(mode="json", by_alias=True), "handled": handled is not None,
                "phase": state.phase, "message": state.message, "waitingFor": state.waiting_for,
            }
        )  # fmt: skip
        return
    if handled is None:
        caution = (
            control.caution() or "the operator has not handled it yet; `vedette rollout status` waits for what comes of it"
        )
        errors.print(f"{verb} {name}: said by {request.by}; {caution}", markup=False)
        return
    status = handled.status
    message = f": {status.message}" if status.message else ""
    errors.print(f"{verb} {name}: handled; {status.phase}{message}", markup=False)


def request_of(control: "Control", verb: str, why: str, args: dict[str, str] | None = None) -> "VerbRequest":
    """A request by the person at this command line, now."""
    from operators.rollout.status import VerbRequest

    return VerbRequest.model_validate(
        {
            "id": secrets.token_hex(8), "verb": verb, "by": control.who(), "why": why,
            "at": datetime.now(UTC), "args": args or {},
        }
    )  # fmt: skip


def wait_until_handled(control: "Control", name: str, request: "VerbRequest") -> "Record | None":
    """The service once the request was handled; None if that takes too long."""
    if control.caution() is not None:
        return None
    until = time.monotonic() + _HANDLED_WITHIN_S
    while time.monotonic() < until:
        record = control.read(name)
        if request.id in record.status.handled:
            return record
        time.sleep(_POLL_S)
    return None


def refusal_of(record: "Record", request: "VerbRequest") -> str | None:
    """Why a handled request was refused; None if it was not."""
    for move in reversed(record.status.moves):
        if move.at >= request.at and move.by == request.by and move.move == f"refuse {request.verb}":
            return move.reason
    return None
