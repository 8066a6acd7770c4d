"""Options that several verbs of `vedette audit` share."""

from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError

LogStore = Annotated[Path | None, typer.Option("--store-dir", help="Store folder (default: VEDETTE_STORE_DIR or .vedette).")]
LogFolder = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER", help="Folder of a log (default: the prediction log, audit in the store).", show_default=False
    ),
]


def store_folder(store_dir: Path | None) -> Path:
    """The store that is meant."""
    from serving.settings import ServingSettings

    return store_dir or ServingSettings().store_dir


def log_folder(folder: Path | None, store_dir: Path | None) -> Path:
    """The prediction log that is meant. Raises CommandError if there is none."""
    found = folder or store_folder(store_dir) / "audit"
    if not found.is_dir():
        raise CommandError(f"{found}: no log there; `vedette up` writes one into its store, --store-dir names another store")
    return found
