"""Options that several verbs of `vedette audit` share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError
from operators.cli.store.store_option import store_to_use

if TYPE_CHECKING:
    from serving.audit.keys.trust import Trust
    from serving.audit.signed_note import VerifierKey

Tenant = Annotated[
    str | None, typer.Option(help='Only records of this tenant\'s callers; empty (`--tenant ""`): of callers without a tenant.')
]
KeysFolder = Annotated[
    Path | None,
    typer.Option("--keys", help="Folder of the public keys that are trusted, *.pub (default: keys/trusted in the store)."),
]
AnchorUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor", help="URL of an anchor that holds checkpoints, e.g. file:///mnt/depot; may be repeated.", show_default=False
    ),
]
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
        raise CommandError(
            f"{found}: has no log; `vedette up` writes one into its store, or name another store with --store-dir"
        )
    return found


def pinned_keys(folder: Path, *, needed: bool = True) -> "tuple[VerifierKey, ...]":
    """The public keys in a folder. needed: none at all is an error. Raises CommandError, NoteError."""
    from serving.audit.keys.trust import read_pinned

    pinned = read_pinned(folder)
    if not pinned and needed:
        raise CommandError(
            f"{folder}: no key is trusted, so no signature counts; put a public key there (NAME.pub; see `vedette audit key show`), "
            "or name another folder with --keys"
        )
    return pinned


def trusted_keys(folder: Path, *, needed: bool = True) -> "Callable[[Path], Trust]":
    """Trust in the log of a folder by the keys that are pinned in another one. Raises CommandError, NoteError."""
    from serving.audit.keys.trust import Trust, read_revoked

    pinned, revoked = pinned_keys(folder, needed=needed), read_revoked(folder)
    return lambda log: Trust.read(log, pinned, revoked)


def folders_of_logs(folder: Path | None, store_dir: Path | None) -> tuple[list[Path], Path | None]:
    """The logs that are meant, and their store: one folder, or those of a store, the prediction log, the acts and the labels, there or not.

    Raises CommandError if there is no such folder."""
    from lifecycle.governance.verify.missing import FOLDERS

    place = folder or store_folder(store_dir)
    of_store = [place / name for name in FOLDERS]
    if not place.is_dir():
        raise CommandError(
            f"{place}: has no log; `vedette up` writes one into its store, or name another store with --store-dir"
        )
    if folder is None or any(path.is_dir() for path in of_store):
        return of_store, place
    return [place], None


def is_off() -> bool:
    """Whether no answer is recorded, by the settings."""
    from lifecycle.governance.verify import missing
    from serving.settings import ServingSettings

    settings = ServingSettings()
    return missing.is_off(settings.audit, settings.audit_models)


def anchored_notes(urls: list[str] | None) -> list[tuple[str, str]]:
    """Every note that the anchors hold, each with its anchor's name. Raises AnchorUrlError, AnchorError."""
    from serving.audit.anchors.urls import open_anchor

    found: list[tuple[str, str]] = []
    for url in urls or ():
        anchor = open_anchor(url)
        found += [(anchor.label, note) for note in anchor.read()]
        anchor.close()
    return found


def check_stores(folder: Path | None, store_dir: Path | None, keys: Path | None) -> None:
    """Look at the layouts of the stores that a verification reads: the one that is verified, and the one whose trusted keys count. Another
    store, which only the settings name, may be of any layout. Raises StoreLayoutError."""
    from lifecycle.governance.verify.missing import FOLDERS
    from serving.store_layout import StoreLayoutError, check_readable

    if folder is not None and any((folder / name).is_dir() for name in FOLDERS):
        check_readable(folder)
    if folder is not None and keys is not None and store_dir is None:
        return
    try:
        store_to_use(store_dir)
    except StoreLayoutError as problem:
        if folder is None:
            raise
        raise StoreLayoutError(f"{problem}. Its trusted keys would count here; --keys names a folder of others") from problem


def store_of_logs(folder: Path | None, store_dir: Path | None) -> Path | None:
    """The store whose archive goes with the logs that are meant: the named one, else the one that the folder is or is in; None: the one
    of the settings."""
    from lifecycle.governance.verify.missing import FOLDERS

    if folder is None or store_dir is not None:
        return store_dir
    return folder.parent if folder.name in FOLDERS else folder
