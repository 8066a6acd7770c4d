"""`vedette rollout plan`: replays recent traffic through a candidate, and shows what it would have changed."""

import dataclasses
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, Json, errors, page, print_json
from operators.cli.control_plane import Name
from operators.cli.rollout.start import CandidateOptions, bundle_of, with_candidate
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from operators.labs.forecast import Forecast, Replayed
    from operators.rollout.spec import Revision
    from serving.audit.record import AuditRecord
    from serving.models.bundle import Bundle
    from serving.scoring.loaded_revision import LoadedRevision


_BUDGET_S: Final = 20.0
"""How long the runs of a replay may take. A slow candidate replays fewer requests, the newest."""


@with_candidate
def plan(
    name: Name,
    candidate: CandidateOptions,
    requests: Annotated[int, typer.Option(min=1, help="Replay at most this many of the newest requests.")] = 20_000,
    log: Annotated[Path | None, typer.Option(help="Folder of the prediction log (default: audit in the store).")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Replay recent traffic through a candidate: added alerts a day, changed verdicts, latency. Serving is not affected."""
    from serving.settings import ServingSettings

    store = (store_dir or ServingSettings().store_dir).resolve()
    stable = _stable(store, name)
    model = _model(store, name)
    found = bundle_of(store, model, candidate.version, candidate.bundle)
    wanted = {"version": found.manifest.version, "bundle": found.digest, **candidate.changes()}
    records = _recent(log or store / "audit", model, requests)
    replayed, forecast = _forecast(records, stable, _revision(wanted), store)
    if as_json:
        body = {**dataclasses.asdict(forecast), "examples": replayed.examples}
        print_json({"service": name, "stable": stable.version, "candidate": found.manifest.version, **body})
        return
    from operators.cli.rollout.plan_view import plan_panel

    page().print(plan_panel(name, stable.version, found.manifest.version, forecast, replayed.examples))


def _stable(store: Path, name: str) -> "Revision":
    """The stable revision of this service, or what serves the model of this name if no service manages it."""
    from operators.backends.local import revision_of, stable_entry
    from operators.control.folder import ControlFolder
    from serving.loading.served_file import ServedFile, newest_of_each
    from serving.models.store import BundleStore

    status = ControlFolder(store).status(name)
    if status is not None and status.stable is not None:
        return status.stable
    entry = stable_entry(ServedFile(store).read() or newest_of_each(BundleStore(store)), name)
    if entry is None:
        raise CommandError(f"nothing serves {name!r} in the store {store}; `vedette models` lists what it has")
    return revision_of(entry)


def _model(store: Path, name: str) -> str:
    from operators.control.folder import ControlFolder
    from operators.control.port import NoSuchService

    try:
        return ControlFolder(store).service(name).ref.model
    except NoSuchService:
        return name


def _revision(fields: dict[str, Any]) -> "Revision":
    from operators.rollout.spec import Revision

    return Revision.model_validate(fields)


def _recent(folder: Path, model: str, most: int) -> "list[AuditRecord]":
    """The model's newest requests, by time; also those that stable answered in place of a failed variant."""
    from serving.audit.reader import read_records
    from serving.audit.record import REFUSED

    broken: list[Exception] = []
    with errors.status("reading the prediction log"):
        newest = deque(
            (r for r in read_records(folder, broken.append) if r.model == model and r.source != REFUSED), maxlen=most
        )
    if broken:
        errors.print(f"{len(broken)} lines of the log cannot be read: {broken[0]}", markup=False)
    return sorted(newest, key=lambda r: r.time_us)


def _forecast(
    records: "list[AuditRecord]", stable: "Revision", candidate: "Revision", store: Path
) -> "tuple[Replayed, Forecast]":
    import numpy as np

    from operators.labs.forecast import MIN_ROWS, forecast
    from operators.labs.replay import replay
    from serving.models.store import BundleStore

    bundles = BundleStore(store)
    with errors.status(f"replaying up to {len(records):,} requests"):
        tried, now = (_loaded(bundles.read(r.bundle), r) for r in (candidate, stable))
        most = int(_BUDGET_S * 1e6 / max(tried.run_us + now.run_us, 1.0))
        replayed = replay(records[-max(most, MIN_ROWS) :], now, tried)
        return replayed, forecast(replayed, np.random.default_rng(0))


def _loaded(bundle: "Bundle", revision: "Revision") -> "LoadedRevision":
    """Probe the bundle as a replica does, and load it into this process."""
    from serving.loading.loaded_bundle import build_revision, load_bundle
    from serving.models.limits.bundle_limits import limits_of
    from serving.models.probe import probe
    from serving.settings import ServingSettings

    probe(bundle, limits=limits_of(ServingSettings()))
    unknown = sorted(set(revision.thresholds) - set(bundle.manifest.operating_points))
    if unknown:
        raise CommandError(
            f"version {revision.version} has no operating point {unknown}; it has {sorted(bundle.manifest.operating_points)}"
        )
    return build_revision(load_bundle(bundle), revision.serving())
