"""`vedette audit archive`: finished segments of the prediction log become Parquet."""

import getpass
from typing import Annotated

import typer

from operators.cli.acts import now_us, record_act
from operators.cli.audit.archive_options import Archive, archive_place, settings_of, signer_of
from operators.cli.console import Json, page, print_json, progress
from operators.cli.store.store_option import StoreDir


def archive(
    store_dir: StoreDir = None,
    archive: Archive = None,
    reason: Annotated[str, typer.Option(help="Reason, recorded in the log of governed acts.")] = "routine",
    as_json: Json = False,
) -> None:
    """Move finished segments into the archive. Each is verified first; its archived form reproduces every line byte for byte."""
    import msgspec

    from lifecycle.governance.archive.archiving import Archiver
    from serving.audit.keys.trust import Trust

    settings = settings_of(store_dir)
    folder = settings.store_dir / "audit"
    archiver = Archiver(
        folder,
        archive_place(settings, archive),
        signer_of(settings),
        now_us,
        lambda action, subject, why, evidence: record_act(settings, action, subject, why, evidence),
        getpass.getuser(),
        Trust.of_store(settings.store_dir, folder),
    )
    finished, done = archiver.finished(), []
    with progress() as display:
        task = display.add_task("archiving", total=len(finished))
        for files in finished:
            done.append(archiver.archive(files, reason))
            display.advance(task)
    if as_json:
        print_json([msgspec.to_builtins(one) for one in done])
        return
    for one in done:
        page().print(f"{one.segment}: {one.records:,} records, {one.line_bytes:,} bytes -> {one.size_bytes:,}", markup=False)
    page().print(f"{len(done)} segments archived in {archiver.place.url}", markup=False)
