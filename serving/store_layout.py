"""The layout of a store folder: `STORE/layout.json`. A program refuses a store that is newer than this version knows, one that must be
migrated first, and one that a migration left unfinished.

A store without the file has layout 0: it was made before layouts had numbers. How one layout becomes the next is
lifecycle.store_layout's."""

import importlib.metadata
import os
import threading
from pathlib import Path
from typing import Final, Literal

import msgspec

from serving.files.folder_sync import sync_folder

LAYOUT: Final = 1
"""The layout that this version writes and reads."""
OLDEST: Final = 0
"""The oldest layout that this version uses as it is: no migration from it to LAYOUT has steps."""
FILE: Final = "layout.json"
JOURNAL: Final = "migration.json"
"""Beside it while a migration is under way."""


class StoreLayoutError(Exception):
    """The store cannot be used as it is; the message says what to run."""


class StoreLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What layout.json says. written_by: the version of Vedette that wrote it. Fields of later versions are ignored."""

    layout: int
    written_by: str = ""
    kind: Literal["vedette store"] = "vedette store"


def read_layout(store: Path) -> int:
    """The layout of a store; 0 if it does not say. Raises StoreLayoutError for a file that cannot be read or says nothing."""
    path = store / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    try:
        layout = msgspec.json.decode(raw, type=StoreLayout).layout
    except (msgspec.DecodeError, RecursionError) as problem:
        raise StoreLayoutError(
            f"{path} cannot be read ({problem}); restore it from a backup of the store, or remove it if no version newer than "
            "this one ever used the store"
        ) from problem
    if layout < 1:
        raise StoreLayoutError(f"{path}: layout is {layout}, expected 1 or more; restore the file from a backup of the store")
    return layout


def check_readable(store: Path, *, oldest: int = OLDEST, newest: int = LAYOUT) -> None:
    """Whether this version can use a store as it is; one that is not there yet, or is empty, it can.

    Raises StoreLayoutError, which says what to run: the store is newer, has to be migrated first, or a migration has left it half-way."""
    try:
        is_unfinished = (store / JOURNAL).exists()
    except OSError as problem:
        raise _unreadable(store / JOURNAL, problem) from problem
    if is_unfinished:
        raise StoreLayoutError(f"{store}: a migration was not finished; run `vedette store migrate --store-dir {store}`")
    layout = read_layout(store)
    if layout > newest:
        raise StoreLayoutError(
            f"{store} has layout {layout}, and this version of Vedette knows layouts up to {newest}; use the newer version that "
            "wrote it, or a backup of the store from before the upgrade"
        )
    if layout < oldest and not _is_new(store):
        raise StoreLayoutError(
            f"{store} has layout {layout}, and this version of Vedette needs layout {oldest} or later; make a backup, see what would "
            f"be done with `vedette store migrate --dry-run --store-dir {store}`, then run it without --dry-run"
        )


def say_layout(store: Path, *, oldest: int = OLDEST, newest: int = LAYOUT) -> None:
    """Called before the first write to a store: one that does not say its layout gets the newest. Any number of processes may do it at
    once. Raises OSError.

    A store that has to be migrated, or is being migrated, stays as it is."""
    path = store / FILE
    if path.exists() or (store / JOURNAL).exists() or (oldest > 0 and not _is_new(store)):
        return
    store.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}.{os.getpid()}.{threading.get_ident()}")
    body = msgspec.json.encode(StoreLayout(newest, importlib.metadata.version("vedette"))) + b"\n"
    try:
        with draft.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:  # somebody else was faster; what they wrote is not replaced
            return
        except OSError:  # a file system without hard links
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(store)


def _is_new(store: Path) -> bool:
    return not store.is_dir() or next(store.iterdir(), None) is None


def _unreadable(path: Path, problem: OSError) -> StoreLayoutError:
    return StoreLayoutError(
        f"{path} cannot be read ({(problem.strerror or str(problem)).lower()}); name the folder of a store, and give this user "
        "the right to read it"
    )


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: after a crash there is the old one or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
