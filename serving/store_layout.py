"""Which layout a store folder has: `STORE/layout.json`. Readers refuse a layout that is newer than they know, and a migration that was
left half-way.

A store without the file has layout 0: it was made before layouts had numbers. How one layout becomes the next is
lifecycle.store_layout's."""

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from serving.folder_sync import sync_folder

LAYOUT: Final = 1
"""The layout that this version writes and reads."""
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
    """The layout of a store; 0 if it does not say. Raises StoreLayoutError for a file that says nothing."""
    path = store / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return 0
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


def check_readable(store: Path) -> None:
    """Raises StoreLayoutError for a store of a newer layout, or one that a migration has left half-way."""
    if (store / JOURNAL).exists():
        raise StoreLayoutError(f"{store}: a migration was not finished; run `vedette store migrate --store-dir {store}`")
    layout = read_layout(store)
    if layout > LAYOUT:
        raise StoreLayoutError(
            f"{store} has layout {layout}, and this version of Vedette knows layouts up to {LAYOUT}; use the newer version that "
            "wrote it, or a backup of the store from before the upgrade"
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
