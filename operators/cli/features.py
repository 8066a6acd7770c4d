"""`vedette features`: what the feature store has, and filling the online store from it.

Training fills the online store with what it has computed. This is for later: a new online store (VEDETTE_REDIS_URL), window rows
that another program has written, or a moment of the past."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, Json, print_json, print_records, progress
from operators.cli.train import StoreDir, feature_store

if TYPE_CHECKING:
    from lifecycle.training.store import FeastStore, Materialized

app = typer.Typer(no_args_is_help=True, help="List features, and fill the online store.")
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@app.command("list")
def list_services(store_dir: StoreDir = None, as_json: Json = False) -> None:
    """List feature services: their views, how long values may be used, and their features."""
    store = _open(store_dir)
    ttl_s = {view.name: view.ttl.total_seconds() for view in store.feast.list_feature_views()}
    records = [
        {
            "service": str(service.name),
            "view": view.name,
            "ttl_s": int(ttl_s[view.name]) if view.name in ttl_s else "from the request",
            "features": ", ".join(feature.name for feature in view.features),
        }
        for service in store.services()
        for view in service.feature_view_projections
    ]
    print_records("features", records, as_json=as_json)


@app.command()
def materialize(
    service: Annotated[str | None, typer.Option(help="Only the views of this feature service [default: all views].")] = None,
    since: Annotated[str | None, typer.Option(help="Only rows from this moment on, RFC 3339 [default: all].")] = None,
    until: Annotated[str | None, typer.Option(help="Only rows up to this moment, RFC 3339 [default: now].")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Write each key's newest values to the online store: SQLite, or Redis if VEDETTE_REDIS_URL is set."""
    store = _open(store_dir)
    start, end = _moment("--since", since, BEGINNING), _moment("--until", until, datetime.now(UTC))
    if start >= end:
        raise CommandError(f"--since {start.isoformat()} is not before --until {end.isoformat()}")
    views: list[str] = []
    with progress() as display:
        task = display.add_task("materializing", total=None)

        def tell(step: "Materialized") -> None:
            views.append(step.view)
            display.update(task, description=f"materialized {step.view}", total=step.total, completed=step.done)

        store.materialize(start, end, tell, service=service)
    _show(views, start, end, as_json=as_json)


def _open(store_dir: Path | None) -> "FeastStore":
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    folder = settings.store_dir / "feast"
    if not (folder / "registry.db").is_file():
        raise CommandError(f"{folder}: there is no feature store yet; `vedette train flows` makes a first one")
    return feature_store(folder, settings.redis_url)


def _moment(option: str, text: str | None, otherwise: datetime) -> datetime:
    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        raise CommandError(f"{option} {text!r}: expected a time in RFC 3339, e.g. 2011-08-18T15:47:57Z") from problem
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _show(views: Sequence[str], start: datetime, end: datetime, *, as_json: bool) -> None:
    record: dict[str, Any] = {"views": list(views), "since": start.isoformat(), "until": end.isoformat()}
    if as_json:
        print_json(record)
    else:
        print(f"{len(views)} views are in the online store, up to {end.isoformat(timespec='seconds')}: {', '.join(views)}")
