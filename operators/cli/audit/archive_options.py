"""Options of the verbs of `vedette audit` that read the archive too."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.audit.options import log_folder, store_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from lifecycle.governance.archive.place import ArchivePlace
    from lifecycle.governance.archive.record_log import RecordLog
    from lifecycle.governance.verify.reading import RecordSource
    from serving.audit.signed_note import Signer
    from serving.settings import ServingSettings

Archive = Annotated[
    str | None, typer.Option(help="Where archived segments are (default: VEDETTE_AUDIT_ARCHIVE, or archive in the store).")
]


def settings_of(store_dir: Path | None) -> "ServingSettings":
    """The settings, with the store that is meant."""
    from serving.settings import ServingSettings

    return ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)


def signer_of(settings: "ServingSettings") -> "Callable[[], Signer | None]":
    """The key of the store, which signs notes and tombstones."""
    from serving.audit.keys.keyring import Keyring

    return Keyring.of(settings.store_dir, settings.audit_key, settings.audit_key_name).signer


def archive_place(settings: "ServingSettings", named: str | None) -> "ArchivePlace":
    """Where archived segments go."""
    from lifecycle.governance.archive.place import ArchivePlace

    return ArchivePlace(named or settings.audit_archive or str(settings.store_dir / "archive"))


def archive_if_there(store_dir: Path | None, named: str | None) -> "ArchivePlace | None":
    """The archive that is named by option or setting, or that the store has; None if there is none."""
    from lifecycle.governance.archive.place import ArchivePlace

    settings = settings_of(store_dir)
    chosen, own = named or settings.audit_archive, settings.store_dir / "archive"
    if chosen is not None:
        return ArchivePlace(chosen)
    return ArchivePlace(str(own)) if own.is_dir() else None


def archived_of(store_dir: Path | None, named: str | None) -> "RecordSource":
    """Where verification finds the records of archived segments. named: by --archive."""
    from lifecycle.governance.archive.archiving import archived_records

    return archived_records(archive_place(settings_of(store_dir), named))


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
