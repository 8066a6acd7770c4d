"""`vedette scale get | set | schedule`: how many replicas a service has, why, and between which bounds."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, Json, errors, finite_option, print_json, print_table
from operators.cli.control_plane import ControlPlaneChoice, Name, Why, signed, with_control_plane

if TYPE_CHECKING:
    from operators.autoscaling.spec import ScalingSpec
    from operators.control.port import Control, Record, ServiceDocument

_STALE_S: Final = 30.0


@with_control_plane
def get(
    choice: ControlPlaneChoice,
    name: Name,
    as_json: Json = False,
) -> None:
    """Show the current and the wanted number of replicas, the bounds, and the reason."""
    control = choice.open()
    found = _shown(control, control.read(name), datetime.now(UTC))
    if as_json:
        print_json(found)
        return
    print_table(
        f"{name} in {control.where}", ("what", "is"), [(key, value) for key, value in found.items() if value is not None]
    )


@with_control_plane
def set_bounds(
    choice: ControlPlaneChoice,
    name: Name,
    minimum: Annotated[int | None, typer.Option("--min", help="Fewest replicas.")] = None,
    maximum: Annotated[int | None, typer.Option("--max", help="Most replicas.")] = None,
    target: Annotated[
        float | None, typer.Option(callback=finite_option, help="Target number of concurrent requests in one replica.")
    ] = None,
    replicas: Annotated[int | None, typer.Option(help="A fixed number; the service is then not scaled by load.")] = None,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Set the bounds of the number of replicas, or a fixed number. Your name and reason are recorded."""
    options = {"minReplicas": minimum, "maxReplicas": maximum, "targetOngoingRequests": target}
    given = {key: value for key, value in options.items() if value is not None}
    if (replicas is None) == (not given):
        raise CommandError("give --min, --max or --target, or --replicas alone for a fixed count")
    control = choice.open()
    by = control.who()
    control.read(name)

    def edit(before: "ServiceDocument | None") -> "ServiceDocument":
        return bounded(before or {}, given, replicas, by, why)

    control.change(name, edit)
    after = control.read(name).service.spec
    if as_json:
        scaling = None if after.scaling is None else after.scaling.model_dump(mode="json", by_alias=True)
        print_json({"service": name, "replicas": after.replicas, "scaling": scaling})
        return
    bounds = f"{after.scaling.min_replicas} to {after.scaling.max_replicas}" if after.scaling else str(after.replicas)
    errors.print(
        f"{name}: {bounds} replicas, set by {by}; {control.caution() or f'see: vedette scale get {name}'}", markup=False
    )


def bounded(
    document: "ServiceDocument", given: Mapping[str, Any], replicas: int | None, by: str, why: str
) -> "ServiceDocument":
    """The document with these bounds; other fields of its scaling stay. Raises CommandError if they contradict each other."""
    from pydantic import ValidationError

    from operators.autoscaling.spec import ScalingSpec
    from operators.values import words

    spec = dict(document.get("spec") or {})
    if replicas is not None:
        spec.pop("scaling", None)
        spec["replicas"] = replicas
    else:
        scaling = {**(spec.get("scaling") or {}), **given}
        try:
            ScalingSpec.model_validate(scaling)
        except ValidationError as problem:
            raise CommandError("; ".join(words(problem, "scaling"))) from problem
        spec.pop("replicas", None)
        spec["scaling"] = scaling
    return {**signed(document, by, why), "spec": spec}


@with_control_plane
def schedule(
    choice: ControlPlaneChoice,
    name: Name,
    as_json: Json = False,
) -> None:
    """Show the windows of the schedule: which are open, when the others open, and what each changes."""
    control = choice.open()
    spec = control.read(name).service.spec.scaling
    rows = [] if spec is None else windows(spec, datetime.now(UTC))
    if as_json:
        print_json(rows)
    elif not rows:
        errors.print(f"{name} has no windows; write them in spec.scaling.schedule", markup=False)
    else:
        print_table(f"{name} in {control.where}", tuple(rows[0]), [tuple(row.values()) for row in rows])


def windows(spec: "ScalingSpec", now: datetime) -> list[dict[str, object]]:
    """A row each, in the order of the spec."""
    from operators.autoscaling.schedule import opening

    rows: list[dict[str, object]] = []
    for window in spec.schedule:
        found = opening(window, now)
        rows.append(
            {
                "window": window.name,
                "open": found is not None and found.is_open(now),
                "opens": found.opens.isoformat(timespec="minutes") if found else "never again",
                "closes": found.closes.isoformat(timespec="minutes") if found else "",
                "minReplicas": window.min_replicas,
                "maxReplicas": window.max_replicas,
            }
        )
    return rows


def _shown(control: "Control", record: "Record", now: datetime) -> dict[str, Any]:
    from operators.autoscaling.schedule import bounds

    spec = record.service.spec
    view = _view(control, record.service.metadata.name)
    is_stale = view is not None and now - view.at > timedelta(seconds=_STALE_S)
    found: dict[str, Any] = {
        "current": view.ready if view is not None else (record.service.status.replicas or None),
        "wanted": view.decision.replicas if view is not None else spec.replicas,
        "least": None, "most": None, "why": None, "since": None,
    }  # fmt: skip
    if spec.scaling is None:
        count = "the backend's own number" if spec.replicas is None else f"{spec.replicas}, as spec.replicas says"
        found["why"] = f"not scaled by load: {count}; `vedette scale set {record.service.metadata.name} --max N` begins"
        return found
    by_time = bounds(spec.scaling, now)
    found |= {"least": by_time.lower, "most": by_time.upper}
    if view is not None:
        found |= {
            "least": view.decision.lower,
            "most": view.decision.upper,
            "why": view.decision.reason,
            "since": view.since.isoformat(),
        }
    else:
        found["why"] = "see the operator's events: kubectl describe modelservice " + record.service.metadata.name
    if is_stale:
        found["why"] = (
            f"the control loop has not looked since {view.at.isoformat()} (is `vedette up` running?); then: {found['why']}"
            if view
            else None
        )
    return found


def _view(control: "Control", name: str) -> Any:
    """The last decision of this machine's loop; a cluster's is in its events."""
    from operators.control.folder import ControlFolder
    from operators.control.scaling import read_view

    return read_view(control, name) if isinstance(control, ControlFolder) else None
