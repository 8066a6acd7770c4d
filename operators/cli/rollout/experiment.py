"""`vedette experiment`: A/B tests. Named variants serve side by side for a while; a report names the winner. Nothing is promoted."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, finite, page, print_json
from operators.cli.control_plane import (
    ControlPlaneChoice,
    Name,
    WatchOption,
    Why,
    send_verb,
    signed,
    verb_group,
    with_control_plane,
)

if TYPE_CHECKING:
    from operators.control.port import ServiceDocument

app = verb_group("experiment", "Compare named variants on live traffic, and report a winner with its interval.")


@app.command()
@with_control_plane
def start(
    choice: ControlPlaneChoice,
    name: Name,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME:WEIGHT[:VERSION], at least two; the first is the baseline. Without a version: the stable revision."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The experiment as YAML, with all its fields, instead of --variant.")
    ] = None,
    duration: Annotated[str | None, typer.Option(help="How long it runs, e.g. 12h (default: 7d).")] = None,
    metric: Annotated[str | None, typer.Option(help="Gate that chooses the winner (default: alertRate).")] = None,
    goal: Annotated[str | None, typer.Option(help="Better direction: lower or higher (default: lower).")] = None,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Request an experiment. It begins when every replica has loaded every variant."""
    options = {"--variant": variant, "--duration": duration, "--metric": metric, "--goal": goal}
    if file is not None and (given := [option for option, value in options.items() if value]):
        raise CommandError(f"{given[0]} and --file exclude each other: the file has all fields of the experiment")
    control = choice.open()
    record = control.read(name)
    if file is not None:
        spec = _from_file(file)
    else:
        variants = [_variant(v, choice, record.ref.model) for v in variant or ()]
        spec = {"variants": variants, "duration": duration or "7d", "metric": metric or "alertRate", "goal": goal or "lower"}
    if record.status.phase == "Aborted":
        raise CommandError(
            f"the last rollout of {name} was aborted and the spec still asks for its candidate; first ask for the stable version: "
            f"vedette rollout start {name} --version {record.status.stable.version if record.status.stable else 'VERSION'}"
        )
    by = control.who()

    def edit(before: "ServiceDocument | None") -> "ServiceDocument":
        document = signed(before, by, why)
        return {**document, "spec": {**document["spec"], "experiment": _checked(spec)}}

    control.change(name, edit)
    if as_json:
        print_json({"service": name, "experiment": spec, "where": control.where, "caution": control.caution()})
        return
    errors.print(control.caution() or f"{name}: asked for; watch it: vedette experiment get {name} -w", markup=False)


@app.command()
@with_control_plane
def get(choice: ControlPlaneChoice, name: Name, watch: WatchOption = False, as_json: Json = False) -> None:
    """Show the state of an experiment: split, guards, intervals so far."""
    from operators.cli.rollout.show import show_services

    show_services(choice.open(), name, watch=watch, as_json=as_json)


@app.command()
@with_control_plane
def report(
    choice: ControlPlaneChoice,
    name: Name,
    as_json: Json = False,
) -> None:
    """Report on the running experiment, or the last one: each variant's rate, its difference to the baseline, the winner."""
    record = choice.open().read(name)
    found = record.status.report
    if found is None and record.service.spec.experiment is not None:
        waits_for = record.problem or record.status.waiting_for or "the control loop to begin it"
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
@with_control_plane
def conclude(
    choice: ControlPlaneChoice,
    name: Name,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """End an experiment now. Stable gets all traffic, and the report is kept."""
    send_verb(choice.open(), name, "conclude", why, as_json=as_json)


def _variant(text: str, choice: ControlPlaneChoice, model: str) -> dict[str, Any]:
    parts = text.split(":")
    try:
        variant: dict[str, Any] = {"name": parts[0], "weight": finite(parts[1])}
    except (IndexError, ValueError) as problem:
        raise CommandError(f"--variant {text!r}: expected NAME:WEIGHT[:VERSION], e.g. challenger:50:2") from problem
    if len(parts) > 2:
        if choice.is_cluster:
            raise CommandError("the store of a cluster cannot be read from here: give --file, with the bundles' digests")
        from operators.cli.rollout.start import bundle_of

        found = bundle_of(choice.store_dir, model, parts[2])
        variant["revision"] = {"version": found.manifest.version, "bundle": found.digest}
    return variant


def _from_file(path: Path) -> dict[str, Any]:
    from operators.cli.documents import read_document

    return read_document(path, "an experiment: variants, duration, metric, goal")


def _checked(spec: dict[str, Any]) -> dict[str, Any]:
    """The same experiment. Raises CommandError if it is not valid."""
    from pydantic import ValidationError

    from operators.rollout.spec import ExperimentSpec
    from operators.values import words

    try:
        ExperimentSpec.model_validate(spec)
    except ValidationError as problem:
        raise CommandError("; ".join(words(problem, "experiment"))) from problem
    return spec
