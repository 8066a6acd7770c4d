"""The option --store-dir of the verbs. A verb that opens a store refuses one that this version cannot use, before it does anything."""

from pathlib import Path
from typing import Annotated, Final

import typer

_HELP: Final = "Store folder (default: VEDETTE_STORE_DIR or .vedette)."


def store_to_use(named: Path | None) -> Path:
    """The store that is meant: the one that is named, or that of the settings. Raises StoreLayoutError if it cannot be used as it is."""
    from serving.settings import ServingSettings
    from serving.store_layout import check_readable

    store = named or ServingSettings().store_dir
    check_readable(store)
    return store


def _checked(started: typer.Context, value: Path | None) -> Path | None:
    if not started.resilient_parsing:  # a shell completes the command line
        store_to_use(value)
    return value


StoreDir = Annotated[Path | None, typer.Option("--store-dir", help=_HELP, callback=_checked)]
"""Of verbs that open the store of this machine."""
AnyStoreDir = Annotated[Path | None, typer.Option("--store-dir", help=_HELP)]
"""Of verbs that take a store as it is, or may mean a cluster: nothing is checked yet."""
