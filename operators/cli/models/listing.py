"""`vedette models`: the models in the store of this machine, or of a server."""

from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json, print_records, print_table
from operators.cli.store.store_option import StoreDir


def models(
    store_dir: StoreDir = None,
    url: Annotated[str | None, typer.Option(help="List the models of this server instead, e.g. http://127.0.0.1:8080.")] = None,
    as_json: Json = False,
) -> None:
    """List models, their versions, digests and operating points."""
    records = _of_server(url) if url else _of_store(store_dir)
    if not records and not as_json:
        print_table("models", ["the store is empty; `vedette train flows` makes a first model"], [])
        return
    print_records("models", records, as_json=as_json)


def _of_store(store_dir: Path | None) -> list[dict[str, object]]:
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    store = BundleStore(store_dir or ServingSettings().store_dir)
    records: list[dict[str, object]] = []
    for entry in store.entries():
        manifest = store.read(entry.digest).manifest
        points = ", ".join(f"{name} >= {point.threshold:.4g}" for name, point in manifest.operating_points.items())
        records.append(
            {
                "name": entry.name,
                "version": entry.version,
                "digest": entry.digest,
                "feature_service": manifest.feature_service or "",
                "operating_points": points,
            }
        )
    return records


def _of_server(url: str) -> list[dict[str, object]]:
    import httpx

    from serving.access.client_credentials import DoorCredentials

    try:
        shown = dict(DoorCredentials().headers())
        answer = httpx.post(f"{url.rstrip('/')}/v2/repository/index", json={}, headers=shown, timeout=10)
        if answer.status_code in {401, 403}:
            raise CommandError(
                f"{url}: {answer.json().get('error')}; VEDETTE_TOKEN_FILE or VEDETTE_API_KEY_FILE names what is shown"
            )
        answer.raise_for_status()
    except (httpx.HTTPError, ValueError) as problem:
        raise CommandError(f"{url}: {problem}; is `vedette up` running there?") from problem
    return list(answer.json())
