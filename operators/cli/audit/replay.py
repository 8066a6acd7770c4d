"""`vedette audit replay`: the answers of the prediction log computed again, and whether they are the same to the bit."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.audit.archive_options import Archive, record_log
from operators.cli.audit.options import Tenant, store_folder
from operators.cli.console import CommandError, Json, errors, page, print_json, print_table, progress
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.governance.archive.record_log import RecordChoice
    from lifecycle.governance.replay.replay import ReplayReport

MOST_SHOWN: Final = 20
"""Differences printed; --json has them all."""


def replay(
    store_dir: StoreDir = None,
    last: Annotated[int | None, typer.Option("--last", "-n", min=1, help="The newest N records of answers.")] = None,
    receipt: Annotated[str | None, typer.Option(help="The records of this receipt.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="From this time on (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before this time (RFC 3339).")] = None,
    model: Annotated[str | None, typer.Option(help="Only records of this model.")] = None,
    tenant: Tenant = None,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Recompute recorded answers from the records and the store's bundles. Exit code 1 unless all are the same.

    Without --last, --receipt, --from or --to: every record."""
    from lifecycle.governance.replay.replay import Replayer
    from lifecycle.governance.replay.revisions import RevisionBook
    from serving.audit.personal.subject_keys import SubjectKeys
    from serving.settings import ServingSettings

    store, choice = store_folder(store_dir), _choice(model, receipt, since, until, tenant)
    log = record_log(store_dir, archive)
    book = RevisionBook(store, ServingSettings().model_threads)
    replayer = Replayer(book, subject_keys=SubjectKeys(store / "keys" / "subjects"))
    with progress() as display:
        lines = log.newest(last, choice) if last is not None else log.chosen(choice)
        task = display.add_task("replaying", total=len(lines) if isinstance(lines, list) else None)
        report = replayer.replay(lines, lambda count: display.advance(task, count))
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    if not report.outcomes.total():
        raise CommandError(
            f"{log.folder}: no record of an answer matches; select others with --last, --receipt, --from, --to, --model or --tenant"
        )
    if not report.is_same:
        raise typer.Exit(1)


def _choice(model: str | None, receipt: str | None, since: str | None, until: str | None, tenant: str | None) -> "RecordChoice":
    from lifecycle.governance.archive.record_log import RecordChoice
    from serving.scoring.inputs import parse_time_us

    return RecordChoice(
        model,
        receipt,
        parse_time_us(since, "--from") if since is not None else None,
        parse_time_us(until, "--to") if until is not None else None,
        tenant,
        is_answer=True,  # of a bundle that was refused nobody was answered
    )


def _print(report: "ReplayReport") -> None:
    if report.differences:
        rows: list[list[Any]] = [
            [d.receipt, "-" if d.row is None else d.row, d.field, d.recorded, d.recomputed]
            for d in report.differences[:MOST_SHOWN]
        ]
        print_table("differences", ["receipt", "row", "field", "recorded", "recomputed"], rows, right=["row"])
        if len(report.differences) > MOST_SHOWN:
            errors.print(f"and {len(report.differences) - MOST_SHOWN} more; --json has them all")
    for reason, count in report.why_not.items():
        errors.print(f"{count} records cannot be replayed: {reason}", markup=False)
    for processor, count in report.other_processors.items():
        words = f"{count} records were answered on {processor}; here their scores differ by up to {report.worst:.3g}"
        page().print(f"{words}, which is within the tolerance that their bundles state", markup=False)
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.items())
    page().print(f"{report.outcomes.total():,} records: {outcomes or 'none'}", markup=False)


def _as_json(report: "ReplayReport") -> dict[str, Any]:
    import msgspec

    return {
        "records": report.outcomes.total(),
        "outcomes": dict(report.outcomes),
        "differences": msgspec.to_builtins(report.differences),
        "not_replayable": dict(report.why_not),
        "other_processors": dict(report.other_processors),
        "largest_difference_within_tolerance": report.worst,
    }
