"""Options of the verbs of `vedette audit` that read the archive too."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.audit.options import log_folder, store_folder

if TYPE_CHECKING:
    from lifecycle.governance.archive.record_log import RecordLog

Archive = Annotated[
    str | None, typer.Option(help="Where archived segments are (default: VEDETTE_AUDIT_ARCHIVE, or archive in the store).")
]


def record_log(store_dir: Path | None, archive: str | None) -> "RecordLog":
    """The prediction log of a store, with its archive if there is one. Raises CommandError if there is neither."""
    from lifecycle.governance.archive.place import ArchivePlace
    from lifecycle.governance.archive.record_log import RecordLog
    from serving.settings import ServingSettings

    store = store_folder(store_dir)
    settings = ServingSettings()
    named = archive or settings.audit_archive
    url = named or str(store / "archive")
    place = ArchivePlace(url) if named or Path(url).is_dir() else None
    return RecordLog(store / "audit" if place is not None else log_folder(None, store_dir), place)
