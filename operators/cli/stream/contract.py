"""`vedette stream contract`: the contract for programs up- and downstream, as AsyncAPI."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, print_json
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from serving.models.manifest import Manifest


def contract(
    model: Annotated[str | None, typer.Option(help="A served model: the events have its columns.")] = None,
    labels: Annotated[str, typer.Option(help="Topic of the analysts' labels.")] = "vedette.labels",
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Print topics, keys, headers and messages as AsyncAPI 3.0, in YAML or JSON, with the configured topics."""
    import yaml

    from operators.cli.stream.asyncapi import contract as described
    from serving.stream.settings import StreamSettings

    found = described(StreamSettings(), labels=labels, manifest=None if model is None else _manifest(model, store_dir))
    if as_json:
        print_json(found)
    else:
        typer.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120), nl=False)


def _manifest(model: str, store_dir: Path | None) -> "Manifest":
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    found = BundleStore(store_dir or ServingSettings().store_dir).resolve(model, None).manifest
    if not found.assembly:
        raise CommandError(f"model {model!r} takes tensors, and events have fields: a stream cannot score it")
    return found
