"""`vedette audit verify`: checks that the logs are unchanged, and names the first changed record and the change."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from operators.cli.audit.archive_options import archive_if_there
from operators.cli.audit.options import (
    AnchorUrls,
    KeysFolder,
    anchored_notes,
    check_stores,
    folders_of_logs,
    is_off,
    store_folder,
    store_of_logs,
    trusted_keys,
)
from operators.cli.console import CommandError, Json, page, plain, print_json, print_table, progress
from operators.cli.store.store_option import AnyStoreDir

if TYPE_CHECKING:
    from lifecycle.governance.verify.findings import Finding, Report

MOST_REMARKS = 20
"""Remarks that are printed; JSON has all."""


def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of one log, or a store (default: the store: its prediction log, acts and labels).",
            show_default=False,
        ),
    ] = None,
    anchor: AnchorUrls = None,
    is_anchor_shared: Annotated[
        bool,
        typer.Option("--shared-anchor", help="The anchors also hold logs of other folders; do not report these as missing."),
    ] = False,
    keys: KeysFolder = None,
    archive: Annotated[
        str | None,
        typer.Option(
            help="Archive with the older segments: a folder, or a URL such as s3://bucket/folder (default: that of the verified store)."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="File that remembers what was verified, so that the next run hashes only new records. A full run finds more."
        ),
    ] = None,
    is_unsigned_allowed: Annotated[
        bool, typer.Option("--allow-unsigned", help="Accept checkpoints without a signature.")
    ] = False,
    store_dir: AnyStoreDir = None,
    as_json: Json = False,
) -> None:
    """Check records against checkpoints, signatures, other logs and tombstones. Exit code 1 if anything was changed."""
    from lifecycle.governance.archive.verifying import verify_with_archive
    from lifecycle.governance.verify.missing import beside, with_missing
    from lifecycle.governance.verify.run import Verification, VerifyState, bytes_of

    check_stores(folder, store_dir, keys)
    folders, store = folders_of_logs(folder, store_dir)
    trust_of = trusted_keys(keys or store_folder(store_dir) / "keys" / "trusted", needed=not is_unsigned_allowed)
    with progress() as display:
        task = display.add_task("verifying", total=sum(map(bytes_of, folders)))
        verification = Verification(
            time.time_ns() // 1000,
            trust_of,
            must_sign=not is_unsigned_allowed,
            anchored=anchored_notes(anchor),
            is_anchor_shared=is_anchor_shared,
            beside=beside,
            advance=lambda count: display.advance(task, count),
        )
        if resume is not None:
            verification.state = VerifyState.read(resume)
            verification.keep = lambda state: state.write(resume)
        place = archive_if_there(store_of_logs(folder, store_dir), archive)
        reports = verify_with_archive(verification, folders, place)
    if store is not None:
        reports = with_missing(reports, store, is_off=is_off())
    if not any(report.logs or report.findings for report in reports):
        places = ", ".join(map(str, folders))
        raise CommandError(
            f"{places}: has no segment of a log, so nothing was verified; name another folder, or the anchors that hold its checkpoints"
        )
    if as_json:
        print_json(
            {"is_sound": all(report.is_sound for report in reports), "folders": [as_record(report) for report in reports]}
        )
    else:
        for report in reports:
            _print(report)
    if not all(report.is_sound for report in reports):
        raise typer.Exit(1)


def as_record(report: "Report") -> dict[str, Any]:
    """A report as JSON has it."""
    record = asdict(report)
    record["is_sound"] = report.is_sound
    for figures, log in zip(record["logs"], report.logs, strict=True):
        figures["unprotected"] = log.unprotected
    return record


def _print(report: "Report") -> None:
    records = sum(log.records for log in report.logs)
    rows = [
        (
            _plain(log.log),
            log.segments,
            f"{log.records:,}",
            f"{log.protected:,}",
            f"{log.unprotected:,}",
            f"{log.removed:,}",
            log.checkpoints,
        )
        for log in report.logs
    ]
    columns = ("log", "segments", "records", "protected", "not yet protected", "removed", "checkpoints")
    print_table(report.folder, columns, rows, right=columns[1:])
    speed = f", {records / report.seconds:,.0f} records/s" if report.seconds else ""
    skipped = f"; {report.skipped} segments were verified before and not hashed again" if report.skipped else ""
    page().print(f"{records:,} records, {report.bytes_read:,} bytes hashed in {report.seconds:.2f} s{speed}{skipped}")
    if report.is_sound:
        page().print("[green]sound[/]: every protected record is as it was written")
    else:
        _print_findings(report.findings)
    for remark in report.remarks[:MOST_REMARKS]:
        page().print(f"note: {remark.place}: {remark.kind}: {remark.what}", soft_wrap=True, markup=False)
    if len(report.remarks) > MOST_REMARKS:
        page().print(f"and {len(report.remarks) - MOST_REMARKS} notes more; --json has them all")


def _print_findings(findings: "Sequence[Finding]") -> None:
    first = findings[0]
    page().print(f"[red]{first.kind}[/]: {_plain(first.place)}{_plain(_receipt(first))}: {_plain(first.what)}", soft_wrap=True)
    if len(findings) > 1:
        rows = [(f.kind, f.place, (f.receipt or "") and _receipt(f).strip(" ()"), f.what) for f in findings[1:]]
        print_table(f"{len(findings) - 1} findings more", ("what was done", "where", "receipt", "how it shows"), rows)


def _plain(words: object) -> str:
    """Words of the log, or of somebody who changed it. They are printed without control characters and markup."""
    return escape(plain(words))


def _receipt(finding: "Finding") -> str:
    if finding.receipt is None:
        return ""
    return f" (after receipt {finding.receipt})" if finding.is_after else f" (receipt {finding.receipt})"
