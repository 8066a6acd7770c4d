"""`vedette features`: what the feature store has, filling the online store from it, reading it as the data plane does.

Training fills the online store with the features it computed. These commands are for later: a new online store
(VEDETTE_REDIS_URL), window rows that another program has written, or a moment of the past."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, Json, plain, print_json, print_records, progress
from operators.cli.models.train import feature_store
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.training.feast_store import FeastStore, Materialized
    from serving.ports import FeatureRows, FeatureServiceInfo, FieldInfo
    from serving.settings import ServingSettings

app = typer.Typer(no_args_is_help=True, help="List features, fill the online store, read it.")
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
    service: Annotated[str | None, typer.Option(help="Only the views of this feature service (default: all views).")] = None,
    since: Annotated[str | None, typer.Option(help="Only rows from this moment on, RFC 3339 (default: all).")] = None,
    until: Annotated[str | None, typer.Option(help="Only rows up to this moment, RFC 3339 (default: now).")] = None,
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


@app.command()
def read(
    service: Annotated[str, typer.Argument(help="Name of a feature service, e.g. flows_v1.")],
    given: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Entity keys, and request-time fields if wanted.")],
    at: Annotated[str | None, typer.Option(help="Compute ages at this time (RFC 3339) (default: now).")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Read the features of one entity as the data plane does: values, ages, and which are defaults."""
    from serving.settings import ServingSettings

    when = _moment("--at", at, datetime.now(UTC))
    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    records = asyncio.run(_read(settings, service, pairs(given), when))
    print_records(f"{service} at {when.isoformat()}", records, as_json=as_json)


def pairs(given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE words. Raises CommandError.

    >>> pairs(["host=10.0.0.1", "note=a=b"])
    {'host': '10.0.0.1', 'note': 'a=b'}
    """
    wrong = [word for word in given if "=" not in word]
    if wrong:
        raise CommandError(f"{wrong[0]!r} is not KEY=VALUE; write e.g. host=10.0.0.1")
    return dict(word.split("=", 1) for word in given)


def _open(store_dir: Path | None) -> "FeastStore":
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    if settings.feature_repo is None and not (settings.feast_dir / "registry.db").is_file():
        raise CommandError(f"{settings.feast_dir}: there is no feature store yet; `vedette train flows` makes a first one")
    return feature_store(settings)


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
        print(
            f"{len(views)} views are in the online store, up to {end.isoformat(timespec='seconds')}: {plain(', '.join(views))}"
        )


async def _read(settings: "ServingSettings", service: str, given: Mapping[str, str], when: datetime) -> list[dict[str, object]]:
    import numpy as np

    from serving.features.opening import open_features

    reader = await open_features(settings)
    try:
        info = reader.service(service)
        known = {field.name: field for field in (*info.join_keys, *info.request_fields)}
        unknown, missing = given.keys() - known.keys(), [k.name for k in info.join_keys if k.name not in given]
        if unknown or missing:
            what = f"{min(unknown)!r} is not one of" if unknown else f"{missing[0]!r} is missing from"
            raise CommandError(f"{service}: {what} the values it needs: {', '.join(known)}")
        columns = {name: _column(field, given.get(name)) for name, field in known.items()}
        at_us = np.array([int(when.timestamp() * 1e6)])
        rows = await reader.read(service, columns, columns, at_us, timeout_s=5.0)
        return list(_records(info, rows, int(at_us[0]), has_request=all(f.name in given for f in info.request_fields)))
    finally:
        await reader.close()


def _column(field: "FieldInfo", text: str | None) -> Any:
    """One value as a column; a missing value is empty or 0."""
    import numpy as np

    from serving.messages import DTYPES

    if field.datatype == "BYTES":
        return np.array([(text or "").encode()], dtype=object)
    try:
        return np.array([text or "0"]).astype(DTYPES[field.datatype])
    except (ValueError, OverflowError) as problem:
        raise CommandError(f"{field.name}={text}: expected {field.datatype}") from problem


def _records(info: "FeatureServiceInfo", rows: "FeatureRows", at_us: int, *, has_request: bool) -> "list[dict[str, object]]":
    """One record a feature; computed ones only if the request fields were given."""
    records: list[dict[str, object]] = []
    for feature in info.features:
        times = rows.event_times_us.get(feature.view)
        if times is None and not has_request:
            continue
        time_us = int(times[0]) if times is not None else 0
        records.append(
            {
                "feature": feature.name,
                "value": rows.columns[feature.name].tolist()[0],
                "is_default": feature.name in rows.defaulted,
                "event_time": datetime.fromtimestamp(time_us / 1e6, UTC).isoformat() if time_us else "",
                "age_s": round((at_us - time_us) / 1e6, 3) if time_us else "",
            }
        )
    return records
