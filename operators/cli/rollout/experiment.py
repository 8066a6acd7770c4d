"""`vedette experiment`: A/B tests. Named variants side by side for a while, and a report of who won; promotes nothing by itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, page, print_json
from operators.cli.control_plane import (
    Context,
    ControlPlaneChoice,
    Kubeconfig,
    Name,
    Namespace,
    StoreDir,
    Why,
    place_of,
    say,
    say_before,
)

if TYPE_CHECKING:
    from operators.control.port import ServiceDocument

app = typer.Typer(no_args_is_help=True)


@app.callback()
def experiment(
    started: typer.Context, context: Context = None, namespace: Namespace = None, kubeconfig: Kubeconfig = None
) -> None:
    """Compare named variants on live traffic, and report a winner with its interval."""
    say_before(started, context, namespace, kubeconfig)


@app.command()
def start(
    name: Name,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="NAME:WEIGHT[:VERSION], at least two; the first is the baseline; no version: what is stable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The experiment as YAML, with all its fields, instead of --variant.")
    ] = None,
    duration: Annotated[str, typer.Option(help="How long it runs, e.g. 7d.")] = "7d",
    metric: Annotated[str, typer.Option(help="What the winner is judged by: a gate's name.")] = "alertRate",
    goal: Annotated[str, typer.Option(help="Which way is better: lower or higher.")] = "lower",
    why: Why = "",
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Ask for an experiment; it begins once every replica has every variant."""
    place = place_of(store_dir, context, namespace, kubeconfig)
    control = place.open()
    record = control.read(name)
    if file is not None:
        spec = _from_file(file)
    else:
        variants = [_variant(v, place, record.ref.model) for v in variant or ()]
        spec = {"variants": variants, "duration": duration, "metric": metric, "goal": goal}
    if record.status.phase == "Aborted":
        raise CommandError(
            f"the last rollout of {name} was aborted and the spec still asks for its candidate; settle that first: "
            f"vedette rollout start {name} --version {record.status.stable.version if record.status.stable else 'VERSION'}"
        )
    by = control.who()

    def edit(before: "ServiceDocument | None") -> "ServiceDocument":
        from operators.control.port import CHANGE_CAUSE, CHANGED_BY, annotations

        document = before or {}
        said = {**annotations(document), CHANGED_BY: by, CHANGE_CAUSE: why}
        metadata = {**(document.get("metadata") or {}), "annotations": said}
        return {**document, "metadata": metadata, "spec": {**document["spec"], "experiment": _checked(spec)}}

    control.change(name, edit)
    if as_json:
        print_json({"service": name, "experiment": spec, "where": control.where, "caution": control.caution()})
        return
    errors.print(control.caution() or f"{name}: asked for; watch it: vedette experiment get {name} -w", markup=False)


@app.command()
def get(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Where an experiment stands: split, guards, intervals so far."""
    from operators.cli.rollout import show

    show.get(name, watch, store_dir, context, namespace, kubeconfig, as_json)


@app.command()
def report(
    name: Name,
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """What the experiment under way, or else the last one, shows: each variant's rate, its difference to the baseline, the winner."""
    record = place_of(store_dir, context, namespace, kubeconfig).open().read(name)
    found = record.status.report
    if found is None and record.service.spec.experiment is not None:
        waits_for = record.problem or record.status.waiting_for or "whoever runs the rollouts to begin it"
        raise CommandError(
            f"the experiment of service {name!r} has not begun, so it has no report yet; it waits for {waits_for}: see "
            f"`vedette experiment get {name}`"
        )
    if found is None:
        raise CommandError(f"service {name!r} has had no experiment; `vedette experiment start {name}` begins one")
    if as_json:
        print_json(found.model_dump(mode="json", by_alias=True))
        return
    from operators.cli.rollout.experiment_view import report_panel

    page().print(report_panel(found, datetime.now(UTC)))


@app.command()
def conclude(
    name: Name,
    why: Why = "",
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """End an experiment now: stable serves everybody, the report stays."""
    say(place_of(store_dir, context, namespace, kubeconfig).open(), name, "conclude", why, as_json=as_json)


def _variant(text: str, place: ControlPlaneChoice, model: str) -> dict[str, Any]:
    parts = text.split(":")
    try:
        variant: dict[str, Any] = {"name": parts[0], "weight": float(parts[1])}
    except (IndexError, ValueError) as problem:
        raise CommandError(f"--variant {text!r}: expected NAME:WEIGHT[:VERSION], e.g. challenger:50:2") from problem
    if len(parts) > 2:
        if place.is_cluster:
            raise CommandError("a cluster's store is not here: give the experiment as --file, with digests of the bundles")
        from operators.cli.rollout.start import bundle_of

        found = bundle_of(place.store_dir, model, parts[2])
        variant["revision"] = {"version": found.manifest.version, "bundle": found.digest}
    return variant


def _from_file(path: Path) -> dict[str, Any]:
    from operators.cli.documents import read_document

    return read_document(path, "an experiment: variants, duration, metric, goal")


def _checked(spec: dict[str, Any]) -> dict[str, Any]:
    """The experiment as it was written, once it is known to hold."""
    from pydantic import ValidationError

    from operators.rollout.spec import ExperimentSpec, words

    try:
        ExperimentSpec.model_validate(spec)
    except ValidationError as problem:
        raise CommandError("; ".join(words(problem, "experiment"))) from problem
    return spec
