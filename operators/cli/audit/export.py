"""`vedette audit export`: an auditor's package, which a script in it checks without Vedette."""

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.audit.archive_options import Archive, archived_of
from operators.cli.audit.options import AnchorUrls, KeysFolder, anchored_notes, log_folder, pinned_keys, store_folder
from operators.cli.console import Json, page, print_json, progress
from operators.cli.store.store_option import StoreDir
from operators.cli.times import TIME_FORMATS, to_us


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or a file whose name ends with .tar.gz.")],
    since: Annotated[
        datetime | None, typer.Option("--from", formats=TIME_FORMATS, help="UTC (default: the first record).")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=TIME_FORMATS, help="UTC, exclusive (default: now).")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model, each record with its proof; may be repeated.")
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            help="Only records of this tenant's callers, each with its proof; acts and manifests only of models that --model names. "
            "May be repeated."
        ),
    ] = None,
    is_whole: Annotated[
        bool,
        typer.Option("--whole", help="Pack whole segments even with --model or --tenant, to prove that no record is missing."),
    ] = False,
    anchor: AnchorUrls = None,
    keys: KeysFolder = None,
    archive: Archive = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Pack records, checkpoints, keys, tombstones, acts and bundle manifests, with a script that checks them without Vedette."""
    from lifecycle.governance.export.choice import ExportChoice
    from lifecycle.governance.export.package import ExportSource, PackageMaker
    from serving.audit.keys.keyring import Keyring, default_key
    from serving.audit.keys.trust import read_revoked
    from serving.settings import ServingSettings

    store, log = store_folder(store_dir), log_folder(None, store_dir)
    settings = ServingSettings()
    signer = Keyring(settings.audit_key or default_key(store), settings.audit_key_name).signer()
    models, tenants = frozenset(model or ()), frozenset(tenant or ())
    choice = ExportChoice(to_us(since, 0), to_us(until, 1 << 62), models, tenants, is_whole or not (models or tenants))
    trusted = keys or store / "keys" / "trusted"
    source = ExportSource(
        log,
        store / "governance",
        {} if tenants and not models else _bundles(store, models),
        pinned_keys(trusted),
        anchored_notes(anchor),
        archived_of(store_dir, archive),
        read_revoked(trusted),
    )
    with progress() as display:
        maker = PackageMaker(source, choice, signer, time.time_ns() // 1000)
        task = display.add_task("packing segments", total=len(maker.segments()))
        maker.advance = lambda: display.advance(task)
        made = maker.make(out)
    if as_json:
        print_json({name: getattr(made, name) for name in made.__dataclass_fields__})
        return
    page().print(
        f"{made.path}: {made.records:,} records of {made.segments} segments, {made.acts} acts", soft_wrap=True, markup=False
    )
    if made.left_out:
        page().print(f"{made.left_out} records are left out: no signed checkpoint covers them yet")
    if not made.is_signed:
        page().print("[yellow]not signed[/]: the manifest has no signature, because no key is at hand")
    place = made.path if made.path.is_dir() else f"{made.path.name.partition('.')[0]}, once it is unpacked"
    page().print(f"checked without Vedette by python3 -I verify.py in {place}", soft_wrap=True, markup=False)


def _bundles(store: Path, models: frozenset[str]) -> dict[str, bytes]:
    """The manifests of the models' bundles, or of all, by digest."""
    from serving.models.bundle import MANIFEST
    from serving.models.store import BundleStore

    bundles = BundleStore(store)
    wanted = [entry.digest for entry in bundles.entries() if not models or entry.name in models]
    paths = {digest: bundles.folder_of(digest) / MANIFEST for digest in wanted}
    return {digest: path.read_bytes() for digest, path in paths.items() if path.exists()}
