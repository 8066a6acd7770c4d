"""`vedette rollout start`: ask for another revision of a model. What that leads to is the rollout's own business."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, finite, print_json
from operators.cli.control_plane import Context, ControlPlaneChoice, Kubeconfig, Name, Namespace, StoreDir, Why, place_of

if TYPE_CHECKING:
    from operators.control.port import Control, ServiceDocument
    from serving.models.bundle import Bundle


def start(
    name: Name,
    version: Annotated[str | None, typer.Option(help="Model version that should serve [default: the newest].")] = None,
    bundle: Annotated[str | None, typer.Option(help="Digest of its bundle [default: the store's, of this version].")] = None,
    operating_point: Annotated[str | None, typer.Option(help="Scenario that decides [default: the bundle's].")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="POINT=VALUE: replaces a threshold of the bundle; may be said again.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Steps: a file with a RolloutPolicy, or the name of one that is there.")
    ] = None,
    why: Why = "",
    store_dir: StoreDir = None,
    context: Context = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Ask for a revision: a new one is rolled out step by step, the first one of a service is served at once."""
    place = place_of(store_dir, context, namespace, kubeconfig)
    control = place.open()
    revision = _revision(place, name, version, bundle)
    if operating_point is not None:
        revision["operatingPoint"] = operating_point
    if threshold:
        revision["thresholds"] = dict(threshold_of(t) for t in threshold)
    steps = None if policy is None else _policy(policy)

    def edit(before: "ServiceDocument | None") -> "ServiceDocument":
        return started(before, name, revision, steps, control.who(), why)

    aborted = _aborted(control, name, revision)
    if aborted:
        raise CommandError(
            f"{name}: this very revision was aborted ({aborted}); it is not tried again by itself. Try it again with "
            f"`vedette rollout retry {name}`, or ask for another"
        )
    control.change(name, edit)
    caution = control.caution()
    if as_json:
        print_json({"service": name, "revision": revision, "where": control.where, "caution": caution})
        return
    errors.print(f"{name}: version {revision['version']} asked for in {control.where}", markup=False)
    errors.print(caution or f"watch it: vedette rollout get {name} -w", markup=False)


def _aborted(control: "Control", name: str, revision: dict[str, Any]) -> str | None:
    """Why this revision was aborted, if it is the one the service stands at; None otherwise."""
    from operators.control.port import NoSuchService
    from operators.rollout.spec import Revision
    from operators.rollout.status import Phase

    try:
        status = control.read(name).status
    except NoSuchService:
        return None
    is_same = status.aborted_revision == Revision.model_validate(revision).digest
    return (status.message or "no reason was kept") if status.phase is Phase.ABORTED and is_same else None


def started(
    before: "ServiceDocument | None", name: str, revision: dict[str, Any], steps: dict[str, Any] | None, by: str, why: str
) -> "ServiceDocument":
    """The document with this revision. Fields of the spec that are not said stay as they were."""
    from operators.api.types import API_VERSION
    from operators.control.port import CHANGE_CAUSE, CHANGED_BY, annotations

    document = before or {"apiVersion": API_VERSION, "kind": "ModelService", "metadata": {"name": name}}
    said = {**annotations(document), CHANGED_BY: by, CHANGE_CAUSE: why}
    spec = {**(document.get("spec") or {}), "revision": revision}
    if steps is not None:
        spec["rollout"] = steps
    return {**document, "metadata": {**document["metadata"], "annotations": said}, "spec": spec}


def _revision(place: ControlPlaneChoice, name: str, version: str | None, bundle: str | None) -> dict[str, Any]:
    if bundle is not None and version is not None:
        return {"version": version, "bundle": bundle}
    if place.is_cluster:
        raise CommandError("a cluster's store is not here: give --version and --bundle (`vedette models` prints digests)")
    found = bundle_of(place.store_dir, _model(place, name), version, bundle)
    return {"version": found.manifest.version, "bundle": found.digest}


def bundle_of(store_dir: Path | None, model: str, version: str | None, digest: str | None = None) -> "Bundle":
    """A bundle of this machine's store, by digest or version; the newest by default. Raises ModelError."""
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    store = BundleStore(store_dir or ServingSettings().store_dir)
    return store.read(digest) if digest is not None else store.resolve(model, version)


def _model(place: ControlPlaneChoice, name: str) -> str:
    """The model that a service serves: its own name unless its document says another."""
    from operators.control.port import NoSuchService

    try:
        return place.open().read(name).ref.model
    except NoSuchService:
        return name


def threshold_of(text: str) -> tuple[str, float]:
    """`POINT=VALUE` as an operating point and its threshold. Raises CommandError."""
    point, _, value = text.partition("=")
    try:
        return point, finite(value)
    except ValueError as problem:
        raise CommandError(
            f"--threshold {text!r}: expected POINT=VALUE, VALUE a finite number, e.g. siem_alerting=0.7"
        ) from problem


def _policy(said: str) -> dict[str, Any]:
    path = Path(said)
    if path.suffix.lower() not in {".yaml", ".yml"}:
        return {"policyRef": {"name": said}}
    from operators.api.read import read_policy
    from operators.cli.documents import read_document

    document = read_document(path, "a RolloutPolicy, or without .yaml the name of one that is there")
    policy = read_policy({"metadata": {"name": path.stem}, **document})
    return {"policy": policy.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)}
