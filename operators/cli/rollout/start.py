"""`vedette rollout start`: requests another revision of a model."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, finite, print_json
from operators.cli.control_plane import ControlPlaneChoice, Name, Why, signed, with_control_plane
from operators.cli.store.store_option import store_to_use

if TYPE_CHECKING:
    from operators.control.port import Control, ServiceDocument
    from serving.models.bundle import Bundle


@dataclass(frozen=True, slots=True)
class CandidateOptions:
    """What a command line says of a candidate. A field is an option of each verb that is made `with_candidate`."""

    version: Annotated[str | None, typer.Option(help="Model version of the candidate (default: the newest).")] = None
    bundle: Annotated[
        str | None,
        typer.Option(
            help="Digest of its bundle, or a reference into the registry, e.g. flows@production (default: the store's)."
        ),
    ] = None
    operating_point: Annotated[str | None, typer.Option(help="Operating point that decides (default: the bundle's).")] = None
    threshold: Annotated[list[str] | None, typer.Option(help="POINT=VALUE: replaces a threshold of the bundle; repeat.")] = None
    suppressions: Annotated[
        Path | None, typer.Option(help="YAML file with `suppressions`: known causes of false alarms (default: none).")
    ] = None
    triage: Annotated[bool, typer.Option("--triage", help="The bundle's triage ends clear cases before the model runs.")] = (
        False
    )
    triage_audit: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="With --triage: share of ended cases that the model still scores (default: 0.01). Use 1 for a trial.",
        ),
    ] = None
    triage_bound: Annotated[float | None, typer.Option(help="With --triage: replaces the bundle's bound.")] = None

    def changes(self) -> dict[str, Any]:
        """What the candidate does otherwise than its bundle says, as a revision's document has it. Raises CommandError."""
        found: dict[str, Any] = {}
        if self.operating_point is not None:
            found["operatingPoint"] = self.operating_point
        if self.threshold:
            found["thresholds"] = dict(threshold_of(t) for t in self.threshold)
        if self.suppressions is not None:
            found["suppressions"] = suppressions_of(self.suppressions)
        if (switch := triage_of(self.triage, self.triage_audit, self.triage_bound)) is not None:
            found["triage"] = switch
        return found


def with_candidate(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of a candidate in place of its parameter `candidate`."""
    options = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in inspect.signature(CandidateOptions).parameters.values()]
    own = list(inspect.signature(verb).parameters.values())
    place = next(at for at, parameter in enumerate(own) if parameter.name == "candidate")
    after = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own[place + 1 :]]
    parameters = [*own[:place], *options, *after]

    @functools.wraps(verb)
    def command(*before: Any, **given: Any) -> None:
        candidate = CandidateOptions(**{option.name: given.pop(option.name) for option in options})
        verb(*before, candidate=candidate, **given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


@with_control_plane
@with_candidate
def start(
    choice: ControlPlaneChoice,
    name: Name,
    candidate: CandidateOptions,
    policy: Annotated[
        str | None, typer.Option(help="Steps: a file with a RolloutPolicy, or the name of an existing one.")
    ] = None,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Request a revision. It is rolled out step by step; the first revision of a service is served at once."""
    control = choice.open()
    revision = _revision(choice, name, candidate.version, candidate.bundle) | candidate.changes()
    steps = None if policy is None else rollout_steps(policy)

    def edit(before: "ServiceDocument | None") -> "ServiceDocument":
        return started(before, name, revision, steps, control.who(), why)

    aborted = _aborted(control, name, revision)
    if aborted:
        raise CommandError(
            f"{name}: this revision was aborted ({aborted}) and is not retried by itself. Retry it with "
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
    """The document with this revision. All other fields of its spec stay."""
    from operators.api.types import API_VERSION

    document = before or {"apiVersion": API_VERSION, "kind": "ModelService", "metadata": {"name": name}}
    spec = {**(document.get("spec") or {}), "revision": revision}
    if steps is not None:
        spec["rollout"] = steps
    return {**signed(document, by, why), "spec": spec}


def _revision(choice: ControlPlaneChoice, name: str, version: str | None, bundle: str | None) -> dict[str, Any]:
    if bundle is not None and not bundle.startswith("sha256:") and choice.is_cluster:
        from operators.cli.registry.options import place

        registered = place(choice.store_dir, None).registry().find(bundle)
        return {"version": registered.version, "bundle": registered.digest}
    if bundle is not None and version is not None and bundle.startswith("sha256:"):
        return {"version": version, "bundle": bundle}
    if choice.is_cluster:
        raise CommandError(
            "the store of a cluster cannot be read from here: give --version and --bundle (`vedette models` prints digests)"
        )
    found = bundle_of(choice.store_dir, _model(choice, name), version, bundle)
    return {"version": found.manifest.version, "bundle": found.digest}


def bundle_of(store_dir: Path | None, model: str, version: str | None, digest: str | None = None) -> "Bundle":
    """A bundle of this machine's store, by digest or version; the newest by default. A reference into the registry is pulled first.

    Raises ModelError, RegistryError."""
    from serving.models.store import BundleStore

    store = BundleStore(store_to_use(store_dir))
    if digest is None:
        return store.resolve(model, version)
    if digest.startswith("sha256:"):
        return store.read(digest)
    from lifecycle.governance.registry.references import parse_reference
    from operators.cli.acts import refusals_recorded
    from operators.cli.registry.options import place

    at, meant = place(store_dir, None), parse_reference(digest)
    opened = at.registry()
    found = meant.value if meant.kind == "digest" else opened.resolve(digest)
    with refusals_recorded(at.settings, "bundle.pull", f"bundle/{found}"):
        return opened.pull(found, store)


def _model(choice: ControlPlaneChoice, name: str) -> str:
    """The model that a service serves: its own name unless its document says another."""
    from operators.control.port import NoSuchService

    try:
        return choice.open().read(name).ref.model
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


def triage_of(is_on: bool, audit_share: float | None, bound: float | None) -> dict[str, Any] | None:
    """The triage of a revision as these options say; None: it is off. Raises CommandError."""
    asked = {name: value for name, value in (("auditShare", audit_share), ("bound", bound)) if value is not None}
    if asked and not is_on:
        raise CommandError("--triage-audit and --triage-bound are about triage; add --triage")
    return asked if is_on else None


def suppressions_of(path: Path) -> list[dict[str, Any]]:
    """The entries of a file as a revision's document has them. Raises CommandError."""
    from operators.cli.documents import read_suppressions

    return [entry.model_dump(mode="json", by_alias=True) for entry in read_suppressions(path)]


def rollout_steps(text: str) -> dict[str, Any]:
    """Steps as a service's document has them: of a file with a RolloutPolicy, or by the name of one. Raises CommandError, ApiError."""
    path = Path(text)
    if path.suffix.lower() not in {".yaml", ".yml"}:
        return {"policyRef": {"name": text}}
    from operators.api.read import read_policy
    from operators.cli.documents import read_document

    document = read_document(path, "a RolloutPolicy; to name an existing one, leave out .yaml")
    policy = read_policy({"metadata": {"name": path.stem}, **document})
    return {"policy": policy.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)}
