"""Which control plane a verb addresses: the store of this machine, or a cluster. Options and messages that the verbs share."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, errors, print_json
from operators.cli.store.store_option import AnyStoreDir, store_to_use

if TYPE_CHECKING:
    from operators.control.port import Control, ServiceDocument

Name = Annotated[str, typer.Argument(help="Name of the service.")]
Context = Annotated[str | None, typer.Option(help="Use the cluster of this kubeconfig context.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Use a cluster, with this namespace.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Use a cluster, with this kubeconfig.")]
Why = Annotated[str, typer.Option(help="Reason; recorded with your name in the history.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")]


@dataclass(frozen=True, slots=True)
class ControlPlaneChoice:
    """Which control plane the options of a command line name. prefers_cluster: the command began with `kubectl vedette`."""

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
        """These options; where one is missing, the one given before the verb."""
        return ControlPlaneChoice(
            self.store_dir,
            self.context or before.context,
            self.namespace or before.namespace,
            self.kubeconfig or before.kubeconfig,
            self.prefers_cluster or before.prefers_cluster,
        )

    def open(self) -> "Control":
        """The control plane. Raises CommandError, ControlError, StoreLayoutError."""
        if self.store_dir is not None and self._names_cluster:
            raise CommandError("give --store-dir, or the options of a cluster (--context, --namespace, --kubeconfig), not both")
        if self.is_cluster:
            from operators.control.cluster import connect

            return connect(context=self.context, namespace=self.namespace, kubeconfig=self.kubeconfig)
        from operators.control.folder import ControlFolder

        return ControlFolder(store_to_use(self.store_dir).resolve())


_group_choice: ContextVar[ControlPlaneChoice] = ContextVar("_group_choice", default=ControlPlaneChoice())  # noqa: B039 (frozen)
"""Options given before the verb. Not in click's own context: typer has a click of its own, whose current context has no public door."""

_OPTIONS: Final = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    for name, annotation in {
        "store_dir": AnyStoreDir,
        "context": Context,
        "namespace": Namespace,
        "kubeconfig": Kubeconfig,
    }.items()
)


def with_control_plane(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb a command: in place of its first parameter come the options --store-dir, --context, --namespace, --kubeconfig.

    They stand before --json, if the verb has that."""
    own = list(inspect.signature(verb).parameters.values())[1:]
    last = [p for p in own if p.name == "as_json"]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p not in last]
    parameters += [*_OPTIONS, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in last)]

    @functools.wraps(verb)
    def command(**options: Any) -> None:
        choice = ControlPlaneChoice(*(options.pop(option.name) for option in _OPTIONS)).or_else(_group_choice.get())
        if not choice.is_cluster:
            store_to_use(choice.store_dir)
        verb(choice, **options)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def verb_group(name: str, help_text: str, *, prefers_cluster: bool | None = None, **settings: Any) -> typer.Typer:
    """A group of verbs. Options of a cluster may stand before the verb, as kubectl's do; the verb's own win."""
    app = typer.Typer(no_args_is_help=True, **settings)

    def group(
        started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None
    ) -> None:
        before = _group_choice.get()
        prefers = before.prefers_cluster if prefers_cluster is None else prefers_cluster
        token = _group_choice.set(ControlPlaneChoice(None, context, namespace, kubeconfig, prefers).or_else(before))
        started.call_on_close(lambda: _group_choice.reset(token))

    group.__name__, group.__doc__ = name, help_text
    app.callback()(group)
    return app


def signed(document: "ServiceDocument | None", by: str, why: str) -> "ServiceDocument":
    """A copy of a document whose annotations say who changes it now, and why."""
    from operators.api.service_intent import CHANGE_CAUSE, CHANGED_BY
    from operators.control.port import annotations

    before = document or {}
    notes = {**annotations(before), CHANGED_BY: by, CHANGE_CAUSE: why}
    return {**before, "metadata": {**(before.get("metadata") or {}), "annotations": notes}}


def send_verb(
    control: "Control",
    name: str,
    verb: str,
    why: str,
    *,
    as_json: bool,
    args: dict[str, str] | None = None,
    by: str | None = None,
) -> None:
    """Send a verb, wait a moment until it is handled, and print the result. by: who says it; the person at this command line if None.

    Raises CommandError if it is refused, and ControlError."""
    from operators.control.verb_requests import refusal_of, request_of, wait_until_handled

    request = request_of(control, verb, why, args, by)
    earlier = control.read(name).status.moves
    control.ask(name, request)
    handled = wait_until_handled(control, name, request)
    refused = None if handled is None else refusal_of(handled, request, earlier)
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
        caution = control.caution() or "it has not been handled yet; `vedette rollout status` waits for the result"
        errors.print(f"{verb} {name}: sent by {request.by}; {caution}", markup=False)
        return
    status = handled.status
    message = f": {status.message}" if status.message else ""
    errors.print(f"{verb} {name}: handled; {status.phase}{message}", markup=False)
